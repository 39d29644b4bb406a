import numpy as np
import pytest

from modeling_evf_sam.inference.polygons import outlines


def _mask(*rows):
    return np.array([[letter == "#" for letter in row] for row in rows])


def _filled(rings, shape):
    """Which pixels' centres lie in an odd number of rings, by crossings of a ray to the left."""
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    inside = np.zeros(shape, dtype=bool)
    for ring in rings:
        corners = np.reshape(ring, (-1, 2))
        for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            if x0 == x1:
                inside ^= (columns > x0) & (rows > min(y0, y1)) & (rows < max(y0, y1))
    return inside


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (_mask("..", ".."), []),
        (_mask(".#"), [[1, 0, 2, 0, 2, 1, 1, 1]]),
        (_mask("##", "##"), [[0, 0, 2, 0, 2, 2, 0, 2]]),
        (_mask("#.", "##"), [[0, 0, 1, 0, 1, 1, 2, 1, 2, 2, 0, 2]]),
        (_mask("#.", ".#"), [[0, 0, 1, 0, 1, 1, 0, 1], [1, 1, 2, 1, 2, 2, 1, 2]]),
        (_mask("###", "#.#", "###"), [[0, 0, 3, 0, 3, 3, 0, 3]]),
    ],
)
def test_outlines_of_small_masks(mask, expected):
    assert outlines(mask) == expected


def _without_holes(mask):
    """The mask with all that is not reached from the border, over corners too."""
    outside = np.pad(~mask, 1, constant_values=True)
    reached, before = np.zeros_like(outside), None
    reached[0] = True
    height, width = outside.shape
    while not np.array_equal(reached, before):
        before, padded = reached, np.pad(reached, 1)
        near = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]
        reached = np.any(near, axis=0) & outside
    return ~reached[1:-1, 1:-1]


@pytest.mark.parametrize("seed", range(5))
def test_outlines_hold_the_mask_and_its_holes(seed):
    mask = np.random.default_rng(seed).random((24, 30)) < 0.75
    filled = _without_holes(mask)
    assert (filled != mask).any()
    assert np.array_equal(_filled(outlines(filled), mask.shape), filled)
    assert all(outline in outlines(mask) for outline in outlines(filled))
