"""Pictures of results: masks over the photo, maps of indices, attention maps, and models side by side."""

import colorsys
from collections.abc import Mapping, Sequence
from itertools import chain, cycle, islice

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from modeling_evf_sam.inference.labelling import GREY, Entry, draw_labels, draw_legend, text_font, wrap
from modeling_evf_sam.inference.outlining import COLOURS, MIN_WIDTH, Colour, draw_masks, picture_size

HEAT = 0.5  # of attention over the photo
COVER = 0.6  # of a category's colour over the photo
MAX_PALETTE_INDEX = 255
GOLDEN_RATIO = 0.618  # steps of hue that never come near those before
GAP = 8  # pixels between the pictures of a table


def overlay(
    photo: Image.Image,
    masks: np.ndarray,
    sentences: Sequence[str],
    scores: Sequence[float] | None = None,
    *,
    note: str | None = None,
) -> Image.Image:
    """Draws every mask over the photo in a colour of its own, with sentence and score beside it.

    What has no room there is named in a legend below. Colours repeat after the seventh sentence. A small photo is
    enlarged until the words are readable. The letters are those of Pillow's own font: Latin ones; others appear as
    boxes.

    Args:
        photo: a photo of any mode and size (H, W).
        masks: (P, H, W) bool, at the photo's size.
        sentences: P sentences.
        scores: P scores, or None to leave them out.
        note: a remark for the last line, or None.

    Returns:
        An RGB picture: at least 512 pixels wide, the photo on top and the legend, if any, below.

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
    figures = [""] * len(sentences) if scores is None else [f"{score:.2f}" for score in scores]
    picture = draw_masks(photo.convert("RGB"), masks, colours)
    left = draw_labels(picture, masks, [Entry(*entry) for entry in zip(sentences, figures, colours, strict=True)])
    return _with_legend(picture, left, note)


def _with_legend(picture: Image.Image, entries: Sequence[Entry], note: str | None = None) -> Image.Image:
    legend = draw_legend(max(picture.width, MIN_WIDTH), entries, note)
    canvas = Image.new("RGB", (legend.width, picture.height + legend.height), "white")
    canvas.paste(picture, ((legend.width - picture.width) // 2, 0))
    canvas.paste(legend, (0, picture.height))
    return canvas


def index_picture(indices: np.ndarray) -> Image.Image:
    """A map as a picture whose pixels are its indices: in colours, or without them where there are more than 255.

    Args:
        indices: (H, W) integers from 0; 0 is black.

    Returns:
        A picture of mode P, or I;16.
    """
    if indices.max(initial=0) > MAX_PALETTE_INDEX:
        return Image.fromarray(indices.astype(np.uint16))
    picture = Image.fromarray(indices.astype(np.uint8))
    picture.putpalette([0, 0, 0, *chain.from_iterable(index_colours(MAX_PALETTE_INDEX))])
    return picture


def index_colours(count: int) -> list[Colour]:
    """Colours of the indices from 1: those of masks, and then hues that lie far from their neighbours."""
    more = (
        colorsys.hsv_to_rgb(GOLDEN_RATIO * k % 1, (0.45, 0.85)[k % 2], (0.95, 0.6)[k // 2 % 2]) for k in range(count)
    )
    return [*COLOURS, *((round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in more)][
        :count
    ]


def legend_picture(categories: Sequence[str]) -> Image.Image:
    """Draws the colours that `index_picture` gives to categories, with their names."""
    named = zip(categories, index_colours(len(categories)), strict=True)
    return draw_legend(MIN_WIDTH, [Entry(name, "", colour) for name, colour in named])


def labels_figure(photo: Image.Image, indices: np.ndarray, categories: Sequence[str]) -> Image.Image:
    """Draws a grey photo in the colours of its categories, with their names and shares of the photo below.

    Args:
        photo: a photo of any mode and size (H, W).
        indices: (H, W) integers: 0 for none of the categories, k for the k-th, counted from 1.
        categories: their names; those that are nowhere are left out.

    Returns:
        An RGB picture, at least 512 pixels wide.
    """
    size = picture_size(*photo.size)
    colours = index_colours(len(categories))
    table = np.array([(0, 0, 0), *colours], dtype=np.uint8)
    paint = Image.fromarray(table[indices]).resize(size, Image.Resampling.NEAREST)
    cover = Image.fromarray(np.where(indices > 0, round(255 * COVER), 0).astype(np.uint8))
    picture = photo.convert("RGB").convert("L").convert("RGB").resize(size, Image.Resampling.LANCZOS)
    picture.paste(paint, mask=cover.resize(size, Image.Resampling.NEAREST))
    shares = np.bincount(indices.ravel(), minlength=len(categories) + 1)[1:] / indices.size
    named = zip(categories, shares, colours, strict=True)
    return _with_legend(picture, [Entry(name, f"{share:.1%}", colour) for name, share, colour in named if share])


def comparison(
    photo: Image.Image,
    sentences: Sequence[str],
    masks: Mapping[str, np.ndarray],
    scores: Mapping[str, Sequence[float]],
) -> Image.Image:
    """Draws what several models find for the same sentences (paper, Figs. 6 and 7).

    Args:
        photo: a photo of any mode and size (H, W).
        sentences: P sentences, one row each.
        masks: for each model, one column with its name above: (P, H, W) bool, at the photo's size.
        scores: for each model P scores, which stand below its pictures.

    Returns:
        An RGB picture.
    """
    photo = photo.convert("RGB")
    rows = [
        [draw_masks(photo, own[row : row + 1], COLOURS[:1]) for own in masks.values()] for row in range(len(sentences))
    ]
    notes = [[f"score {scores[name][row]:.2f}" for name in masks] for row in range(len(sentences))]
    return _table(list(masks), sentences, rows, notes)


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
    size = picture_size(*photo.size)
    strength = np.interp(attention, (attention.min(), attention.max()), (0, 255)).astype(np.uint8)
    heat = Image.fromarray(strength).resize(size, Image.Resampling.BICUBIC)
    colours = ImageOps.colorize(heat, black="navy", mid="yellow", white="red")
    return Image.blend(photo.convert("RGB").resize(size, Image.Resampling.LANCZOS), colours, HEAT)


def _table(
    titles: Sequence[str],
    captions: Sequence[str],
    rows: Sequence[Sequence[Image.Image]],
    notes: Sequence[Sequence[str]] | None = None,
) -> Image.Image:
    """Pictures of one size in rows, each row below its caption, in columns with titles; with a note below each."""
    width, height = rows[0][0].size
    font = text_font(width)
    line = sum(font.getmetrics()) + GAP
    step, below = width + GAP, line if notes else GAP
    canvas = Image.new("RGB", (len(titles) * step + GAP, line + len(rows) * (line + height + below)), "white")
    for column, title in enumerate(titles):
        _write(canvas, (GAP + column * step + width / 2, GAP / 2), title, font, width, anchor="ma")
    for row, (caption, pictures) in enumerate(zip(captions, rows, strict=True)):
        top = line + row * (line + height + below)
        _write(canvas, (GAP, top + GAP / 2), caption, font, canvas.width - 2 * GAP)
        for column, picture in enumerate(pictures):
            canvas.paste(picture, (GAP + column * step, top + line))
            note = notes[row][column] if notes else ""
            place = (GAP + column * step + width / 2, top + line + height + GAP / 2)
            _write(canvas, place, note, font, width, fill=GREY, anchor="ma")
    return canvas


def _write(
    canvas: Image.Image,
    place: tuple[float, float],
    text: str,
    font: ImageFont.FreeTypeFont,
    width: int,
    *,
    fill: str | tuple[int, int, int] = "black",
    anchor: str = "la",
) -> None:
    """A single line of at most `width` pixels."""
    ImageDraw.Draw(canvas).text(place, wrap(text, font, width, limit=1)[0], fill=fill, font=font, anchor=anchor)
