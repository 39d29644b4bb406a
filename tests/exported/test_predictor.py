"""A predictor of what was exported answers as the one of the checkpoint, with and without torch."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from evf_sam_cli import main
from modeling_evf_sam import DEFAULT_CHECKPOINT, EvfSamPredictor
from modeling_evf_sam.exported.loading import load_exported
from modeling_evf_sam.exported.model import NO_POINT

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "docs" / "sample.png"
SENTENCES = ["the bottommost object", "the large pink circle below the cyan circle", "the thing left of the pink star"]
PROMPTS = {
    "points": [[[30, 30], [5, 5]], None, None],
    "point_labels": [[1, 0], None, None],
    "boxes": [None, [10, 10, 90, 90], None],
    "exclude": [None, None, "the pink star"],
    "any_of": ["the pink star", None, None],
    "label_map": True,
}
WITHOUT_TORCH = """
import sys
for name in ("torch", "transformers", "huggingface_hub", "safetensors"):
    sys.modules[name] = None  # importing it raises
import numpy as np
from modeling_evf_sam import EvfSamPredictor
predictor = EvfSamPredictor.from_exported(sys.argv[1])
predictor.set_image(sys.argv[2])
np.savez(sys.argv[3], **predictor.predict(sys.argv[4:]))
"""


@pytest.fixture(scope="module")
def expected() -> EvfSamPredictor:
    predictor = EvfSamPredictor.from_pretrained(DEFAULT_CHECKPOINT, "cpu", "float32")
    predictor.set_image(PHOTO)
    return predictor


def check(found, wanted):
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        values = values.numpy()
        assert (found[name].dtype, found[name].shape) == (values.dtype, values.shape)
        if name in ("masks", "label_map"):
            assert (found[name] != values).mean() < 1e-4  # rounding
        else:
            np.testing.assert_allclose(found[name], values, atol=1e-5)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_answers_are_those_of_the_checkpoint(exported, expected, backend):
    pytest.importorskip(backend)
    predictor = EvfSamPredictor.from_exported(exported, backend, cache_bytes=1 << 20)
    predictor.set_image(PHOTO)
    check(predictor.predict(SENTENCES), expected.predict(SENTENCES))
    check(predictor.predict(SENTENCES, **PROMPTS), expected.predict(SENTENCES, **PROMPTS))
    check(predictor.add_point([60, 60], sentence=1), expected.add_point([60, 60], sentence=1))
    assert predictor.encode(PHOTO) is predictor.encode(PHOTO)


SIGNAL = """
import gc, os, signal, sys
from modeling_evf_sam.exported.loading import load_exported
for _ in range(2):
    load_exported(sys.argv[1], "openvino")
    gc.collect()
seen = []
signal.signal(signal.SIGUSR1, lambda *_: seen.append("came"))
os.kill(os.getpid(), signal.SIGUSR1)
print(*seen)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="there is no such signal on this system")
def test_signals_come_after_openvino_let_models_go(exported):
    pytest.importorskip("openvino")
    command = [sys.executable, "-X", "faulthandler", "-c", SIGNAL, exported]
    found = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    assert found.stdout == "came\n"


def test_it_runs_where_torch_is_not_installed(exported, expected, tmp_path):
    command = [sys.executable, "-c", WITHOUT_TORCH, exported, PHOTO, tmp_path / "found.npz", *SENTENCES]
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    subprocess.run(command, check=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path})
    check(dict(np.load(tmp_path / "found.npz")), expected.predict(SENTENCES))


def test_the_command_segments_with_what_was_exported(exported, tmp_path, capsys):
    arguments = ["segment", str(PHOTO), *SENTENCES, "--backend", "onnxruntime", "--output", str(tmp_path / "masks")]
    assert main([*arguments, "--model", str(exported)]) == 0
    assert "Note: this checkpoint knows drawn shapes only" in capsys.readouterr().out
    assert len(list((tmp_path / "masks").glob("0*.png"))) == 3


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--model", DEFAULT_CHECKPOINT], "has no evf_sam.json: give a folder that evf-sam export wrote"),
        (["--device", "cpu"], "device cpu is one of torch: leave --device out"),
        (["--dtype", "bfloat16"], "onnxruntime computes as the file says, not in bfloat16"),
        (["--instances"], "exported graphs give no instances: load the checkpoint with torch, without --backend"),
        (["--attention"], "exported graphs give no attention: load the checkpoint with torch"),
    ],
)
def test_what_it_cannot_do_is_said(exported, tmp_path, capsys, more, message):
    pytest.importorskip("onnxruntime")
    arguments = ["segment", str(PHOTO), "star", "--backend", "onnxruntime", "--output", str(tmp_path)]
    assert main([*arguments, "--model", str(exported), *more]) == 2
    assert message in capsys.readouterr().err


def test_other_backends_and_folders_are_refused(exported, tmp_path):
    with pytest.raises(ValueError, match="backend 'tensorrt' is unknown: use one of onnxruntime, openvino, torch"):
        EvfSamPredictor.from_exported(exported, "tensorrt")
    with pytest.raises(ValueError, match=r"has no \.pt2 files for torch"):
        EvfSamPredictor.from_exported(exported, "torch")


def test_sentences_are_asked_in_groups_of_equal_prompts(exported):
    model, processor = load_exported(exported)
    asked, decode = [], model.graphs["decode"]
    model.graphs = {**model.graphs, "decode": lambda inputs: asked.append(inputs) or decode(inputs)}
    model(**processor(PHOTO, SENTENCES, input_points=[[[1, 1]], None, None], input_boxes=[None, [0, 0, 9, 9], None]))
    labels = sorted(inputs["labels"].tolist() for inputs in asked)
    assert labels == [[[]], [[1, NO_POINT]], [[2, 3]]]
