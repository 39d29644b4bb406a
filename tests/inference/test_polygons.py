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


@pytest.mark.parametrize("seed", range(5))
def test_outlines_hold_the_mask_and_its_holes(seed):
    mask = np.random.default_rng(seed).random((12, 15)) < 0.6
    outside = np.pad(~mask, 1, constant_values=True)  # grow the outside from the border, over corners too
    reached = np.zeros_like(outside)
    reached[0] = True
    for _ in range(reached.size):
        padded = np.pad(reached, 1)
        grown = np.any([padded[y : y + 14, x : x + 17] for y in range(3) for x in range(3)], axis=0) & outside
        if (grown == reached).all():
            break
        reached = grown
    filled = ~reached[1:-1, 1:-1]
    holes_with_islands = _filled(outlines(mask), mask.shape)
    assert (holes_with_islands >= mask)[~filled].all() and not holes_with_islands[~filled].any()
    assert (holes_with_islands | ~filled | ~mask).any()
