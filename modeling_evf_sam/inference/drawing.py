"""Pictures of results: coloured masks over the photo, attention maps, and models side by side."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import cycle, islice

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

# Okabe and Ito's palette without black, "Color Universal Design" (2008): told apart with any colour vision.
COLOURS = ((230, 159, 0), (86, 180, 233), (204, 121, 167), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0))
TINT = 0.5
MIN_WIDTH, MAX_ENLARGED_HEIGHT = 512, 2048  # pixels of the picture above the legend
MAX_LEGEND_LINES = 3  # of one sentence
GAP = 8  # pixels between the pictures of a table


def overlay(
    photo: Image.Image, masks: np.ndarray, sentences: Sequence[str], scores: Sequence[float] | None = None
) -> Image.Image:
    """Draws every mask over the photo in a colour of its own, and names the colours in a legend below.

    Colours repeat after the seventh sentence. A small photo is enlarged until the legend is readable. The letters
    are those of Pillow's own font: Latin ones; others appear as boxes.

    Args:
        photo: a photo of any mode and size (H, W).
        masks: (P, H, W) bool, at the photo's size.
        sentences: P sentences.
        scores: P scores, or None to leave them out.

    Returns:
        An RGB picture: at least 512 pixels wide, the masked photo on top and P legend entries below.

    Raises:
        ValueError: masks that do not fit the photo, or different numbers of masks, sentences and scores.
    """
    masks = np.asarray(masks, dtype=bool)
    expected = (len(sentences), photo.height, photo.width)
    if masks.shape != expected:
        raise ValueError(f"masks have the shape {masks.shape}; {expected} fits the sentences and the photo")
    if scores is not None and len(scores) != len(sentences):
        raise ValueError(f"{len(scores)} scores for {len(sentences)} sentences; give one of each")
    colours = list(islice(cycle(COLOURS), len(sentences)))
    picture = draw_masks(photo.convert("RGB"), masks, colours)
    legend = _draw_legend(max(picture.width, MIN_WIDTH), sentences, scores, colours)
    canvas = Image.new("RGB", (legend.width, picture.height + legend.height), "white")
    canvas.paste(picture, ((legend.width - picture.width) // 2, 0))
    canvas.paste(legend, (0, picture.height))
    return canvas


def comparison(photo: Image.Image, sentences: Sequence[str], masks: Mapping[str, np.ndarray]) -> Image.Image:
    """Draws what several models find for the same sentences (paper, Figs. 6 and 7).

    Args:
        photo: a photo of any mode and size (H, W).
        sentences: P sentences, one row each.
        masks: for each model, one column with its name above: (P, H, W) bool, at the photo's size.

    Returns:
        An RGB picture.
    """
    photo = photo.convert("RGB")
    rows = [
        [draw_masks(photo, own[row : row + 1], COLOURS[:1]) for own in masks.values()] for row in range(len(sentences))
    ]
    return _table(list(masks), sentences, rows)


def attention_figure(
    photo: Image.Image, sentences: Sequence[str], attention: np.ndarray, masks: np.ndarray
) -> Image.Image:
    """Draws where the encoder looks beside what it led to (paper, Fig. 5).

    Args:
        photo: a photo of any mode and size (H, W).
        sentences: P sentences, one row each.
        attention: (P, g, g), as `attention_maps.attention_maps` returns for one photo.
        masks: (P, H, W) bool, at the photo's size.

    Returns:
        An RGB picture.
    """
    photo = photo.convert("RGB")
    rows = [
        [attention_overlay(photo, own), draw_masks(photo, mask[None], COLOURS[:1])]
        for own, mask in zip(attention, masks, strict=True)
    ]
    return _table(["attention", "mask"], sentences, rows)


def attention_overlay(photo: Image.Image, attention: np.ndarray) -> Image.Image:
    """Colours a photo by attention, from blue (the least) over yellow to red (the most).

    Args:
        photo: a photo of any mode and size.
        attention: (g, g) weights of the patches of the photo, which was stretched to a square.

    Returns:
        An RGB picture, at least 512 pixels wide.
    """
    size = _picture_size(*photo.size)
    strength = np.interp(attention, (attention.min(), attention.max()), (0, 255)).astype(np.uint8)
    heat = Image.fromarray(strength).resize(size, Image.Resampling.BICUBIC)
    colours = ImageOps.colorize(heat, black="navy", mid="yellow", white="red")
    return Image.blend(photo.convert("RGB").resize(size, Image.Resampling.LANCZOS), colours, TINT)


def _table(titles: Sequence[str], captions: Sequence[str], rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Pictures of one size in rows, each below its caption, in columns with titles."""
    width, height = rows[0][0].size
    font = ImageFont.load_default(max(16, width // 28))
    assert isinstance(font, ImageFont.FreeTypeFont)
    line = sum(font.getmetrics()) + GAP
    step = width + GAP
    canvas = Image.new("RGB", (len(titles) * step + GAP, line + len(rows) * (line + height + GAP)), "white")
    draw = ImageDraw.Draw(canvas)
    for column, title in enumerate(titles):
        text = _wrap(title, font, width, limit=1)[0]
        draw.text((GAP + column * step + width / 2, GAP / 2), text, fill="black", font=font, anchor="ma")
    for row, (caption, pictures) in enumerate(zip(captions, rows, strict=True)):
        top = line + row * (line + height + GAP)
        text = _wrap(caption, font, canvas.width - 2 * GAP, limit=1)[0]
        draw.text((GAP, top + GAP / 2), text, fill="black", font=font)
        for column, picture in enumerate(pictures):
            canvas.paste(picture, (GAP + column * step, top + line))
    return canvas


def draw_masks(photo: Image.Image, masks: np.ndarray, colours: Sequence[tuple[int, int, int]]) -> Image.Image:
    """Draws masks (P, H, W) over an RGB photo, each in its colour with an outline; a small photo is enlarged."""
    size = _picture_size(*photo.size)
    picture = photo.resize(size, Image.Resampling.LANCZOS)
    line = max(1, round(min(size) / 180))
    for mask, colour in zip(masks, colours, strict=True):
        area = Image.fromarray(mask).convert("L").resize(size, Image.Resampling.BILINEAR).point(_binary)
        tint = area.point(lambda value: round(value * TINT))
        picture.paste(colour, mask=tint)
        # A dark line inside a coloured one stays visible on photos of the mask's own colour.
        inner = _shrink(area, line)
        picture.paste("black", mask=_difference(inner, _shrink(inner, line)))
        picture.paste(colour, mask=_difference(area, inner))
    return picture


def _picture_size(width: int, height: int) -> tuple[int, int]:
    scale = max(1.0, min(MIN_WIDTH / width, MAX_ENLARGED_HEIGHT / height))
    return round(width * scale), round(height * scale)


def _binary(value: int) -> int:
    return 255 if value >= 128 else 0


def _shrink(area: Image.Image, pixels: int) -> Image.Image:
    return area.filter(ImageFilter.BoxBlur(pixels)).point(lambda value: 255 if value == 255 else 0)


def _difference(area: Image.Image, inner: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(area) - np.asarray(inner))  # inner lies within area


def _draw_legend(
    width: int, sentences: Sequence[str], scores: Sequence[float] | None, colours: Sequence[tuple[int, int, int]]
) -> Image.Image:
    font = ImageFont.load_default(max(16, width // 40))
    assert isinstance(font, ImageFont.FreeTypeFont)  # a Pillow without FreeType has no letters of this size
    ascent, descent = font.getmetrics()
    row, margin = ascent + descent + 4, ascent // 2
    figures = [""] * len(sentences) if scores is None else [f"{score:.2f}" for score in scores]
    left, right = 2 * margin + row, width - margin
    text_width = int(right - left - max(map(font.getlength, figures), default=0) - margin)
    wrapped = [_wrap(sentence, font, text_width) for sentence in sentences]
    legend = Image.new("RGB", (width, sum(map(len, wrapped)) * row + 2 * margin), "white")
    draw = ImageDraw.Draw(legend)
    y = margin
    for lines, figure, colour in zip(wrapped, figures, colours, strict=True):
        draw.rectangle((margin, y + 2, margin + row - 4, y + row - 2), fill=colour, outline="black")
        draw.text((right, y), figure, fill="black", font=font, anchor="ra")
        for text in lines:
            draw.text((left, y), text, fill="black", font=font)
            y += row
    return legend


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: int, limit: int = MAX_LEGEND_LINES) -> list[str]:
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
