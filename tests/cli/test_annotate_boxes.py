import json

import pytest

from evf_sam_cli import main
from modeling_evf_sam.data.coco_categories import CocoDataset
from tests.miniatures import LEFT, coco_record, write_json, write_photo

IMAGES = {1: "one.jpg", 2: "two.jpg", 3: "three.jpg"}
BOXES = [{"image_id": image_id, "bbox": [2, 1, 5, 6]} for image_id in IMAGES]


@pytest.fixture
def boxes(tmp_path):
    for name in IMAGES.values():
        write_photo(tmp_path / "photos" / name)
    return write_json(tmp_path / "boxes.json", coco_record(IMAGES, BOXES))


def _arguments(boxes, model, output, *more):
    places = ["--model", str(model), "--output", str(output)]
    return ["annotate-boxes", str(boxes), str(boxes.parent / "photos"), *places, *more]


def test_shards_make_one_file(tiny_checkpoint, boxes, tmp_path, capsys):
    for shard, left in (("1/2", 2), ("0/2", 0)):
        assert main(_arguments(boxes, tiny_checkpoint, tmp_path / "out", "--shard", shard)) == 0
        out = capsys.readouterr().out
        assert (f"{left} photos are left to the others" in out) == bool(left)
    assert "annotations.json: 3 masks, 0 of them empty; 0 bad photos left out" in out
    alone = tmp_path / "alone"
    assert main(_arguments(boxes, tiny_checkpoint, alone)) == 0
    assert (alone / "annotations.json").read_bytes() == (tmp_path / "out" / "annotations.json").read_bytes()
    dataset = CocoDataset(alone / "annotations.json", tmp_path / "photos", objects=True)
    assert [sample.sentences for sample in dataset] == [["thing"]] * 3


def test_what_the_model_does_not_know_is_said(tiny_checkpoint, boxes, tmp_path, capsys):
    for name, model in (("embedded", "rendered_scenes"), ("tiny", tiny_checkpoint)):
        assert main(_arguments(boxes, model, tmp_path / name)) == 0
        said = "Note: this checkpoint knows drawn shapes only" in capsys.readouterr().out
        assert said == (name == "embedded")


def test_bad_photos_are_listed_and_not_fatal(tiny_checkpoint, boxes, tmp_path, capsys):
    (tmp_path / "photos" / "two.jpg").unlink()
    assert main(_arguments(boxes, tiny_checkpoint, tmp_path / "out")) == 0
    out = capsys.readouterr().out
    assert "two.jpg' does not exist" in out
    assert "2 masks, 0 of them empty; 1 bad photos left out" in out
    record = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert [image["id"] for image in record["images"]] == [1, 3]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--shard", "2/2"], "--shard '2/2' must be K/N with K below N"),
        (["--shard", "one"], "--shard 'one' must be K/N"),
        (["--model", "./nowhere"], "model './nowhere' was not found"),
        (["--device", "abacus"], "device 'abacus' cannot be used"),
        (["--batch-size", "0"], "see --help"),
    ],
)
def test_wrong_usage(tiny_checkpoint, boxes, tmp_path, capsys, more, message):
    assert main(_arguments(boxes, tiny_checkpoint, tmp_path / "out", *more)) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err


def test_nothing_to_do_and_another_model(tiny_checkpoint, boxes, tmp_path, capsys):
    assert main(_arguments(boxes, tiny_checkpoint, tmp_path / "out")) == 0
    (tmp_path / "out" / "masks-0-of-1.jsonl").write_text('{"annotations": "x", "model": "y"}\n')
    assert main(_arguments(boxes, tiny_checkpoint, tmp_path / "out")) == 2
    assert "choose another folder" in capsys.readouterr().err
    masked = write_json(tmp_path / "masked.json", coco_record(IMAGES, [{"image_id": 1, "segmentation": [LEFT]}]))
    assert main(_arguments(masked, tiny_checkpoint, tmp_path / "other")) == 2
    assert "has no box without a mask: there is nothing to do" in capsys.readouterr().err
