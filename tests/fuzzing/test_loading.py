import json
import shutil
import struct
from pathlib import Path

import pytest
from hypothesis import strategies as st

from modeling_evf_sam import EvfSamConfig, EvfSamModel, EvfSamProcessor
from tests.fuzzing.damage import EDITS, edited
from tests.fuzzing.outcomes import fuzzed

pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers, about unusual values

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10) | st.sampled_from([10**5, 10**7, 10**9, 10**20]),
    st.floats(),
    st.text(max_size=5) | st.sampled_from(["org/code", "sam2", "beit3", "eager", "float8_e4m3fn", "../x"]),
)
VALUES = LEAVES | st.lists(LEAVES, max_size=3) | st.dictionaries(st.text(max_size=5), LEAVES, max_size=2)
SHARDS = st.one_of(
    LEAVES,
    st.sampled_from(
        ["model.safetensors", "../model.safetensors", "/etc/passwd", "..", ".", "config.json", "a/b", "\0"]
    ),
)
PROCESSOR_FILES = ("processor_config.json", "tokenizer_config.json", "tokenizer.json")


@pytest.fixture
def folder(tiny_checkpoint, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint"))


def _change(file: Path, keys: list[int], value: object) -> None:
    """Puts a value in the place of one of a file of JSON; the numbers choose the way to it."""
    place = content = json.loads(file.read_bytes())
    for depth, number in enumerate(keys):
        entries = list(range(len(place))) if isinstance(place, list) else sorted(place)
        key = entries[number % len(entries)]
        if depth + 1 == len(keys) or not isinstance(place[key], list | dict) or not place[key]:
            place[key] = value
            break
        place = place[key]
    file.write_text(json.dumps(content))


KEYS = st.lists(st.integers(0, 60), min_size=1, max_size=3)


@fuzzed("loading", keys=KEYS, value=VALUES)
def test_a_value_of_any_kind_in_a_configuration(keys, value, folder, tiny_checkpoint):
    shutil.copy(tiny_checkpoint / "config.json", folder)
    _change(folder / "config.json", keys, value)
    EvfSamConfig.from_pretrained(folder)


@fuzzed("loading", share=0.4, keys=KEYS, value=VALUES)
def test_weights_under_a_configuration_of_any_kind(keys, value, folder, tiny_checkpoint):
    shutil.copy(tiny_checkpoint / "config.json", folder)
    _change(folder / "config.json", keys, value)
    EvfSamModel.from_pretrained(folder)


@fuzzed("loading", share=0.3, keys=KEYS, value=VALUES, name=st.sampled_from(PROCESSOR_FILES))
def test_a_value_of_any_kind_in_a_processor(keys, value, name, folder, tiny_checkpoint):
    for file in PROCESSOR_FILES:
        shutil.copy(tiny_checkpoint / file, folder)
    _change(folder / name, keys, value)
    EvfSamProcessor.from_pretrained(folder)


@fuzzed("loading", share=0.3, name=st.sampled_from(["config.json", *PROCESSOR_FILES]), edits=EDITS)
def test_a_damaged_file_of_json(name, edits, folder, tiny_checkpoint):
    for file in ("config.json", *PROCESSOR_FILES):
        shutil.copy(tiny_checkpoint / file, folder)
    (folder / name).write_bytes(edited((folder / name).read_bytes(), edits))
    EvfSamConfig.from_pretrained(folder)
    EvfSamProcessor.from_pretrained(folder)


@fuzzed("loading", share=0.4, edits=EDITS)
def test_a_damaged_header_of_weights(edits, folder, tiny_checkpoint):
    whole = (tiny_checkpoint / "model.safetensors").read_bytes()
    end = 8 + struct.unpack("<Q", whole[:8])[0]
    (folder / "model.safetensors").write_bytes(edited(whole[:end], edits) + whole[end:])
    EvfSamModel.from_pretrained(folder)


@fuzzed("loading", share=0.3, kind=st.sampled_from(["F64", "F16", "BF16", "I32", "I64", "U8", "BOOL", "F8_E4M3"]))
def test_weights_of_another_kind(kind, folder, tiny_checkpoint):
    whole = (tiny_checkpoint / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole.replace(b'"F32"', f'"{kind}"'.encode().ljust(5), 1))
    EvfSamModel.from_pretrained(folder)


@fuzzed(
    "loading",
    share=0.4,
    name=st.sampled_from(["model.safetensors.index.json", "pytorch_model.bin.index.json"]),
    index=st.fixed_dictionaries(
        {},
        optional={
            "metadata": VALUES,
            "weight_map": LEAVES | st.dictionaries(st.text(max_size=5), SHARDS, max_size=3),
        },
    )
    | LEAVES,
)
def test_an_index_of_any_kind(name, index, folder):
    for file in folder.glob("*model*"):
        file.unlink()
    (folder / name).write_text(json.dumps(index))
    EvfSamModel.from_pretrained(folder)
