"""Masks over a photo: a thin outline and a light tint for each, that leave the photo's own colours to be seen."""

from collections.abc import Iterator, Sequence
from statistics import NormalDist

import numpy as np
from PIL import Image, ImageChops, ImageFilter

# Okabe and Ito's palette without black, "Color Universal Design" (2008): told apart with any colour vision.
COLOURS = ((230, 159, 0), (86, 180, 233), (204, 121, 167), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0))
MIN_WIDTH, MAX_ENLARGED_HEIGHT = 512, 2048  # pixels of a picture
TINT = 0.1
CASING = (0, 0, 0)  # beside the outline, so that it stands out from a photo of its own colour
CASING_STRENGTH = 0.55
SMOOTHED_PIXELS = 4_000_000  # pictures up to this size are drawn twice as large and shrunk

Colour = tuple[int, int, int]


def draw_masks(photo: Image.Image, masks: np.ndarray, colours: Sequence[Colour]) -> Image.Image:
    """Draws masks over a photo; where several overlap, their colours take turns in stripes.

    Args:
        photo: RGB, of size (H, W); a small one is enlarged.
        masks: (P, H, W) bool.
        colours: P colours.

    Returns:
        An RGB picture of `picture_size`.
    """
    size = picture_size(*photo.size)
    scale = 2 if size[0] * size[1] <= SMOOTHED_PIXELS else 1
    drawn_size = (scale * size[0], scale * size[1])
    line = scale * max(2.0, min(size) / 240)
    slope = max(line, 0.6 * drawn_size[0] / photo.width)  # wide enough to round the steps of enlarged pixels
    softened = [_soften(mask, drawn_size, slope) for mask in masks]
    tables = _tables(slope, line, scale)
    layer = Image.new("RGBA", drawn_size)
    for soft in softened:
        _add(layer, CASING, soft.point(tables["casing"]))
    for name in ("tint", "line"):
        strengths = [np.asarray(soft.point(tables[name])) for soft in softened]
        for share, colour in zip(_striped(strengths, round(4 * line)), colours, strict=True):
            _add(layer, colour, Image.fromarray(share))
    picture = photo.resize(size, Image.Resampling.LANCZOS)
    layer = layer.resize(size, Image.Resampling.BOX)
    picture.paste(layer, mask=layer)
    return picture


def _add(layer: Image.Image, colour: Colour, strength: Image.Image) -> None:
    """Lays a colour over an RGBA layer."""
    paint = Image.new("RGBA", layer.size, colour)
    paint.putalpha(strength)
    layer.alpha_composite(paint)


def picture_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) of the picture of a photo: at least 512 pixels wide, unless that makes it too high."""
    scale = max(1.0, min(MIN_WIDTH / width, MAX_ENLARGED_HEIGHT / height))
    return round(width * scale), round(height * scale)


def _soften(mask: np.ndarray, size: tuple[int, int], slope: float) -> Image.Image:
    """A mask at another size, whose edge has become a slope; what is too thin for that belongs to the outline."""
    area = Image.fromarray(mask).convert("L").resize(size, Image.Resampling.BICUBIC)
    kept = area.point(lambda value: round(0.45 * value))
    return ImageChops.lighter(area.filter(ImageFilter.GaussianBlur(slope)), kept)


def _tables(slope: float, line: float, scale: int) -> dict[str, list[int]]:
    """For each value of a softened mask, how strong tint, outline and casing are there.

    A value says how far away the edge is. The outline lies around the mask, and hides nothing of it.
    """
    values = [(value + 0.5) / 256 for value in range(256)]
    outside = [-slope * NormalDist().inv_cdf(value) for value in values]  # pixels, negative within the mask

    def band(start: float, end: float, strength: float) -> list[int]:
        inner = [min(distance - start, end - distance) for distance in outside]
        return [round(255 * strength * min(max(0.5 + depth, 0), 1)) for depth in inner]

    return {
        "casing": band(-scale, line + scale, CASING_STRENGTH),
        "tint": band(-np.inf, 0, TINT),
        "line": band(0, line, 1),
    }


def _striped(strengths: Sequence[np.ndarray], width: int) -> Iterator[np.ndarray]:
    """Strengths (h, w) of which, where several are above zero, each is left in diagonal stripes of its own."""
    covers = [strength > 0 for strength in strengths]
    counts = np.maximum(sum(covers, start=np.zeros((1, 1), dtype=np.uint16)), 1)
    rows, columns = (np.arange(side, dtype=np.uint16) for side in counts.shape)
    turn = (rows[:, None] + columns) // width % counts
    before = np.zeros_like(counts)
    for strength, cover in zip(strengths, covers, strict=True):
        yield np.where(turn == before, strength, 0)
        before += cover
