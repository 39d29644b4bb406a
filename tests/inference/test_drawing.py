from contextlib import nullcontext

import numpy as np
import pytest
from PIL import Image

from modeling_evf_sam.inference.drawing import (
    attention_figure,
    attention_overlay,
    comparison,
    index_colours,
    index_picture,
    labels_figure,
    overlay,
)
from modeling_evf_sam.inference.outlining import COLOURS


def _photo(width=600, height=400, mode="RGB"):
    return Image.new(mode, (width, height))


def _masks(count, width=600, height=400):
    """Vertical stripes, side by side, in the left half of the photo."""
    columns = np.arange(width) * 2 * count // width
    return np.stack([np.broadcast_to(columns == i, (height, width)) for i in range(count)])


def _has(picture, colour):
    return (np.asarray(picture) == colour).all(axis=-1).any()


def test_labels_stand_at_the_objects_and_the_rest_in_the_legend():
    masks = np.zeros((2, 400, 600), dtype=bool)
    masks[0, 150:250, 250:350] = True
    masks[1] = ~masks[0]  # leaves no room for any label
    picture = overlay(_photo(), masks[:1], ["the middle"], [0.9])
    assert picture.size == (600, 400)
    assert _has(picture, COLOURS[0])
    picture = overlay(_photo(), masks, ["the middle", "the rest"], [0.9, 0.1])
    legend = picture.crop((0, 400, 600, picture.height))
    assert _has(legend, COLOURS[0]) and _has(legend, COLOURS[1])


def test_a_note_is_the_last_line():
    plain, noted = (overlay(_photo(), _masks(1), ["it"], note=note) for note in (None, "a remark"))
    assert noted.height > plain.height
    last = np.asarray(noted)[-20:].astype(int)
    assert (last < 200).any()
    assert noted.crop((0, 0, 600, plain.height)).tobytes() == plain.tobytes()


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
    picture = overlay(_photo(*size), np.ones((1, size[1], size[0]), bool), ["it"])  # no room for a label
    assert picture.width == picture_size[0]
    assert 0 < picture.height - picture_size[1] < 200  # the legend


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK"])
def test_photos_of_any_mode(mode):
    assert overlay(_photo(mode=mode), _masks(1), ["it"]).mode == "RGB"


@pytest.mark.parametrize(
    ("masks", "sentences", "scores", "expected"),
    [
        (_masks(9), ["it"] * 9, None, nullcontext()),
        (np.zeros((0, 400, 600)), [], [], nullcontext()),
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
    masks, scores = _masks(2), {"one": [0.5, 0.6], "two": [0.7, 0.8]}
    picture = comparison(_photo(), ["left", "right " * 100], {"one": masks, "two": masks[::-1]}, scores)
    assert picture.width == 2 * 600 + 3 * 8
    cells = np.asarray(picture)[:, 8:1216].astype(int)
    tinted = cells.sum(axis=-1).astype(bool) & (cells < 60).all(axis=-1)  # lightly, over black
    left, right = tinted[:, 70], tinted[:, 608 + 70]  # in the left stripe of both columns
    assert left.sum() > 350 and right.sum() > 350
    assert not (left & right).any()  # the other model has the masks the other way round


def test_a_comparison_shows_the_scores():
    pictures = [comparison(_photo(), ["it"], {"one": _masks(1)}, {"one": [score]}) for score in (0.25, 0.75)]
    different = np.flatnonzero((np.asarray(pictures[0]) != np.asarray(pictures[1])).any(axis=(1, 2)))
    assert different.min() > 400  # below the picture


def test_an_attention_figure_shows_map_and_mask():
    picture = attention_figure(_photo(), ["left", "right"], np.random.default_rng(0).random((2, 4, 4)), _masks(2))
    assert picture.width == 2 * 600 + 3 * 8
    assert picture.height > 2 * 400


def test_indices_have_colours_of_their_own():
    assert index_colours(3) == list(COLOURS[:3])
    assert len(set(index_colours(60))) == 60
    picture = index_picture(np.array([[0, 1, 255]]))
    assert [picture.convert("RGB").getpixel((x, 0)) for x in range(2)] == [(0, 0, 0), COLOURS[0]]


def test_a_map_is_drawn_over_grey_with_a_legend_of_what_is_there():
    photo = Image.new("RGB", (600, 400), (255, 0, 0))
    indices = np.zeros((400, 600), dtype=int)
    indices[:, 300:] = 3
    picture = labels_figure(photo, indices, ["sky", "road", "a car"])
    background, car = picture.getpixel((10, 10)), np.array(picture.getpixel((500, 10)))
    assert len(set(background)) == 1
    assert np.abs(car - (0.6 * np.array(COLOURS[2]) + 0.4 * background[0])).max() < 2
    legend = picture.crop((0, 400, 600, picture.height))
    assert _has(legend, COLOURS[2]) and not _has(legend, COLOURS[0])
    assert labels_figure(photo, indices * 0, ["sky"]).size == (600, 400)
