"""Words on a picture: labels at the objects, and a legend for those that have no room for one."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from modeling_evf_sam.inference.components import pixel_edges
from modeling_evf_sam.inference.outlining import Colour

MAX_LEGEND_LINES = 3  # of one sentence
LABEL_SHARE, MAX_LABEL_LINES = 0.4, 2  # of the picture's width that a label may take up
GREY = (90, 90, 90)

Box = tuple[float, float, float, float]


class Entry(NamedTuple):
    """What a colour means: a sentence, and the score of its mask as text, or ""."""

    sentence: str
    score: str
    colour: Colour


def text_font(width: int) -> ImageFont.FreeTypeFont:
    """Letters for a picture of this width: those of Pillow's own font, Latin ones."""
    font = ImageFont.load_default(max(15, width // 45))
    assert isinstance(font, ImageFont.FreeTypeFont)  # a Pillow without FreeType has no letters of this size
    return font


def draw_labels(picture: Image.Image, masks: np.ndarray, entries: Sequence[Entry]) -> list[Entry]:
    """Puts sentence and score beside each mask that has room there: not over a mask, nor over another label.

    Args:
        picture: RGB, changed in place.
        masks: (P, H, W) bool, at the photo's size, which may be another one.
        entries: P of them.

    Returns:
        The entries that had no room.
    """
    draw, font = ImageDraw.Draw(picture), text_font(picture.width)
    taken = _Taken(np.logical_or.reduce(masks), picture.size)
    left = []
    for mask, entry in zip(masks, entries, strict=True):
        lines = wrap(f"{entry.sentence} {entry.score}", font, int(LABEL_SHARE * picture.width))
        padding = round(font.size / 3)
        size = (max(map(font.getlength, lines)) + 2 * padding, len(lines) * sum(font.getmetrics()) + padding)
        places = _places(taken.scaled_edges(mask), size, picture.size) if mask.any() else iter(())
        place = next((place for place in places if taken.is_free(place)), None)
        if len(lines) > MAX_LABEL_LINES or place is None:
            left.append(entry)
            continue
        taken.labels.append(place)
        draw.rounded_rectangle(place, padding, fill=entry.colour, outline="black")
        for number, line in enumerate(lines):
            middle = place[1] + padding / 2 + (number + 0.5) * sum(font.getmetrics())
            draw.text(((place[0] + place[2]) / 2, middle), line, fill=_ink(entry.colour), font=font, anchor="mm")
    return left


class _Taken:
    """Where no label can be: masks, and labels that are there already."""

    def __init__(self, area: np.ndarray, size: tuple[int, int]):
        self.area = area
        self.labels: list[Box] = []
        self.scale = (size[0] / area.shape[1], size[1] / area.shape[0])  # of picture to photo

    def scaled_edges(self, mask: np.ndarray) -> Box:
        """x0, y0, x1, y1 of a mask that is not empty, in pixels of the picture."""
        (x, y), edges = self.scale, pixel_edges(mask)
        return edges[0] * x, edges[1] * y, edges[2] * x, edges[3] * y

    def is_free(self, box: Box) -> bool:
        x0, y0, x1, y1 = box
        if any(x0 < right and left < x1 and y0 < low and top < y1 for left, top, right, low in self.labels):
            return False
        (x, y) = self.scale
        return not self.area[int(y0 / y) : int(y1 / y) + 1, int(x0 / x) : int(x1 / x) + 1].any()


def _places(edges: Box, size: tuple[float, float], picture: tuple[int, int]) -> Iterator[Box]:
    """Boxes of that size around an object and within the picture: above, below, at its sides; the best first."""
    (x0, y0, x1, y1), (width, height) = edges, size
    gap = 8  # clear of the outline
    columns = [min(max(x, 1), picture[0] - width - 2) for x in ((x0 + x1 - width) / 2, x0, x1 - width)]
    rows = [(y0 + y1 - height) / 2, y0, y1 - height]
    places = [(x, y) for y in (y0 - height - gap, y1 + gap) for x in columns]
    places += [(x, y) for x in (x1 + gap, x0 - width - gap) for y in rows]
    for x, y in places:
        if 0 < x < picture[0] - width - 1 and 0 < y < picture[1] - height - 1:
            yield x, y, x + width, y + height


def _ink(colour: Colour) -> str:
    """Black, or white on a dark colour."""
    red, green, blue = colour
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 110 else "white"


def draw_legend(width: int, entries: Sequence[Entry], note: str | None = None) -> Image.Image:
    """A white strip that names colours, one row or more for each entry, with the note below them.

    Returns:
        An RGB picture of that width; without entries and note it has no height.
    """
    font = text_font(width)
    ascent, descent = font.getmetrics()
    row, margin = ascent + descent + 4, ascent // 2
    left, right = 2 * margin + row, width - margin
    score_width = max((font.getlength(entry.score) for entry in entries), default=0)
    wrapped = [wrap(entry.sentence, font, int(right - left - score_width - margin)) for entry in entries]
    notes = wrap(note, font, right - margin) if note else []
    rows = sum(map(len, wrapped)) + len(notes)
    legend = Image.new("RGB", (width, rows * row + 2 * margin if rows else 0), "white")
    draw, y = ImageDraw.Draw(legend), margin
    for lines, entry in zip(wrapped, entries, strict=True):
        draw.rectangle((margin, y + 2, margin + row - 4, y + row - 2), fill=entry.colour, outline="black")
        draw.text((right, y), entry.score, fill="black", font=font, anchor="ra")
        for text in lines:
            draw.text((left, y), text, fill="black", font=font)
            y += row
    for text in notes:
        draw.text((margin, y), text, fill=GREY, font=font)
        y += row
    return legend


def wrap(text: str, font: ImageFont.FreeTypeFont, width: int, limit: int = MAX_LEGEND_LINES) -> list[str]:
    """Breaks text into lines of at most `width` pixels; what the last allowed line cannot hold becomes an ellipsis."""
    lines: list[str] = []
    rest = " ".join(text.split())
    while (line := rest[: _fitting(rest, font, width)]) != rest:
        if len(lines) == limit - 1:
            line = rest[: _fitting(rest, font, width - font.getlength("…"))]
            return [*lines, line + "…"]
        line = line.rsplit(" ", 1)[0]
        lines.append(line)
        rest = rest[len(line) :].lstrip()
    return [*lines, rest]


def _fitting(text: str, font: ImageFont.FreeTypeFont, width: float) -> int:
    """How many letters of the text fit into `width` pixels; at least one."""
    lengths = range(1, len(text) + 1)
    return max(1, bisect_right(lengths, width, key=lambda length: font.getlength(text[:length])))
