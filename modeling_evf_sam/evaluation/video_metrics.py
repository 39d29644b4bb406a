"""The figures of video object segmentation: region similarity J, boundary accuracy F, and their mean J&F.

Definitions: Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation" (2016),
and Pont-Tuset et al., "The 2017 DAVIS Challenge on Video Object Segmentation" (2017).
"""

import numpy as np

BOUNDARY_TOLERANCE = 0.008  # of the picture's diagonal


def region_similarity(found: np.ndarray, meant: np.ndarray) -> np.ndarray:
    """J: the intersection of two masks over their union; 1 where both are empty.

    Args:
        found: (..., H, W) bool.
        meant: the same shape.

    Returns:
        (...) float64 from 0 to 1.
    """
    shared = np.count_nonzero(found & meant, axis=(-2, -1))
    either = np.count_nonzero(found | meant, axis=(-2, -1))
    return np.where(either == 0, 1.0, shared / np.maximum(either, 1))


def boundary_accuracy(found: np.ndarray, meant: np.ndarray, *, tolerance: float = BOUNDARY_TOLERANCE) -> np.ndarray:
    """F: the harmonic mean of the precision and the recall of the boundary pixels.

    A boundary pixel counts as matched if the other boundary has a pixel within the tolerance; this stands in for the
    bipartite matching of the two boundaries. If neither mask has a boundary, F is 1; if one has none, F is 0. A
    picture's own border is no boundary, so a mask that fills the picture has none either.

    Args:
        found: (..., H, W) bool.
        meant: the same shape.
        tolerance: as a share of the picture's diagonal; rounded up to whole pixels.

    Returns:
        (...) float64 from 0 to 1.
    """
    radius = int(np.ceil(tolerance * np.hypot(*found.shape[-2:])))
    found_line, meant_line = _boundary(found), _boundary(meant)
    precision = _share_near(found_line, meant_line, radius)
    recall = _share_near(meant_line, found_line, radius)
    both = precision + recall
    return np.where(both == 0, 0.0, 2 * precision * recall / np.where(both == 0, 1.0, both))


def _boundary(mask: np.ndarray) -> np.ndarray:
    """Pixels that differ from the next one to the right, below, or right below, inside the picture."""
    no_pad = [(0, 0)] * (mask.ndim - 2)
    padded = np.pad(mask, [*no_pad, (0, 1), (0, 1)], mode="edge")
    right, below, diagonal = padded[..., :-1, 1:], padded[..., 1:, :-1], padded[..., 1:, 1:]
    return (mask != right) | (mask != below) | (mask != diagonal)


def _share_near(line: np.ndarray, other: np.ndarray, radius: int) -> np.ndarray:
    """The share of a line's pixels within `radius` of the other line; 1 for a line without pixels."""
    matched = np.count_nonzero(line & _thicken(other, radius), axis=(-2, -1))
    pixels = np.count_nonzero(line, axis=(-2, -1))
    return np.where(pixels == 0, 1.0, matched / np.maximum(pixels, 1))


def _thicken(line: np.ndarray, radius: int) -> np.ndarray:
    """Every pixel (..., H, W) whose distance to a pixel of the line is at most `radius`.

    A disc is a stack of horizontal bars: one running sum along the rows tells for a bar of any length, at any pixel,
    whether a pixel of the line lies in it.
    """
    height, width = line.shape[-2:]
    no_pad = [(0, 0)] * (line.ndim - 2)
    counts = np.cumsum(np.pad(line, [*no_pad, (radius, radius), (radius + 1, radius)]), axis=-1, dtype=np.int32)
    thick = np.zeros(line.shape, bool)
    for step in range(-radius, radius + 1):
        half = int(np.sqrt(radius**2 - step**2))
        rows = counts[..., radius + step : radius + step + height, :]
        first, last = radius - half, radius + half + 1
        thick |= rows[..., last : last + width] > rows[..., first : first + width]
    return thick
