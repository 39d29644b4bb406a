import sys

import pytest

from evf_sam_cli import main


def test_files_and_differences_are_told(tiny_checkpoint, workplace, capsys):
    assert main(["export", "graphs", "--format", "torch", "--model", str(tiny_checkpoint)]) == 0
    out = capsys.readouterr().out
    for name in ("photo.pt2", "sentence.pt2", "decode.pt2", "evf_sam.json", "tokenizer.json"):
        assert f"graphs/{name}: " in out
        assert (workplace / "graphs" / name).is_file()
    assert "torch loads them in " in out
    assert "largest differences: pixel_values 0.0e+00" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--calibrate", "missing.png"], "photo 'missing.png' does not exist"),
        (["--format", "torch", "--int8"], "int8 is for the formats onnx and openvino"),
        (["--model", "no-such-model"], "model 'no-such-model' was not found"),
    ],
)
def test_bad_options_end_in_one_line(workplace, capsys, arguments, message):
    assert main(["export", "graphs", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_photos_are_for_int8(workplace, capsys):
    (workplace / "photo.png").write_bytes(b"")
    assert main(["export", "graphs", "--format", "torch", "--calibrate", "photo.png"]) == 2
    assert "--calibrate is for --int8: give both, or leave it out" in capsys.readouterr().err


def test_a_library_that_is_missing_is_named(workplace, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert main(["export", "graphs"]) == 2
    assert "format onnx needs onnxscript: " in capsys.readouterr().err
