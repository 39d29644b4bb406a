import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

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


def test_a_second_save_takes_the_pictures_of_the_first_away(tmp_path):
    _found(attention=np.ones((2, 2, 2))).save(tmp_path, PHOTO)
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
