import numpy as np
import pytest

from modeling_evf_sam.inference.components import label_components, pixel_edges
from modeling_evf_sam.inference.polygons import outlines

PICTURES = {
    "nothing": ["..", ".."],
    "all": ["##", "##"],
    "two": ["#.#", "#.#"],
    "a corner is no side": ["#.", ".#"],
    "rows do not go on in the next": ["..#", "#.."],
    "a bridge at the end": ["#.#.#", "#.#.#", "#####"],
    "a ring with a core": ["#####", "#...#", "#.#.#", "#...#", "#####"],
    "a spiral": ["#####", "....#", "###.#", "#...#", "#####"],
}


@pytest.mark.parametrize("rows", PICTURES.values(), ids=PICTURES)
def test_parts_are_those_that_have_an_outline(rows):
    mask = np.array([[pixel == "#" for pixel in row] for row in rows])
    labels = label_components(mask)
    assert np.array_equal(labels > 0, mask)
    assert sorted(np.unique(labels[mask])) == list(range(1, len(outlines(mask)) + 1))


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_each_part_of_noise_is_one(share):
    mask = np.random.default_rng(0).random((40, 60)) < share
    labels = label_components(mask)
    assert labels.max() == len(outlines(mask))
    for number in range(1, labels.max() + 1):
        assert len(outlines(labels == number)) == 1


def test_edges():
    mask = np.zeros((9, 12), dtype=bool)
    mask[2:5, 3:11] = True
    assert pixel_edges(mask) == (3, 2, 11, 5)
