import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from evf_sam_cli import main

OVERLAY = Path(__file__).parents[2] / "docs" / "overlay.png"


def test_evaluate_and_card_fit_together(tiny_checkpoint, tmp_path, capsys):
    record, card = tmp_path / "evaluation.json", tmp_path / "new" / "README.md"
    assert main(["evaluate", "--model", str(tiny_checkpoint), "--size", "2", "--json", str(record)]) == 0
    capsys.readouterr()
    arguments = ["card", str(tiny_checkpoint), "--evaluation", str(record), "--image", str(OVERLAY)]
    assert main([*arguments, "--repository", "someone/scenes", "--license", "mit", "--output", str(card)]) == 0
    assert capsys.readouterr().out == f"{card}\n"
    content = ModelCard.load(card)
    assert (content.data.license, content.data.model_name) == ("mit", "scenes")
    assert content.data.eval_results is None  # of two photos alone
    giou = 100 * json.loads(record.read_text())["giou"]
    assert f"| test (2 photos alone: no score of the split) | all | 8 | {giou:.1f} |" in content.text
    assert "![A result of this checkpoint](overlay.png)" in content.text
    assert (card.parent / "overlay.png").read_bytes() == OVERLAY.read_bytes()
    assert 'model="someone/scenes"' in content.text


def test_a_card_is_printed_and_options_may_be_repeated(tiny_checkpoint, capsys):
    arguments = ["--base-model", "a/b", "--base-model", "c/d", "--dataset", "e/f"]
    assert main(["card", str(tiny_checkpoint), *arguments]) == 0
    data = ModelCard(capsys.readouterr().out).data
    assert (data.base_model, data.datasets) == (["a/b", "c/d"], ["e/f"])


def test_a_wrong_model_is_one_line(capsys):
    assert main(["card", "evf-sam-multitsk"]) == 2
    assert capsys.readouterr().err == (
        "error: model 'evf-sam-multitsk' was not found (no such file or folder): did you mean evf-sam-multitask?\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--image", "gone.png"], "picture 'gone.png' does not exist"),
        (["--evaluation", "gone.json"], "evaluation 'gone.json' does not exist"),
        (["--evaluation", str(OVERLAY)], "is no evaluation: give what `evf-sam evaluate --json` wrote"),
    ],
)
def test_bad_files_are_one_line(arguments, message, tiny_checkpoint, capsys):
    assert main(["card", str(tiny_checkpoint), *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ") and err.count("\n") == 1
    assert message in err
