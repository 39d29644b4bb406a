import json

import numpy as np
import pytest

from modeling_evf_sam.data.box_annotations import BoxAnnotations, MaskShards
from modeling_evf_sam.data.coco_categories import CocoDataset
from tests.miniatures import LEFT, coco_record, columns, write_json, write_photo

IMAGES = {7: "a/seven.jpg", 8: "eight.jpg", 9: "nine.jpg"}
BOXES = [
    {"image_id": 7, "category_id": 1, "bbox": [0, 0, 4, 10]},
    {"image_id": 7, "category_id": 2, "bbox": [6, 0, 2.5, 10]},
    {"image_id": 8, "category_id": 1, "segmentation": [LEFT]},
    {"image_id": 8, "category_id": 2, "bbox": [5, 0, 4, 10]},
    {"image_id": 9, "category_id": 1, "bbox": [1, 0, 1, 10]},
]
SOURCE = {"annotations": "boxes.json", "model": "sam"}


class _Segment:
    """Fills the columns of a box, and stops where it is told to, as a killed process does."""

    def __init__(self, calls=99):
        self.boxes, self.calls = [], calls

    def __call__(self, photo, boxes):
        if len(self.boxes) == self.calls:
            raise KeyboardInterrupt
        self.boxes.append(boxes)
        return np.stack([columns(int(x0), int(x1)) for x0, _, x1, _ in boxes]), [0.5] * len(boxes)


@pytest.fixture
def annotations(tmp_path):
    for name in IMAGES.values():
        write_photo(tmp_path / "photos" / name)
    record = {**coco_record(IMAGES, BOXES, {1: "cup", 2: "dog"}), "info": {"year": 2024}}
    return BoxAnnotations(write_json(tmp_path / "boxes.json", record), tmp_path / "photos")


def _areas(record):
    return [(entry["id"], entry.get("area")) for entry in record["annotations"]]


ALL = [(0, 40), (1, 20), (2, None), (3, 40), (4, 10)]


def test_every_box_gets_a_mask_and_masks_stay(annotations, tmp_path):
    segment, parts = _Segment(), MaskShards(tmp_path / "out", SOURCE, annotations)
    parts.run(segment)
    assert segment.boxes == [[[0, 0, 4, 10], [6, 0, 8.5, 10]], [[5, 0, 9, 10]], [[1, 0, 2, 10]]]
    record = annotations.with_masks(parts.read())
    assert _areas(record) == ALL
    assert record["info"] == {"year": 2024}
    assert record["annotations"][2]["segmentation"] == [LEFT]
    dataset = CocoDataset(write_json(tmp_path / "masks.json", record), tmp_path / "photos", objects=True)
    np.testing.assert_array_equal(dataset[0].masks, [columns(0, 4), columns(6, 8)])
    np.testing.assert_array_equal(dataset[2].masks, [columns(1, 2)])


@pytest.mark.parametrize("torn", [b"", b'{"image_id": 8, "mas', b'{"image_id": 8, "masks": {}}'])
@pytest.mark.parametrize("done", [0, 1, 2])
def test_a_killed_run_goes_on(annotations, tmp_path, done, torn):
    with pytest.raises(KeyboardInterrupt):
        MaskShards(tmp_path / "out", SOURCE, annotations).run(_Segment(done))
    with (tmp_path / "out" / "masks-0-of-1.jsonl").open("ab") as file:
        file.write(torn)
    segment, parts = _Segment(), MaskShards(tmp_path / "out", SOURCE, annotations)
    parts.run(segment)
    assert len(segment.boxes) == 3 - done
    assert _areas(annotations.with_masks(parts.read())) == ALL
    parts.run(segment)
    assert len(segment.boxes) == 3 - done


@pytest.mark.parametrize("shards", [1, 2, 3, 5])
def test_shards_share_the_photos(annotations, tmp_path, shards):
    segment = _Segment()
    for shard in range(shards):
        MaskShards(tmp_path / "out", SOURCE, annotations).run(segment, shard=shard, shards=shards)
    assert len(segment.boxes) == 3
    assert _areas(annotations.with_masks(MaskShards(tmp_path / "out", SOURCE, annotations).read())) == ALL


def test_bad_photos_are_left_out_and_tried_again(annotations, tmp_path):
    (tmp_path / "photos" / "eight.jpg").write_text("<html>")
    write_photo(tmp_path / "photos" / "nine.jpg", size=(3, 3))
    parts = MaskShards(tmp_path / "out", SOURCE, annotations)
    parts.run(_Segment())
    lines = parts.read()
    assert "eight.jpg' is not an image" in lines[8]["error"]
    assert "3 x 3 pixels but" in lines[9]["error"]
    record = annotations.with_masks(lines)
    assert ([image["id"] for image in record["images"]], _areas(record)) == ([7], ALL[:2])
    for name in ("eight.jpg", "nine.jpg"):
        write_photo(tmp_path / "photos" / name)
    segment = _Segment()
    parts.run(segment)
    assert len(segment.boxes) == 2
    assert _areas(annotations.with_masks(parts.read())) == ALL


def test_another_model_needs_another_folder(annotations, tmp_path):
    MaskShards(tmp_path / "out", SOURCE, annotations).run(_Segment())
    with pytest.raises(ValueError, match=r"was made of .*'sam'.*, not of .*'sam2'.*: choose another folder"):
        MaskShards(tmp_path / "out", {**SOURCE, "model": "sam2"}, annotations)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bbox": None}, r"annotations\[1\]: 'bbox' must be x, y, width and height in pixels, not None"),
        ({"bbox": [1, 2, 3]}, "not \\[1, 2, 3\\]"),
        ({"bbox": [1, 2, "3", 4]}, "'bbox' must be"),
        ({"bbox": [1, 2, 0, 4]}, "'bbox' must be"),
        ({"bbox": [1, float("nan"), 3, 4]}, "'bbox' must be"),
        ({"image_id": 5}, r"annotations\[1\] is about an image that is not there"),
        ({"id": "1"}, r"annotations\[1\]: 'id' must be int"),
    ],
)
def test_bad_entries_are_named(annotations, tmp_path, change, message):
    record = json.loads((tmp_path / "boxes.json").read_text())
    record["annotations"][1].update(change)
    with pytest.raises(ValueError, match=message):
        BoxAnnotations(write_json(tmp_path / "boxes.json", record), tmp_path / "photos")
