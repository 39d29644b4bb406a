"""A picture of what each word of a sentence does to its mask."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from modeling_evf_sam.inference.labelling import GREY, text_font, wrap
from modeling_evf_sam.inference.outlining import COLOURS, draw_masks

SIDE = 512  # pixels of the longest side of a photo before masks are drawn on it
MAX_COLUMNS, GAP = 4, 16
WHOLE, WITHOUT, SHADE = COLOURS[0], COLOURS[1], COLOURS[5]


def explanation_figure(
    photo: Image.Image,
    words: Sequence[str],
    mask: np.ndarray,
    masks_without: np.ndarray,
    weights: np.ndarray,
    presence_changes: np.ndarray | None = None,
) -> Image.Image:
    """Draws the words, the heavier the darker; below them the photo with their mask, and with that without each word.

    Args:
        photo: a photo of any mode and size (H, W).
        words: N of them.
        mask: (H, W) bool, of all words.
        masks_without: (N, H, W) bool.
        weights: (N,) 1 - IoU of the mask and that without each word.
        presence_changes: (N,) to be written beside the weights, or None.

    Returns:
        An RGB picture.
    """
    notes = [f"without “{word}”: IoU {1 - weight:.2f}" for word, weight in zip(words, weights, strict=True)]
    if presence_changes is not None:
        notes = [f"{note}, presence {-change:+.2f}" for note, change in zip(notes, presence_changes, strict=True)]
    small = photo.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    tiles = [draw_masks(small, _resized(mask, small.size), [WHOLE])]
    tiles += [draw_masks(small, _resized(other, small.size), [WITHOUT]) for other in masks_without]
    grid = _grid(tiles, ["all words", *notes])
    header = _header(words, weights, grid.width)
    canvas = Image.new("RGB", (grid.width, header.height + grid.height), "white")
    canvas.paste(header)
    canvas.paste(grid, (0, header.height))
    return canvas


def _resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask (H, W) as (1, height, width) of another size."""
    area = Image.fromarray(mask).convert("L").resize(size, Image.Resampling.BOX)
    return np.asarray(area)[None] >= 128


def _grid(tiles: Sequence[Image.Image], notes: Sequence[str]) -> Image.Image:
    """Tiles of one size in rows, a note below each."""
    width, height = tiles[0].size
    columns = min(MAX_COLUMNS, math.ceil(math.sqrt(len(tiles))))
    font = text_font(2 * width)
    row = height + sum(font.getmetrics()) + GAP
    rows = math.ceil(len(tiles) / columns)
    grid = Image.new("RGB", (columns * (width + GAP) + GAP, rows * row), "white")
    draw = ImageDraw.Draw(grid)
    for number, (tile, note) in enumerate(zip(tiles, notes, strict=True)):
        place = (GAP + number % columns * (width + GAP), number // columns * row)
        grid.paste(tile, place)
        draw.text((place[0], place[1] + height + GAP // 4), wrap(note, font, width, limit=1)[0], GREY, font)
    return grid


def _header(words: Sequence[str], weights: np.ndarray, width: int) -> Image.Image:
    """The words in lines, each on a ground that is white for weight 0 and dark for 1."""
    font = text_font(width)
    line, padding = sum(font.getmetrics()) + GAP, font.size // 4
    shown = [wrap(word, font, width - 2 * (GAP + int(padding)), limit=1)[0] for word in words]
    boxes = _flow([font.getlength(word) + 2 * padding for word in shown], width - 2 * GAP)
    header = Image.new("RGB", (width, line * (1 + boxes[-1][2]) + GAP), "white")
    draw = ImageDraw.Draw(header)
    for word, weight, (left, right, number) in zip(shown, weights, boxes, strict=True):
        top = GAP + number * line
        ground = tuple(round(255 + weight * (part - 255)) for part in SHADE)
        draw.rounded_rectangle((GAP + left, top, GAP + right, top + line - GAP // 2), padding, fill=ground)
        ink = "white" if weight > 0.5 else "black"
        draw.text((GAP + left + padding, top + (line - GAP // 2) / 2), word, ink, font, anchor="lm")
    return header


def _flow(widths: Sequence[float], limit: int) -> list[tuple[float, float, int]]:
    """Left and right edge of each word and the number of its line, where no line is longer than `limit`."""
    boxes: list[tuple[float, float, int]] = []
    left, line = 0.0, 0
    for width in widths:
        if left and left + width > limit:
            left, line = 0.0, line + 1
        boxes.append((left, left + width, line))
        left += width + GAP / 4
    return boxes
