import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from modeling_evf_sam import EvfSamModel, EvfSamProcessor
from modeling_evf_sam.cli import main
from modeling_evf_sam.data.rendered_scenes import RenderedScenes
from modeling_evf_sam.evaluation.evaluator import evaluate_model
from tests.miniatures import LEFT, MIDDLE, ref, write_lines, write_photo, write_refer


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


def _count_alone(checkpoint, root, split):
    """cIoU and gIoU by pycocotools and numpy alone, as the paper counts: every sentence of every object."""
    refs = pickle.loads((root / "refcoco" / "refs(unc).p").read_bytes())
    instances = json.loads((root / "refcoco" / "instances.json").read_text())
    images = {image["id"]: image for image in instances["images"]}
    annotations = {entry["id"]: entry for entry in instances["annotations"]}
    model, processor = EvfSamModel.from_pretrained(checkpoint).eval(), EvfSamProcessor.from_pretrained(checkpoint)
    inters, unions = [], []
    for entry in (entry for entry in refs if entry["split"] == split):
        image = images[entry["image_id"]]
        photo = Image.open(root / "images/mscoco/images/train2014" / image["file_name"])
        runs = annotations[entry["ann_id"]]["segmentation"]
        if isinstance(runs[0], list):
            runs = coco_mask.frPyObjects(runs, image["height"], image["width"])
        target = coco_mask.decode(runs).sum(axis=2) > 0
        for sentence in entry["sentences"]:
            inputs = processor(images=photo, text=sentence["sent"].strip().lower())
            with torch.no_grad():
                outputs = model(**inputs)
            mask = processor.post_process_referring_segmentation(outputs, inputs)[0]["masks"][0].numpy()
            inters.append((mask & target).sum())
            unions.append((mask | target).sum())
    return {"ciou": sum(inters) / sum(unions), "giou": np.mean(np.divide(inters, unions)), "sentences": len(inters)}


def test_real_refcoco_equals_an_independent_count(tiny_checkpoint, shared, capsys):
    root = shared / "data" / "refcoco-mini"
    arguments = ["--dataset", f"refer:{root}:refcoco:unc", "--split", "testB", "--json", "-"]
    assert main(["evaluate", "--model", str(tiny_checkpoint), *arguments]) == 0
    record = json.loads(capsys.readouterr().out)
    expected = _count_alone(tiny_checkpoint, root, "testB")
    assert {name: record[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    assert 0 < record["ciou"] < 1
    assert (record["photos"], record["by_kind"]) == (3, {})


def test_legacy_overlap_and_size(tiny_checkpoint, tmp_path, capsys):
    refs = [ref(1, "val", ["both"], 0), ref(2, "val", ["again", "more"], 1)]
    annotations = [{"image_id": i, "segmentation": [LEFT, MIDDLE]} for i in (1, 2)]
    root = write_refer(tmp_path, "refcoco", refs, annotations)
    command = ["evaluate", "--model", str(tiny_checkpoint), "--dataset", f"refer:{root}:refcoco:unc"]
    records = []
    for more in ([], ["--legacy-overlap"], ["--size", "1"]):
        assert main([*command, "--split", "val", "--json", "-", *more]) == 0
        records.append(json.loads(capsys.readouterr().out))
    assert [record["sentences"] for record in records] == [3, 3, 1]
    assert records[0]["ciou"] != records[1]["ciou"]


def test_real_categories_are_scored_one_by_one(tiny_checkpoint, shared, capsys):
    arguments = ["--dataset", f"semantic:{shared / 'data' / 'clothing-mini'}", "--split", "validation", "--size", "2"]
    assert main(["evaluate", "--model", str(tiny_checkpoint), *arguments, "--json", "-"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert {"skin", "hair"} <= set(record["by_kind"])
    assert sum(figures["sentences"] for figures in record["by_kind"].values()) == record["sentences"]


def test_own_folder_with_sentences_that_name_nothing(tiny_checkpoint, tmp_path, capsys):
    write_photo(tmp_path / "one.jpg")
    lines = [{"image": "one.jpg", "text": "a cup", "mask": LEFT}, {"image": "one.jpg", "text": "ox", "mask": None}]
    write_lines(tmp_path, "test", lines)
    command = ["evaluate", "--model", str(tiny_checkpoint), "--dataset", f"jsonl:{tmp_path}", "--split", "test"]
    assert main([*command, "--json", str(tmp_path / "r.json")]) == 0
    assert "no target accuracy" in " ".join(capsys.readouterr().out.split())
    assert json.loads((tmp_path / "r.json").read_text())["no_target_accuracy"] in (0.0, 1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "coco"], "dataset 'coco' is unknown: choose one of rendered_scenes, refer:ROOT:refcoco:unc"),
        (["--dataset", "jsonl:folder"], "dataset 'jsonl:folder' has splits: choose one"),
        (["--dataset", "refer:no:refcoco:unc", "--split", "val"], "refs(unc).p' does not exist"),
        (["--legacy-overlap"], "--legacy-overlap is for datasets refer:... alone"),
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
