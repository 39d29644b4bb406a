"""Whether estimates mean what they say: estimated beside observed, in bins."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

BINS = 10


@dataclass(frozen=True, eq=False)
class Reliability:
    """A reliability diagram in numbers (Guo et al. 2017, arXiv 1706.04599, section 2).

    The bins are equally wide, and an estimate on an edge belongs to the bin below it: bin m holds those above m / 10
    and up to (m + 1) / 10, the first one 0 too.

    Attributes:
        counts: (BINS,) estimates in each bin.
        estimated: (BINS,) their mean; 0 where there are none.
        observed: (BINS,) the mean of what was observed for them; 0 where there are none.
    """

    counts: np.ndarray
    estimated: np.ndarray
    observed: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error (ECE): how far both means are apart, averaged over all estimates."""
        return float(np.average(np.abs(self.estimated - self.observed), weights=self.counts))


def reliability(estimates: ArrayLike, observations: ArrayLike) -> Reliability:
    """Sorts estimates into bins.

    Args:
        estimates: (N,) within 0 and 1: probabilities, or estimates of an IoU.
        observations: (N,) within 0 and 1: whether it was so, or the IoU.

    Raises:
        ValueError: there are none, not as many of both, or some lie outside of 0 and 1.
    """
    pairs = [np.asarray(values, dtype=np.float64) for values in (estimates, observations)]
    if pairs[0].shape != pairs[1].shape or pairs[0].ndim != 1 or not pairs[0].size:
        shapes = " and ".join(str(values.shape) for values in pairs)
        raise ValueError(f"estimates and observations must be two flat lists of one length, not {shapes}")
    for name, values in zip(("estimate", "observation"), pairs, strict=True):
        if len(wrong := np.flatnonzero(~((values >= 0) & (values <= 1)))):
            raise ValueError(f"{name} {wrong[0]} is {values[wrong[0]]}: it must lie within 0 and 1")
    bins = np.digitize(pairs[0], np.linspace(0, 1, BINS + 1)[1:-1], right=True)
    counts = np.bincount(bins, minlength=BINS)
    estimated, observed = (np.bincount(bins, values, BINS) / np.maximum(counts, 1) for values in pairs)
    return Reliability(counts, estimated, observed)
