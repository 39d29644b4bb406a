from contextlib import nullcontext

import numpy as np
import pytest

from modeling_evf_sam.evaluation.metrics import summarize


@pytest.mark.parametrize(
    ("intersections", "unions", "giou", "ciou", "precisions"),
    [
        ([50], [100], 0.5, 0.5, (1, 0, 0)),
        ([49], [100], 0.49, 0.49, (0, 0, 0)),
        ([10, 0], [10, 90], 0.5, 0.1, (0.5, 0.5, 0.5)),
        ([9, 7, 5, 0], [10, 10, 10, 10], 0.525, 0.525, (0.75, 0.5, 0.25)),
        ([0, 0], [0, 8], 0.5, 0.0, (0.5, 0.5, 0.5)),
        ([0], [0], 1.0, 1.0, (1, 1, 1)),
        (np.array([2**40]), np.array([2**41]), 0.5, 0.5, (1, 0, 0)),
        (np.array([3_000_000] * 1000, dtype=np.int32), np.array([3_000_000] * 1000, dtype=np.int32), 1, 1, (1, 1, 1)),
    ],
)
def test_figures(intersections, unions, giou, ciou, precisions):
    figures = summarize(intersections, unions)
    assert figures.pop("sentences") == len(unions)
    names = ("giou", "ciou", "precision@0.5", "precision@0.7", "precision@0.9")
    assert figures == pytest.approx(dict(zip(names, (giou, ciou, *precisions), strict=True)))


@pytest.mark.parametrize(
    ("intersections", "unions", "expected"),
    [
        ([1, 2], [3, 4], nullcontext()),
        ([], [], pytest.raises(ValueError, match="no sentences")),
        ([1], [3, 4], pytest.raises(ValueError, match="1 intersections but 2 unions")),
        ([1, 5], [3, 4], pytest.raises(ValueError, match="sentence 1: the intersection 5")),
        ([-1], [3], pytest.raises(ValueError, match="sentence 0: the intersection -1")),
        ([0.5], [3], pytest.raises(ValueError, match=r"intersections must be .* whole pixels, not float64")),
        ([[1]], [[3]], pytest.raises(ValueError, match=r"shape \(1, 1\)")),
    ],
)
def test_checks(intersections, unions, expected):
    with expected:
        summarize(intersections, unions)


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (None, None),
        ([5, 5, 5, 5], None),
        ([5, 0, 5, 0], 0.5),
        ([5, 0, 5, 5], 1.0),
        ([5, 5, 5, 0], 0.0),
    ],
)
def test_sentences_that_name_nothing(targets, expected):
    figures = summarize([5, 0, 0, 0], [5, 0, 9, 7], targets=targets)
    assert figures.get("no_target_accuracy") == expected
    assert figures["giou"] == 0.5


def test_targets_must_fit():
    with pytest.raises(ValueError, match="1 targets but 2 intersections"):
        summarize([1, 2], [3, 4], targets=[1])
