import numpy as np
import pytest

from modeling_evf_sam.data.coco_categories import CocoDataset
from tests.miniatures import LEFT, MIDDLE, RIGHT, coco_record, columns, run_lengths, write_json, write_photo

CATEGORIES = {1: "bird:wing", 2: "Quadruped Head", 3: "Person"}
ANNOTATIONS = [
    {"image_id": 7, "category_id": 1, "segmentation": [LEFT]},
    {"image_id": 7, "category_id": 2, "segmentation": [MIDDLE]},
    {"image_id": 7, "category_id": 1, "segmentation": run_lengths(columns(8, 12)), "iscrowd": 1},
    {"image_id": 8, "category_id": 3, "segmentation": [run_lengths(columns(2, 3))]},
    {"image_id": 8, "category_id": 2, "segmentation": {"size": [10, 12], "counts": [0, 120]}, "iscrowd": 1},
]
IMAGES = {7: "a/seven.jpg", 8: "eight.jpg", 9: "nothing.jpg"}


@pytest.fixture
def write(tmp_path):
    def write(annotations=ANNOTATIONS, change=lambda record: None):
        for name in IMAGES.values():
            write_photo(tmp_path / "photos" / name)
        record = coco_record(IMAGES, annotations, CATEGORIES)
        change(record)
        return write_json(tmp_path / "instances.json", record), tmp_path / "photos"

    return write


def test_semantic_prompts_merge_instances(write):
    first, second = CocoDataset(*write())
    assert first.sentences == first.kinds == ["bird wing", "quadruped head"]
    np.testing.assert_array_equal(first.masks, [columns(0, 4) | columns(8, 12), columns(3, 8)])
    assert second.sentences == ["person", "quadruped head"]
    assert first.semantic == [True, True]


def test_objects_occur_once(write):
    first, second = CocoDataset(*write(), objects=True)
    assert (first.sentences, first.semantic) == (["Quadruped Head"], [False])
    assert second.sentences == ["Person"]
    np.testing.assert_array_equal(second.masks, [columns(2, 3)])


def test_an_object_without_a_mask_still_counts(write):
    """A second bird that has a box alone makes "bird" ambiguous; a lone one needs its mask."""
    annotations = [
        {"image_id": 7, "category_id": 1, "segmentation": [LEFT]},
        {"image_id": 7, "category_id": 1, "bbox": [0, 0, 1, 1]},
        {"image_id": 8, "category_id": 3, "bbox": [0, 0, 1, 1]},
    ]
    (sample,) = [CocoDataset(*write(annotations), objects=True)]
    assert len(sample) == 1
    with pytest.raises(ValueError, match="annotation 2: the segmentation is None"):
        sample[0]


def test_parts_without_area_are_passed_over(write):
    annotations = [
        {"image_id": 7, "category_id": 1, "segmentation": [[1, 1, 2, 2], RIGHT]},
        {"image_id": 7, "category_id": 2, "segmentation": [[1, 1, 2, 2]]},
        {"image_id": 7, "category_id": 3, "segmentation": []},
        {"image_id": 8, "category_id": 3},
    ]
    (sample,) = CocoDataset(*write(annotations))
    assert sample.sentences == ["bird wing"]
    np.testing.assert_array_equal(sample.masks, [columns(8, 12)])


def test_photos_can_be_excluded(write):
    assert [image["id"] for image, _ in CocoDataset(*write(), exclude_photos={7}).photos] == [8]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("categories"), "has no list 'categories'"),
        (lambda d: d["annotations"][1].update(category_id=5), r"annotations\[1\] is about an image or category"),
        (lambda d: d["annotations"][1].update(image_id=5), r"annotations\[1\] is about an image or category"),
        (lambda d: d["annotations"][1].pop("category_id"), r"annotations\[1\]: 'category_id' must be int"),
        (lambda d: [entry.pop("segmentation") for entry in d["annotations"]], "no annotation with a mask"),
        (lambda d: d["categories"][0].update(name=None), r"categories\[0\]: 'name' must be str"),
        (lambda d: d["images"][0].update(file_name="../x.jpg"), r"image 7: '\.\./x\.jpg' leads out of"),
        (lambda d: d["images"][0].update(width=13), "12 x 10 pixels but .* image 7 is for 13 x 10"),
        (lambda d: d["annotations"][1].update(segmentation=[[0, 0, 50, 0, 5, 5]]), "annotation 1: part 0 .* outside"),
    ],
)
def test_faults_are_named(write, change, message):
    with pytest.raises(ValueError, match=message):
        CocoDataset(*write(change=change))[0]


def test_files_that_are_not_there(write, tmp_path):
    file, photos = write()
    with pytest.raises(FileNotFoundError, match=r"gone\.json' does not exist"):
        CocoDataset(tmp_path / "gone.json", photos)
    file.write_text("<html>")
    with pytest.raises(ValueError, match=r"instances\.json' is not JSON"):
        CocoDataset(file, photos)


def test_real_files(shared):
    folder = shared / "data" / "coco-mini"
    dataset = CocoDataset(folder / "annotations" / "instances_train2017.json", folder / "train2017")
    assert len(dataset) == 76
    sample = dataset[0]
    assert "potted plant" in sample.sentences
    assert sample.masks.any(axis=(1, 2)).all()
