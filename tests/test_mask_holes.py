import pytest
import torch
from torch import Tensor

from modeling_evf_sam.mask_holes import FILLED, fill_holes

# Drawn with "#" for the mask; "o" is a hole to fill, "." is background that stays.
PICTURES = {
    "one pixel": ("#####", "##o##", "#####"),
    "corners touch": ("######", "#o####", "##o###", "###o##", "######"),
    "at the edge": ("oo###", "o####", "#####"),
    "a line of eight": ("##########", "#oooooooo#", "##########"),
    "a line of nine": ("###########", "#.........#", "###########"),
    "a long line": (".", ".", ".", ".", ".", ".", ".", ".", ".", ".", ".", ".", ".", ".", ".", ".", "#"),
    "a hole beside the outside": (".########", ".####oo##", ".####oo##", ".########", ".........", "........."),
    "no mask at all": (".........", "........."),
    "no background": ("####", "####"),
}


def parse(rows: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    logits = torch.tensor([[1.5 if pixel == "#" else -2.0 for pixel in row] for row in rows])
    expected = torch.tensor([[{"#": 1.5, "o": FILLED, ".": -2.0}[pixel] for pixel in row] for row in rows])
    return logits, expected


@pytest.mark.parametrize("rows", PICTURES.values(), ids=PICTURES)
@pytest.mark.parametrize("turn", range(4))
def test_pictures(rows, turn):
    logits, expected = (torch.rot90(picture, turn) for picture in parse(rows))
    assert torch.equal(fill_holes(logits[None, None])[0, 0], expected)


def test_each_mask_alone():
    hole, empty = torch.ones(1, 6, 6), torch.full((1, 6, 6), -1.0)
    hole[0, 2, 2] = -1
    filled = fill_holes(torch.stack([hole, empty]))
    assert filled[0, 0, 2, 2] == FILLED
    assert torch.equal(filled[1], empty)


def small_islands(background: Tensor, max_area: int) -> Tensor:
    """Holes found by walking over the background, pixel by pixel."""
    left = {(row, column) for row, column in background.nonzero().tolist()}
    holes = torch.zeros_like(background)
    while left:
        island, waiting = [], [left.pop()]
        while waiting:
            row, column = waiting.pop()
            island.append((row, column))
            around = {(row + down, column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)} & left
            left -= around
            waiting += around
        for pixel in island if len(island) <= max_area else []:
            holes[pixel] = True
    return holes


@pytest.mark.parametrize("density", [0.2, 0.4, 0.6, 0.8])
@pytest.mark.parametrize("max_area", [1, 3, 8])
def test_noise(density, max_area):
    noise = torch.rand(4, 1, 48, 48, generator=torch.Generator().manual_seed(0)) - density
    expected = torch.stack([small_islands(one[0] <= 0, max_area)[None] for one in noise])
    assert torch.equal(fill_holes(noise, max_area), torch.where(expected, FILLED, noise))
