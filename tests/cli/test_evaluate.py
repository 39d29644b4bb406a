import json

import pytest

from modeling_evf_sam import EvfSamModel, EvfSamProcessor
from modeling_evf_sam.cli import main
from modeling_evf_sam.data.rendered_scenes import RenderedScenes
from modeling_evf_sam.evaluation.evaluator import evaluate_model


def test_json_holds_the_figures_of_evaluate_model(tiny_checkpoint, capsys):
    arguments = ["evaluate", "--model", str(tiny_checkpoint), "--split", "validation", "--size", "5", "--seed", "3"]
    assert main([*arguments, "--json", "-", "--batch-size", "2"]) == 0
    out, err = capsys.readouterr()
    record = json.loads(out)
    expected = evaluate_model(
        EvfSamModel.from_pretrained(tiny_checkpoint),
        EvfSamProcessor.from_pretrained(tiny_checkpoint),
        iter(RenderedScenes("validation", 5, sentences_per_scene=4, seed=3)),
    ).to_dict()
    assert {name: record[name] for name in expected} == expected
    assert (record["dataset"], record["split"], record["photos"], record["seed"]) == (
        "rendered_scenes",
        "validation",
        5,
        3,
    )
    for shown in ("gIoU", "cIoU", "P@0.5", "P@0.9", "all", *expected["by_kind"]):
        assert shown in err


def test_table_goes_to_standard_output_and_json_to_a_file(tiny_checkpoint, tmp_path, capsys):
    target = tmp_path / "figures.json"
    assert main(["evaluate", "--model", str(tiny_checkpoint), "--size", "2", "--json", str(target)]) == 0
    assert "gIoU" in capsys.readouterr().out
    assert json.loads(target.read_text())["photos"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "coco"], "dataset 'coco' is unknown: choose one of rendered_scenes"),
        (["--split", "testA"], "choose one of train, validation, test"),
        (["--device", "abacus"], "device 'abacus' cannot be used"),
    ],
)
def test_bad_choices_name_the_good_ones(arguments, message, tiny_checkpoint, capsys):
    assert main(["evaluate", "--model", str(tiny_checkpoint), *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err
