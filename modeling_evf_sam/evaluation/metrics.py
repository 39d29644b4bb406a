"""The figures of referring segmentation, from the intersection and the union of every sentence."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

PRECISION_THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


def summarize(
    intersections: ArrayLike,
    unions: ArrayLike,
    *,
    targets: ArrayLike | None = None,
    thresholds: Sequence[float] = PRECISION_THRESHOLDS,
) -> dict[str, float]:
    """Sums up one intersection and one union per sentence, in pixels.

    The IoU of a sentence whose target and prediction are both empty is 1, as in the evaluation of the original
    (its `eval.py`). Sums are of integers, so figures of shards can be merged exactly by joining their pixels.

    Args:
        intersections: (N,) integers, pixels in both the predicted and the target mask of a sentence.
        unions: (N,) integers, pixels in either of them.
        targets: (N,) integers, pixels in the target mask; needed for the two accuracies alone.
        thresholds: IoUs for `precision@...`, the share of sentences that reach at least this IoU.

    Returns:
        Fractions `giou` (mean of the sentences' IoUs), `ciou` (all intersections over all unions), one
        `precision@T` per threshold, and `sentences`, their number N. With targets of which some are empty, also
        `no_target_accuracy`, the share of these sentences that got an empty mask, and `target_accuracy`, the share
        of the others that got a mask with a pixel (gRefCOCO's N-acc and T-acc).

    Raises:
        ValueError: no sentences, lists of different lengths, an intersection outside 0..union, or a target outside
            intersection..union.
    """
    inter, union = _pixel_counts("intersections", intersections), _pixel_counts("unions", unions)
    if len(inter) != len(union):
        raise ValueError(f"{len(inter)} intersections but {len(union)} unions; give one of each per sentence")
    if len(inter) == 0:
        raise ValueError("there are no sentences to score")
    wrong = np.flatnonzero((inter < 0) | (inter > union))
    if len(wrong):
        i = wrong[0]
        raise ValueError(f"sentence {i}: the intersection {inter[i]} does not lie within 0 and the union {union[i]}")
    ious = np.where(union == 0, 1.0, inter / np.maximum(union, 1))
    total = union.sum()
    figures = {
        "giou": float(ious.mean()),
        "ciou": float(inter.sum() / total) if total else 1.0,
        **{f"precision@{threshold}": float((ious >= threshold).mean()) for threshold in thresholds},
        "sentences": len(ious),
    }
    if targets is not None:
        figures |= _accuracies(inter, union, _pixel_counts("targets", targets))
    return figures


def _accuracies(inter: np.ndarray, union: np.ndarray, target: np.ndarray) -> dict[str, float]:
    if len(target) != len(inter):
        raise ValueError(f"{len(target)} targets but {len(inter)} intersections; give one of each per sentence")
    wrong = np.flatnonzero((target < inter) | (target > union))
    if len(wrong):
        i = wrong[0]
        raise ValueError(f"sentence {i}: the target {target[i]} does not lie within {inter[i]} and {union[i]}")
    absent, answered = target == 0, union - target + inter > 0  # pixels of the prediction
    if not absent.any():
        return {}
    accuracies = {"no_target_accuracy": float(1 - answered[absent].mean())}
    if not absent.all():
        accuracies["target_accuracy"] = float(answered[~absent].mean())
    return accuracies


def _pixel_counts(name: str, values: ArrayLike) -> np.ndarray:
    counts = np.asarray(values)
    if counts.ndim != 1 or (counts.size and not np.issubdtype(counts.dtype, np.integer)):
        raise ValueError(f"{name} must be a flat list of whole pixels, not {counts.dtype} of shape {counts.shape}")
    return counts.astype(np.int64)
