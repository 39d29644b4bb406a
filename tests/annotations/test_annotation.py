import numpy as np
import pytest

from modeling_evf_sam.annotations.annotation import AnnotatedPhoto, Least, annotate, annotated, own_file
from modeling_evf_sam.data.segmentations import run_lengths


def answer(left=0, right=10, score=0.5, **more):
    mask = np.zeros((20, 30), dtype=bool)
    mask[5:10, left:right] = True
    box = [left, 5, right, 10] if mask.any() else [0, 0, 0, 0]
    return {
        "sentence": "the cup",
        "score": score,
        "box": box,
        "area": int(mask.sum()),
        "rle": run_lengths(mask),
        **more,
    }


def test_the_surest_of_equal_answers_stays():
    found = annotate([answer(score=0.5), answer(right=9, score=0.75), answer(left=20, right=30)], Least())
    assert [(one.score, one.box) for one in found] == [(0.75, [0, 5, 9, 10]), (0.5, [20, 5, 30, 10])]
    assert found[0].mask.sum() == found[0].area == 45


def test_answers_with_other_labels_stay_beside_each_other():
    found = annotate([answer(label="cup"), answer(label="mug"), answer(sentence="cup")], Least())
    assert [one.label for one in found] == ["cup", "mug"]


def test_instances_take_the_place_of_the_whole():
    parts = [answer(right=4, score=0.25), answer(left=6, score=0.75)]
    found = annotate([answer(instances=parts), answer(left=20, right=30, instances=[])], Least())
    assert [one.box[0] for one in found] == [6, 20, 0]


@pytest.mark.parametrize(
    ("values", "least", "kept"),
    [
        ({"presence": 0.4}, Least(presence=0.5), False),
        ({"presence": 0.6}, Least(presence=0.5), True),
        ({"presence": None}, Least(presence=0.5), True),
        ({}, Least(presence=0.5, quality=0.5), True),
        ({"quality": 0.4}, Least(quality=0.5), False),
        ({}, Least(area=50), True),
        ({}, Least(area=51), False),
        ({"right": 0}, Least(area=0), False),
    ],
)
def test_what_is_left_out(values, least, kept):
    assert bool(annotate([answer(**values)], least)) == kept


def test_photos_are_named_from_their_common_folder(tmp_path):
    files = [tmp_path / "a" / "1.jpg", tmp_path / "b" / "c" / "2.jpg"]
    records = [{"photo": str(file), "width": 30, "height": 20, "masks": [answer()]} for file in files]
    found = annotated(records, Least())
    assert [(photo.name, photo.size) for photo in found] == [("a/1.jpg", (20, 30)), ("b/c/2.jpg", (20, 30))]


def photo(name):
    return AnnotatedPhoto(file=None, name=name, size=(20, 30), annotations=[])


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.jpg", "a.txt"), ("a/b.c.jpg", "a/b.c.txt"), ("/d/e.jpg", "d/e.txt"), ("../../f.jpg", "f.txt")],
)
def test_files_about_a_photo_stay_in_their_folder(tmp_path, name, expected):
    assert own_file(tmp_path, photo(name), ".txt") == tmp_path / expected


def test_photos_whose_files_would_be_one_are_told(tmp_path):
    own_file(tmp_path, photo("a.jpg"), ".txt").touch()
    with pytest.raises(ValueError, match=r"two photos are called 'a.png', but for the suffix: rename one"):
        own_file(tmp_path, photo("a.png"), ".txt")
