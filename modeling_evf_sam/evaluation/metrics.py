"""The figures of referring segmentation, from the intersection and the union of every sentence."""

import math
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
        targets: (N,) integers, pixels in the target mask; needed for the figures of presence alone.
        thresholds: IoUs for `precision@...`, the share of sentences that reach at least this IoU.

    Returns:
        Fractions `giou` (mean of the sentences' IoUs), `ciou` (all intersections over all unions), one
        `precision@T` per threshold, and `sentences`, their number N. With targets, each where it is defined:
        `no_target_accuracy`, the share of the sentences without a target that got an empty mask, and
        `target_accuracy`, the share of the others that got a mask with a pixel (N-acc and T-acc of gRefCOCO, arXiv
        2306.00968); and with sentences of both sorts `presence_accuracy`, the share of all that were answered
        rightly in this, and `presence_mcc`, from -1 to 1, Matthews' correlation of answers and targets (SAM 3's
        IL_MCC, arXiv 2511.16719).

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
        figures |= _presence_figures(inter, union, _pixel_counts("targets", targets))
    return figures


def _presence_figures(inter: np.ndarray, union: np.ndarray, target: np.ndarray) -> dict[str, float]:
    if len(target) != len(inter):
        raise ValueError(f"{len(target)} targets but {len(inter)} intersections; give one of each per sentence")
    wrong = np.flatnonzero((target < inter) | (target > union))
    if len(wrong):
        i = wrong[0]
        raise ValueError(f"sentence {i}: the target {target[i]} does not lie within {inter[i]} and {union[i]}")
    there, found = target > 0, union - target + inter > 0  # a pixel in the target, in the prediction
    figures = {}
    if not there.all():
        figures["no_target_accuracy"] = float((~found[~there]).mean())
    if there.any():
        figures["target_accuracy"] = float(found[there].mean())
    if len(figures) == 2:
        figures["presence_accuracy"] = float((there == found).mean())
        figures["presence_mcc"] = _matthews_correlation(there, found)
    return figures


def _matthews_correlation(there: np.ndarray, found: np.ndarray) -> float:
    """The correlation of two lists of truth values; 0, as in SAM 3's evaluation, where one of them is all the same."""
    true, false = int((there & found).sum()), int((~there & found).sum())
    missed, refused = int((there & ~found).sum()), int((~there & ~found).sum())
    scale = math.sqrt((true + false) * (true + missed) * (refused + false) * (refused + missed))
    return (true * refused - false * missed) / scale if scale else 0.0


def _pixel_counts(name: str, values: ArrayLike) -> np.ndarray:
    counts = np.asarray(values)
    if counts.ndim != 1 or (counts.size and not np.issubdtype(counts.dtype, np.integer)):
        raise ValueError(f"{name} must be a flat list of whole pixels, not {counts.dtype} of shape {counts.shape}")
    return counts.astype(np.int64)
