"""The connected parts of a mask."""

import numpy as np


def label_components(mask: np.ndarray) -> np.ndarray:
    """Numbers the connected parts of a mask; pixels that share a corner alone are in two parts.

    Args:
        mask: (H, W) bool.

    Returns:
        (H, W) int32: 0 outside the mask, and 1, 2, ... on its parts, in the order in which rows of pixels meet them.
    """
    height, width = mask.shape
    padded = np.pad(np.asarray(mask, dtype=np.int8), ((0, 0), (0, 1))).ravel()  # no run goes on in the next row
    steps = np.diff(padded, prepend=0)
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    # In sorted runs, those of the row above that touch a run are neighbours.
    first = np.searchsorted(ends, starts - (width + 1), side="right")
    last = np.searchsorted(starts, ends - (width + 1), side="left")
    parents = list(range(len(starts)))
    for run, touching in enumerate(map(range, first.tolist(), last.tolist())):
        for above in touching:
            low, high = sorted((_root(parents, above), _root(parents, run)))
            parents[high] = low
    roots = [_root(parents, run) for run in range(len(starts))]
    numbers = np.unique(roots, return_inverse=True)[1] + 1
    labels = np.zeros(padded.shape, dtype=np.int32)
    labels[padded == 1] = np.repeat(numbers, ends - starts)
    return labels.reshape(height, width + 1)[:, :width]


def _root(parents: list[int], run: int) -> int:
    """The first run of the part that a run belongs to."""
    while parents[run] != run:
        parents[run] = run = parents[parents[run]]
    return run


def pixel_edges(mask: np.ndarray) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of a mask (H, W) that is not empty, the last two exclusive."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
