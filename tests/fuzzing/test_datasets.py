"""Annotation files that people write by hand, or that a tool wrote otherwise than one would think."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from modeling_evf_sam.data.jsonl_folder import find_faults
from modeling_evf_sam.data.open_dataset import open_dataset
from modeling_evf_sam.data.referring_dataset import ReferringDataset
from modeling_evf_sam.data.segmentations import draw_segmentation, run_lengths
from tests.fuzzing.damage import EDITS, edited
from tests.fuzzing.outcomes import fuzzed

SIZE = (12, 16)  # height, width
MASK = run_lengths(np.eye(*SIZE, dtype=bool))
POLYGON = [2, 2, 9, 2, 9, 8]
LINES = [
    {"image": "a.png", "text": ["the red cup", "cup"], "mask": [POLYGON]},
    {"image": "a.png", "text": "cups", "mask": MASK, "semantic": True},
    {"image": "a.png", "text": "the bus", "mask": None},
    {"image": "a.png", "text": "the tree", "mask": "mask.png"},
]
COCO = {
    "images": [{"id": 1, "file_name": "a.png", "height": SIZE[0], "width": SIZE[1]}],
    "categories": [{"id": 3, "name": "cup"}, {"id": 4, "name": "bird:wing"}],
    "annotations": [
        {"id": 5, "image_id": 1, "category_id": 3, "segmentation": [POLYGON], "iscrowd": 0},
        {"id": 6, "image_id": 1, "category_id": 4, "segmentation": MASK, "iscrowd": 0},
    ],
}
GREFS = [
    {"image_id": 1, "split": "val", "sentences": [{"sent": "both"}], "ann_id": [5, 6]},
    {"image_id": 1, "split": "val", "sentences": [{"sent": "the bus"}], "ann_id": [-1]},
]
# Without letters that only look like nothing: messages have them as they are, and the commands write their escapes.
TEXT = st.text(st.characters(exclude_categories=["Zs", "Zl", "Zp", "Cf", "Co", "Cn"]), max_size=5)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 20) | st.sampled_from([10**9, 2**63, 10**20, 10**400]),
    st.floats() | st.sampled_from([1e308, -1e308]),
    TEXT | st.sampled_from(["a.png", "mask.png", "../a.png", "/etc/passwd", ".", "a\nb", "\ud800", "0"]),
)
VALUES = LEAVES | st.lists(LEAVES, max_size=7) | st.dictionaries(TEXT, LEAVES, max_size=2)
KEYS = st.lists(st.integers(0, 30), min_size=1, max_size=4)
RUNS = st.fixed_dictionaries(
    {"size": st.just(list(SIZE)) | VALUES, "counts": TEXT | st.lists(LEAVES, max_size=4) | VALUES}
)


@pytest.fixture
def folder(tmp_path):
    Image.new("RGB", SIZE[::-1], "red").save(tmp_path / "a.png")
    Image.new("L", SIZE[::-1], 255).save(tmp_path / "mask.png")
    return tmp_path


def _changed(record: object, keys: list[int], value: object) -> object:
    """A copy with one value in the place of another; the numbers choose the way to it."""
    whole = {"all": json.loads(json.dumps(record))}
    place, entry = whole, "all"
    for number in keys:
        if not isinstance(place[entry], list | dict) or not place[entry]:
            break
        place = place[entry]
        entry = (
            list(range(len(place)))[number % len(place)]
            if isinstance(place, list)
            else sorted(place)[number % len(place)]
        )
    place[entry] = value
    return whole["all"]


def _read_all(dataset: ReferringDataset) -> None:
    for index in range(len(dataset)):
        sample = dataset[index]
        assert sample.masks.shape == (len(sample.sentences), *SIZE)
        dataset.categories(index)


@fuzzed("datasets", keys=KEYS, value=VALUES)
def test_a_value_of_any_kind_in_a_line(keys, value, folder):
    lines = _changed(LINES, keys, value)
    lines = lines if isinstance(lines, list) else [lines]
    (folder / "train.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    for fault in find_faults(folder, "train"):
        assert fault.isprintable()
    _read_all(open_dataset(f"jsonl:{folder}", "train"))


@fuzzed("datasets", edits=EDITS)
def test_damaged_lines(edits, folder):
    content = "\n".join(map(json.dumps, LINES)).encode()
    (folder / "train.jsonl").write_bytes(edited(content, edits))
    _read_all(open_dataset(f"jsonl:{folder}", "train"))


@fuzzed("datasets", layout=st.sampled_from(["coco", "objects"]), keys=KEYS, value=VALUES)
def test_a_value_of_any_kind_in_annotations_like_those_of_coco(layout, keys, value, folder):
    (folder / "all.json").write_text(json.dumps(_changed(COCO, keys, value)))
    _read_all(open_dataset(f"{layout}:{folder / 'all.json'}:{folder}"))


@fuzzed("datasets", edits=EDITS)
def test_damaged_annotations(edits, folder):
    (folder / "all.json").write_bytes(edited(json.dumps(COCO).encode(), edits))
    _read_all(open_dataset(f"coco:{folder / 'all.json'}:{folder}"))


@fuzzed("datasets", keys=KEYS, value=VALUES)
def test_a_value_of_any_kind_in_references(keys, value, folder):
    photos, files = folder / "images" / "mscoco" / "images" / "train2014", folder / "grefcoco"
    photos.mkdir(parents=True, exist_ok=True)
    files.mkdir(exist_ok=True)
    shutil.copy(folder / "a.png", photos)
    grefs, instances = _changed([GREFS, COCO], [keys[0] % 2, *keys[1:], 0], value)
    (files / "grefs(unc).json").write_text(json.dumps(grefs))
    (files / "instances.json").write_text(json.dumps(instances))
    _read_all(open_dataset(f"refer:{folder}:grefcoco:unc", "val"))


@fuzzed("datasets", segmentation=st.lists(RUNS | VALUES, max_size=3) | RUNS | VALUES)
def test_segmentations(segmentation):
    assert draw_segmentation(segmentation, SIZE).shape == SIZE
