from contextlib import nullcontext

import numpy as np
import pytest

from modeling_evf_sam.evaluation.metrics import summarize


@pytest.mark.parametrize(
    ("intersections", "unions", "giou", "ciou", "precisions"),
    [
        ([50], [100], 0.5, 0.5, (1, 0, 0, 0, 0)),
        ([49], [100], 0.49, 0.49, (0, 0, 0, 0, 0)),
        ([10, 0], [10, 90], 0.5, 0.1, [0.5] * 5),
        ([9, 8, 7, 6, 5, 0], [10] * 6, 3.5 / 6, 3.5 / 6, (5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6)),
        ([0, 0], [0, 8], 0.5, 0.0, [0.5] * 5),
        ([0], [0], 1.0, 1.0, [1] * 5),
        (np.array([2**40]), np.array([2**41]), 0.5, 0.5, (1, 0, 0, 0, 0)),
        (np.array([3_000_000] * 1000, dtype=np.int32), np.array([3_000_000] * 1000, dtype=np.int32), 1, 1, [1] * 5),
    ],
)
def test_figures(intersections, unions, giou, ciou, precisions):
    figures = summarize(intersections, unions)
    assert figures.pop("sentences") == len(unions)
    names = ("giou", "ciou", *(f"precision@{threshold}" for threshold in (0.5, 0.6, 0.7, 0.8, 0.9)))
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


PRESENCE = ("no_target_accuracy", "target_accuracy", "presence_accuracy", "presence_mcc")


@pytest.mark.parametrize(
    ("unions", "targets", "expected"),
    [
        ([5, 0, 9, 7], None, {}),
        ([5, 4, 9, 7], [5, 4, 9, 7], {"target_accuracy": 1 / 4}),  # targets that are all of their unions: not found
        ([5, 4, 9, 7], [5, 3, 8, 6], {"target_accuracy": 1}),
        ([5, 0, 9, 7], [5, 0, 5, 0], (1 / 2, 1, 3 / 4, 2 / 12**0.5)),  # 2 found, 1 refused, 1 false
        ([5, 0, 9, 7], [5, 0, 5, 7], (1, 2 / 3, 3 / 4, 2 / 12**0.5)),  # 2 found, 1 refused, 1 missed
        ([5, 0, 9, 7], [5, 0, 9, 7], (1, 1 / 3, 2 / 4, 1 / 9**0.5)),  # 1 found, 1 refused, 2 missed
        ([5, 4, 9, 7], [5, 0, 9, 0], (0, 1 / 2, 1 / 4, -2 / 12**0.5)),  # 1 found, 2 false, 1 missed
        ([5, 4, 9, 7], [5, 0, 8, 6], (0, 1, 3 / 4, 0)),  # every sentence was answered
        ([5, 0, 9, 0], [5, 0, 8, 0], (1, 1, 1, 1)),
    ],
)
def test_what_is_there_is_told_from_what_is_not(unions, targets, expected):
    figures = summarize([5, 0, 0, 0], unions, targets=targets)
    expected = expected if isinstance(expected, dict) else dict(zip(PRESENCE, expected, strict=True))
    assert {name: figures[name] for name in PRESENCE if name in figures} == pytest.approx(expected)


def test_no_sentence_has_a_target():
    figures = summarize([0, 0], [0, 7], targets=[0, 0])
    assert {name: figures[name] for name in PRESENCE if name in figures} == {"no_target_accuracy": 0.5}
    assert figures["giou"] == 0.5  # 1 where nothing was found, 0 where something was


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([1], "1 targets but 2 intersections"),
        ([1, 1], "sentence 1: the target 1 does not lie within 2 and 4"),
        ([4, 2], "sentence 0: the target 4 does not lie within 1 and 3"),
    ],
)
def test_targets_must_fit(targets, message):
    with pytest.raises(ValueError, match=message):
        summarize([1, 2], [3, 4], targets=targets)
