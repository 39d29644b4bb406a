from contextlib import nullcontext

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from modeling_evf_sam.data.segmentations import draw_segmentation
from tests.miniatures import HEIGHT, LEFT, MIDDLE, RIGHT, WIDTH, columns, run_lengths

SIZE = (HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("segmentation", "legacy_overlap", "expected"),
    [
        ([LEFT], False, columns(0, 4)),
        ([LEFT, RIGHT], False, columns(0, 4) | columns(8, 12)),
        ([LEFT, MIDDLE], False, columns(0, 8)),
        ([LEFT, MIDDLE], True, columns(0, 3) | columns(4, 8)),
        ([LEFT, MIDDLE, MIDDLE, MIDDLE], True, columns(0, 3)),
        (run_lengths(columns(2, 5)), False, columns(2, 5)),
        ([run_lengths(columns(2, 5)), run_lengths(columns(9, 10))], False, columns(2, 5) | columns(9, 10)),
        ({"size": [10, 12], "counts": [20, 30, 70]}, False, columns(2, 5)),
        ({"size": [10, 12], "counts": [0, 120]}, False, columns(0, 12)),
        ([], False, columns(0, 0)),
        ([[-1, -1, 13.5, -1, 13.5, 11, -1, 11]], False, columns(0, 12)),
    ],
)
def test_layouts(segmentation, legacy_overlap, expected):
    np.testing.assert_array_equal(draw_segmentation(segmentation, SIZE, legacy_overlap=legacy_overlap), expected)


def test_run_lengths_are_those_of_pycocotools():
    rng = np.random.default_rng(0)
    for _ in range(50):
        mask = rng.random(rng.integers(1, 60, 2)) > rng.random()
        np.testing.assert_array_equal(draw_segmentation(run_lengths(mask), mask.shape), mask)
        np.testing.assert_array_equal(coco_mask.decode(run_lengths(mask)), mask)


def test_legacy_overlap_scores_as_the_original():
    """Its evaluation adds the parts up, counts pixels of class 1 only, and adds both counts to the union."""
    predicted = columns(1, 6)
    parts = columns(0, 4).astype(int) + columns(3, 8)
    inter = ((predicted == parts) & (parts == 1)).sum()
    union = predicted.sum() + (parts == 1).sum() - inter
    target = draw_segmentation([LEFT, MIDDLE], SIZE, legacy_overlap=True)
    assert ((predicted & target).sum(), (predicted | target).sum()) == (inter, union)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (None, "is None: give a list of polygons, or run lengths"),
        ("mask.png", "is 'mask.png'"),
        ([LEFT, [1, 2, 3, 4]], "part 1 of the segmentation has 4 numbers"),
        ([[1, 2, 3, 4, 5, 6, 7]], "has 7 numbers"),
        ([["a", 2, 3, 4, 5, 6]], "give numbers"),
        ([[float("nan"), 2, 3, 4, 5, 6]], "give numbers"),
        ([[[0, 0], [4, 0], [4, 4]]], "give numbers"),
        ([3], "give numbers"),
        ([[0, 0, 40, 0, 40, 10]], r"spans \(0, 0\) to \(40, 10\), outside the 12 x 10 pixels"),
        ({"size": [12, 10], "counts": [120]}, r"has the size \[12, 10\]: the photo has \[10, 12\], height and width"),
        ({"size": 7, "counts": [120]}, "has the size 7"),
        ({"counts": [120]}, "has the size None"),
        ({"size": [10, 12], "counts": [119]}, "do not add up to 10 x 12 pixels"),
        ({"size": [10, 12], "counts": [130, -10]}, "do not add up"),
        ({"size": [10, 12], "counts": [120.0]}, "do not add up"),
        ({"size": [10, 12]}, "counts None that do not add up"),
        ({"size": [10, 12], "counts": ""}, "do not add up"),
        ({"size": [10, 12], "counts": "1"}, "do not add up"),
        ({"size": [10, 12], "counts": "o" * 100}, "do not add up"),
        ({"size": [10, 12], "counts": "\x00é漢"}, "do not add up"),
        ({"size": [10, 12], "counts": run_lengths(columns(2, 5))["counts"] + "P"}, "do not add up"),
    ],
)
def test_what_is_wrong_is_named(segmentation, message):
    with pytest.raises(ValueError, match=message):
        draw_segmentation(segmentation, SIZE)


@pytest.mark.parametrize(("corner", "expected"), [(14, nullcontext()), (14.5, pytest.raises(ValueError))])
def test_annotators_round(corner, expected):
    with expected:
        draw_segmentation([[0, 0, corner, 0, corner, 10]], SIZE)


def test_a_number_beyond_all_floats():
    with pytest.raises(ValueError, match=r"part 0 of the segmentation is .*: give numbers x0, y0"):
        draw_segmentation([[1, 1, 5, 1, 5, 10**400]], (10, 12))
