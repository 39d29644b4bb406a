"""A sheet of small pictures: what was meant, and what was found instead."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

COLUMNS = 4
SIDE = 300  # pixels of the longest side of a photo
LETTERS, LINES = 40, 2  # of a caption
FONT_SIZE, CAPTION_HEIGHT, MARGIN = 14, 40, 8
FOUND, MEANT = (255, 0, 200), (0, 255, 255)
LEGEND = "IoU in percent, and the sentence. Pink: found. Outline: meant."


@dataclass(frozen=True, kw_only=True)
class Case:
    """One picture: an RGB photo of size (H, W) with two masks (H, W) bool, and the text below it."""

    photo: Image.Image
    target: np.ndarray
    predicted: np.ndarray
    caption: str


def contact_sheet(cases: Sequence[Case]) -> Image.Image:
    """Draws each photo with the predicted mask in pink and an outline of the target mask, and its caption.

    Letters are those of Pillow's own font: Latin ones; others appear as boxes.

    Raises:
        ValueError: there are no cases.
    """
    if not cases:
        raise ValueError("there is nothing to draw: give at least one case")
    tiles = [_draw_case(case) for case in cases]
    rows = [tiles[start : start + COLUMNS] for start in range(0, len(tiles), COLUMNS)]
    heights = [max(tile.height for tile in row) + MARGIN for row in rows]
    width, top = SIDE + MARGIN, FONT_SIZE + 2 * MARGIN
    sheet = Image.new("RGB", (max(len(rows[0]), 2) * width + MARGIN, top + sum(heights)), "white")
    ImageDraw.Draw(sheet).text((MARGIN, MARGIN), LEGEND, fill="black", font=ImageFont.load_default(FONT_SIZE))
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            sheet.paste(tile, (MARGIN + column * width, top))
        top += height
    return sheet


def _draw_case(case: Case) -> Image.Image:
    scale = SIDE / max(case.photo.size)
    size = (max(1, round(case.photo.width * scale)), max(1, round(case.photo.height * scale)))
    picture = case.photo.resize(size, Image.Resampling.BILINEAR)
    found, meant = (_resize(mask, size) for mask in (case.predicted, case.target))
    picture.paste(FOUND, mask=found.point(lambda value: value // 2))
    # Two lines of opposite brightness, so that one of them stands out from any photo.
    inner = meant.filter(ImageFilter.MinFilter(3))
    picture.paste("black", mask=_difference(meant.filter(ImageFilter.MaxFilter(3)), meant))
    picture.paste(MEANT, mask=_difference(meant, inner.filter(ImageFilter.MinFilter(3))))
    tile = Image.new("RGB", (SIDE, picture.height + CAPTION_HEIGHT), "white")
    tile.paste(picture)
    lines = textwrap.wrap(case.caption, LETTERS, max_lines=LINES, placeholder=" …")
    font = ImageFont.load_default(FONT_SIZE)
    ImageDraw.Draw(tile).multiline_text((0, picture.height + 2), "\n".join(lines), fill="black", font=font)
    return tile


def _resize(mask: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """A mask (H, W) at another (width, height), of 0 and 255."""
    area = Image.fromarray(mask).convert("L").resize(size, Image.Resampling.BILINEAR)
    return area.point(lambda value: 255 if value >= 128 else 0)


def _difference(area: Image.Image, inner: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(area) - np.asarray(inner))  # inner lies within area
