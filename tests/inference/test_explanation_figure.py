import numpy as np
import pytest
from PIL import Image

from modeling_evf_sam.inference.explanation_figure import GAP, SHADE, WHOLE, WITHOUT, explanation_figure
from tests.miniatures import HEIGHT, WIDTH, columns

SIZE = (512, 427)  # of a tile: the photo below, enlarged


def _figure(*masks_without, words=None, weights=None, size=(WIDTH, HEIGHT), mask=None, **more):
    words = words or [f"word{number}" for number in range(len(masks_without))]
    weights = np.zeros(len(words)) if weights is None else np.array(weights)
    mask = columns(0, 4) if mask is None else mask
    return explanation_figure(
        Image.new("RGB", size, (90, 90, 90)), words, mask, np.stack(masks_without), weights, **more
    )


def _where(picture, colour):
    """Rows and columns of a colour, to a few levels: outlines are drawn with soft edges."""
    return np.nonzero((np.abs(np.asarray(picture).astype(int) - colour) < 12).all(axis=-1))


@pytest.mark.parametrize(("count", "tiles", "rows"), [(1, 2, 1), (2, 2, 2), (3, 2, 2), (8, 3, 3), (20, 4, 6)])
def test_tiles_fill_a_square_of_at_most_four_columns(count, tiles, rows):
    picture = _figure(*[columns(0, 0)] * count)
    assert picture.width == tiles * (SIZE[0] + GAP) + GAP
    assert rows * SIZE[1] < picture.height < rows * (SIZE[1] + 60) + 120


def test_the_whole_mask_comes_first_and_then_that_without_each_word():
    picture = _figure(columns(8, 12), columns(0, 0))
    whole, without = (_where(picture, colour) for colour in (WHOLE, WITHOUT))
    assert 0 < whole[1].max() < SIZE[0] / 2
    assert SIZE[0] * 1.5 < without[1].min()
    assert without[0].max() < picture.height / 2


@pytest.mark.parametrize("weight", [0.25, 1])
def test_words_are_shaded_by_weight(weight):
    empty = columns(0, 0)
    ground = tuple(round(255 + weight * (part - 255)) for part in SHADE)
    first, second = (np.asarray(_figure(empty, empty, weights=weights))[:60] for weights in ([weight, 0], [0, weight]))
    places = [np.nonzero((header == ground).all(axis=-1))[1] for header in (first, second)]
    assert min(map(len, places)) > 1000
    assert places[0].max() < places[1].min()


def test_long_sentences_take_more_lines_and_long_words_are_cut():
    empty = columns(0, 0)
    few = _figure(*[empty] * 20)
    many = _figure(*[empty] * 20, words=["considerably"] * 20)
    endless = _figure(empty, words=["w" * 500])
    assert (many.width, many.height > few.height) == (few.width, True)
    assert endless.size == _figure(empty).size


def test_a_large_photo_gives_small_tiles():
    size = (3000, 1500)
    mask = np.zeros(size[::-1], dtype=bool)
    mask[:, :1500] = True
    picture = _figure(mask, size=size, mask=mask)
    assert picture.width == 2 * (512 + GAP) + GAP
    assert _where(picture, WHOLE)[1].mean() == pytest.approx(GAP + 256, abs=8)


@pytest.mark.parametrize(("size", "side"), [((1, 1), 512), ((20, 4000), 12), ((4000, 20), 512)])
def test_photos_of_any_shape(size, side):
    mask = np.ones(size[::-1], dtype=bool)
    assert _figure(mask, size=size, mask=mask).width == 2 * (side + GAP) + GAP
