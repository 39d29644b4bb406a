from contextlib import nullcontext

import numpy as np
import pytest
from PIL import Image

from modeling_evf_sam.inference.drawing import (
    COLOURS,
    MAX_LEGEND_LINES,
    attention_figure,
    attention_overlay,
    comparison,
    overlay,
)


def _photo(width=600, height=400, mode="RGB"):
    return Image.new(mode, (width, height))


def _masks(count, width=600, height=400):
    """Vertical stripes, side by side, in the left half of the photo."""
    columns = np.arange(width) * 2 * count // width
    return np.stack([np.broadcast_to(columns == i, (height, width)) for i in range(count)])


def test_each_mask_is_tinted_in_the_colour_of_its_legend():
    picture = np.asarray(overlay(_photo(), _masks(2), ["left", "right"], [0.9, 0.1]))
    for column, colour in ((75, COLOURS[0]), (225, COLOURS[1])):
        assert np.allclose(picture[200, column], np.array(colour) / 2, atol=2)  # half over black
        assert (picture[400:] == colour).all(axis=-1).any()
    assert (picture[:400, 310:] == 0).all()
    assert (picture[200, 149] == COLOURS[0]).all()  # the contour is not blended


@pytest.mark.parametrize(
    ("size", "picture_size"),
    [
        ((600, 400), (600, 400)),
        ((512, 10), (512, 10)),
        ((128, 96), (512, 384)),
        ((1, 3000), (512, 3000)),
        ((2, 512), (512, 2048)),
        ((1, 1), (512, 512)),
        ((3000, 1), (3000, 1)),
    ],
)
def test_small_photos_are_enlarged_but_never_without_bounds(size, picture_size):
    picture = overlay(_photo(*size), np.ones((1, size[1], size[0]), bool), ["it"])
    assert picture.width == picture_size[0]
    assert 0 < picture.height - picture_size[1] < 200  # the legend


@pytest.mark.parametrize(
    "sentence", ["a long sentence " * 100, "word" * 300, "短い文", "right to left: \u202eabc", "tab\tand\nline"]
)
def test_any_sentence_fits_the_legend(sentence):
    row = overlay(_photo(), _masks(1), ["x"]).height - 400
    picture = overlay(_photo(), _masks(1), [sentence], [1.0])
    assert picture.height - 400 <= MAX_LEGEND_LINES * row
    assert (np.asarray(picture)[400:, -2:] == 255).all()  # nothing runs off the right edge


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK"])
def test_photos_of_any_mode(mode):
    assert overlay(_photo(mode=mode), _masks(1), ["it"]).mode == "RGB"


@pytest.mark.parametrize(
    ("masks", "sentences", "scores", "expected"),
    [
        (_masks(9), ["it"] * 9, None, nullcontext()),
        (_masks(2), ["it"], None, pytest.raises(ValueError, match=r"\(2, 400, 600\); \(1, 400, 600\) fits")),
        (_masks(1, 400, 600), ["it"], None, pytest.raises(ValueError, match=r"\(1, 600, 400\)")),
        (_masks(1)[0], ["it"], None, pytest.raises(ValueError, match="masks have the shape")),
        (_masks(1), ["it"], [1.0, 2.0], pytest.raises(ValueError, match="2 scores for 1 sentences")),
    ],
)
def test_checks(masks, sentences, scores, expected):
    with expected:
        overlay(_photo(), masks, sentences, scores)


def test_attention_is_red_where_it_is_strong_and_blue_where_it_is_weak():
    attention = np.zeros((4, 4))
    attention[0, 3] = 2.0
    picture = np.asarray(attention_overlay(_photo(), attention)).astype(int)
    strong, weak = picture[20, 580], picture[380, 20]
    assert strong[0] > 100 and strong[2] < 20
    assert weak[2] > 50 and weak[0] < 20


def test_attention_that_is_the_same_everywhere():
    assert attention_overlay(_photo(), np.full((4, 4), 0.25)).size == (600, 400)


def test_a_comparison_has_a_column_for_each_model_and_a_row_for_each_sentence():
    masks = _masks(2)
    picture = comparison(_photo(), ["left", "right " * 100], {"one": masks, "two": masks[::-1]})
    assert picture.width == 2 * 600 + 3 * 8
    cells = np.asarray(picture)[:, 8:1216]
    coloured = (np.abs(cells.astype(int) - np.array(COLOURS[0]) // 2) <= 2).all(-1)  # half over black
    rows = coloured[:, :600].any(1), coloured[:, 608:].any(1)
    assert all(row.sum() == 2 * 400 for row in rows)
    first, second = np.flatnonzero(rows[0])[[100, 600]]
    assert coloured[first, 70] and not coloured[first, 608 + 70]  # the other model has the masks the other way round
    assert coloured[second, 608 + 70] and not coloured[second, 70]


def test_an_attention_figure_shows_map_and_mask():
    picture = attention_figure(_photo(), ["left", "right"], np.random.default_rng(0).random((2, 4, 4)), _masks(2))
    assert picture.width == 2 * 600 + 3 * 8
    assert picture.height > 2 * 400
