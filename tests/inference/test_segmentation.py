import json
import os
import sys
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from modeling_evf_sam.inference.instances import Instance, instance_map
from modeling_evf_sam.inference.label_maps import LabelMap
from modeling_evf_sam.inference.segmentation import Segmentation

PHOTO = Image.new("RGB", (60, 40), "white")


def _found(**changes):
    masks = np.zeros((2, 40, 60), dtype=bool)
    masks[0, 10:20, 5:25] = True
    found = Segmentation(
        photo_size=(40, 60),
        sentences=["the red circle", "Star!"],
        masks=masks,
        scores=np.array([0.75, 0.25], np.float32),
        boxes=np.array([[5, 10, 25, 20], [0, 0, 0, 0]], np.float32),
        semantic=[False, True],
    )
    return replace(found, **changes)


def test_run_lengths_are_the_masks():
    for rle, mask in zip(_found().rle(), _found().masks, strict=True):
        assert rle["size"] == [40, 60]
        assert np.array_equal(coco_mask.decode(rle), mask)


def test_polygons_of_each_mask():
    assert _found().polygons() == [[[5, 10, 25, 10, 25, 20, 5, 20]], []]


def test_a_record_is_ready_for_json():
    record = json.loads(json.dumps(_found().record(name="a.png", model="m")))
    masks = record.pop("masks")
    assert record == {"photo": "a.png", "width": 60, "height": 40, "model": "m"}
    assert [(mask.pop("rle")["size"], mask) for mask in masks] == [
        ([40, 60], {"sentence": "the red circle", "score": 0.75, "box": [5, 10, 25, 20], "area": 200,
                    "semantic": False}),
        ([40, 60], {"sentence": "Star!", "score": 0.25, "box": [0, 0, 0, 0], "area": 0, "semantic": True}),
    ]  # fmt: skip
    assert _found(warning="careful").record()["warning"] == "careful"


def test_save_writes_what_it_returns(tmp_path):
    record = _found(attention=np.ones((2, 2, 2))).save(tmp_path / "new", PHOTO, name="a.png", model="m")
    names = ["01_the_red_circle.png", "02_star.png"]
    assert [mask["file"] for mask in record["masks"]] == names
    assert json.loads((tmp_path / "new" / "result.json").read_text()) == record
    written = {path.name for path in (tmp_path / "new").iterdir()}
    assert written == {*names, "overlay.png", "attention.png", "result.json"}
    assert np.array_equal(np.asarray(Image.open(tmp_path / "new" / names[0])) > 0, _found().masks[0])


def _in_parts():
    """The first sentence has two objects, the second one none."""
    halves = np.zeros((2, 40, 60), dtype=bool)
    halves[0, 10:20, 5:15] = halves[1, 10:20, 14:25] = True
    boxes = ((5, 10, 15, 20), (14, 10, 25, 20))
    objects = [Instance(mask=mask, box=box, score=0.5) for mask, box in zip(halves, boxes, strict=True)]
    return _found(instances=[objects, []])


def test_instances_are_recorded_and_saved(tmp_path):
    found = _in_parts()
    record = found.save(tmp_path, PHOTO)
    assert [[one["box"] for one in mask["instances"]] for mask in record["masks"]] == [
        [[5, 10, 15, 20], [14, 10, 25, 20]],
        [],
    ]
    assert json.loads((tmp_path / "result.json").read_text()) == record
    picture = Image.open(tmp_path / "01_the_red_circle_instances.png")
    assert (picture.mode, record["masks"][0]["instances_file"]) == ("P", "01_the_red_circle_instances.png")
    assert np.array_equal(np.asarray(picture), instance_map(found.instances[0], (40, 60)))
    assert not np.asarray(Image.open(tmp_path / "02_star_instances.png")).any()


def test_instances_are_drawn_apart():
    with mock.patch("modeling_evf_sam.inference.segmentation.overlay") as drawn:
        _in_parts().plot(PHOTO)
    _, masks, names, scores = drawn.call_args.args
    assert (names, scores) == (["the red circle 1", "the red circle 2", "Star!"], [0.5, 0.5, 0.25])
    assert masks.sum((1, 2)).tolist() == [100, 110, 0]


def test_one_instance_needs_no_number():
    objects = _in_parts().instances[0][:1]
    with mock.patch("modeling_evf_sam.inference.segmentation.overlay") as drawn:
        _found(instances=[objects, objects]).plot(PHOTO)
    assert drawn.call_args.args[2] == ["the red circle", "Star!"]


def test_a_photo_without_sentences_can_be_drawn():
    none = np.zeros((0, 40, 60), dtype=bool)
    found = _found(sentences=[], masks=none, scores=none[:, 0, 0], boxes=none[:, 0, :4], semantic=[], instances=[])
    assert found.plot(PHOTO).width == 512


def test_a_label_map_is_saved(tmp_path):
    labels = LabelMap(indices=np.eye(40, 60, dtype=int), categories=["the red circle", "Star!"])
    assert _found(label_map=labels).save(tmp_path, PHOTO)["label_map"] == "labels.png"
    assert np.array_equal(np.asarray(Image.open(tmp_path / "labels.png")), labels.indices)
    assert Image.open(tmp_path / "labels_legend.png").width >= 512


def test_a_second_save_takes_the_pictures_of_the_first_away(tmp_path):
    labels = LabelMap(indices=np.zeros((40, 60), dtype=int), categories=[])
    replace(_in_parts(), attention=np.ones((2, 2, 2)), label_map=labels).save(tmp_path, PHOTO)
    (tmp_path / "mine.png").touch()
    _found(sentences=["one", "two"]).save(tmp_path, PHOTO)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"01_one.png", "02_two.png", "overlay.png", "result.json", "mine.png"}


def test_save_fails_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="cannot write into"):
        _found().save(tmp_path / "file", PHOTO)


def test_a_plot_has_the_warning_below():
    assert _found(warning="careful").plot(PHOTO).height > _found().plot(PHOTO).height


def test_the_picture_says_what_is_not_there():
    plain, told = _found(), _found(present=np.array([True, False]))
    with mock.patch("modeling_evf_sam.inference.segmentation.overlay") as drawn:
        plain.plot(PHOTO)
        told.plot(PHOTO)
    assert [call.args[2] for call in drawn.call_args_list] == [
        ["the red circle", "Star!"],
        ["the red circle", "Star!: not there"],
    ]


def _parted():
    masks = [np.zeros((40, 60), dtype=bool) for _ in range(2)]
    masks[0][10:20, 5:12] = masks[1][10:20, 18:25] = True
    pairs = zip(masks, (0.5, 0.25), strict=True)
    instances = [Instance(mask=mask, box=(0, 0, 1, 1), score=score) for mask, score in pairs]
    return _found(instances=[instances, []]), masks


def test_supervision_gets_what_was_found():
    supervision = pytest.importorskip("supervision", reason="needs the extra 'supervision'")
    found, masks = _parted()
    detections = found.to_supervision()
    assert isinstance(detections, supervision.Detections)
    assert detections.xyxy.tolist() == [[5, 10, 12, 20], [18, 10, 25, 20]]
    assert np.array_equal(detections.mask, masks)
    assert detections.confidence.tolist() == [0.5, 0.25]
    assert detections.class_id.tolist() == [0, 0]
    assert detections["class_name"].tolist() == ["the red circle"] * 2
    assert _found().to_supervision().xyxy.tolist() == [[5, 10, 25, 20]]
    assert len(_found(masks=np.zeros((2, 40, 60), dtype=bool)).to_supervision()) == 0


def test_supervision_reads_what_is_made_for_transformers():
    supervision = pytest.importorskip("supervision", reason="needs the extra 'supervision'")
    found, masks = _parted()
    names = dict(enumerate(found.sentences))
    detections = supervision.Detections.from_transformers(found.to_transformers(), id2label=names)
    assert np.array_equal(detections.mask, masks)
    assert detections["class_name"].tolist() == ["the red circle"] * 2
    assert detections.confidence.tolist() == [0.5, 0.25]


def test_supervision_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ValueError, match=r"to_supervision needs supervision: .*\[supervision\]"):
        _found().to_supervision()


@pytest.mark.parametrize("moves", range(1, 5))
def test_while_pictures_of_two_runs_are_mixed_there_is_no_record_and_the_next_run_clears_up(tmp_path, moves):
    _found(sentences=["former one", "former two"]).save(tmp_path, PHOTO)
    replace_file, count = os.replace, iter(range(1, 100))

    def stop(source, target):
        if target.parent == tmp_path and target.suffix in (".png", ".json") and not target.name.startswith("."):
            if next(count) == moves:
                raise KeyboardInterrupt
        replace_file(source, target)

    with mock.patch("os.replace", stop), pytest.raises(KeyboardInterrupt):
        _found(sentences=["killed one", "killed two"]).save(tmp_path, PHOTO)
    assert not (tmp_path / "result.json").exists()

    record = _found(sentences=["next one", "next two"]).save(tmp_path, PHOTO)

    written = {path.name for path in tmp_path.iterdir()}
    assert written == {*(mask["file"] for mask in record["masks"]), "overlay.png", "result.json"}
