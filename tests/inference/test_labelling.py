import numpy as np
import pytest
from PIL import Image

from modeling_evf_sam.inference.labelling import MAX_LEGEND_LINES, Entry, draw_labels, draw_legend
from modeling_evf_sam.inference.outlining import COLOURS


def _mask(top, bottom, left, right, height=400, width=600):
    mask = np.zeros((height, width), dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def _entries(*sentences):
    return [Entry(sentence, "0.50", colour) for sentence, colour in zip(sentences, COLOURS, strict=False)]


@pytest.mark.parametrize(
    ("masks", "sentences", "left"),
    [
        ([_mask(150, 250, 200, 400)], ["a"], []),
        ([_mask(0, 1, 0, 1)], ["a"], []),
        ([_mask(399, 400, 599, 600)], ["a"], []),
        ([_mask(0, 400, 200, 400)], ["a"], []),  # at its side
        ([_mask(150, 250, 200, 400)] * 3, ["a", "b", "c"], []),
        ([_mask(0, 400, 0, 600)], ["a"], ["a"]),
        ([_mask(0, 0, 0, 0)], ["a"], ["a"]),
        ([_mask(150, 250, 200, 400)], ["word " * 40], ["word " * 40]),
        ([_mask(0, 180, 0, 600), _mask(200, 400, 0, 600)], ["a", "b"], ["a", "b"]),
    ],
)
def test_labels_where_there_is_room(masks, sentences, left):
    picture = Image.new("RGB", (600, 400), "white")
    assert [entry.sentence for entry in draw_labels(picture, np.stack(masks), _entries(*sentences))] == left
    drawn = (np.asarray(picture) != 255).any(axis=-1)
    assert drawn.any() == (len(left) < len(sentences))
    assert not (drawn & np.any(masks, axis=0)).any()


def test_labels_on_an_enlarged_photo_stand_at_their_object():
    picture = Image.new("RGB", (600, 400), "white")
    assert draw_labels(picture, _mask(20, 22, 50, 52, height=40, width=60)[None], _entries("it")) == []
    rows, columns = (np.asarray(picture) != 255).any(axis=-1).nonzero()
    assert abs(columns.mean() - 510) < 10
    assert 150 < rows.min() and rows.max() < 200


@pytest.mark.parametrize(
    "sentence", ["a long sentence " * 100, "word" * 300, "短い文", "right to left: \u202eabc", "tab\tand\nline"]
)
def test_any_sentence_fits_the_legend(sentence):
    row = draw_legend(600, _entries("x")).height
    legend = draw_legend(600, _entries(sentence))
    assert legend.height <= MAX_LEGEND_LINES * row
    assert (np.asarray(legend)[:, -2:] == 255).all()  # nothing runs off the right edge


def test_a_legend_has_a_row_for_each_entry_and_for_the_note():
    heights = [draw_legend(600, _entries(*names)).height for names in ((), ("a",), ("a", "b"), ("a", "b", "c"))]
    assert heights[0] == 0
    assert heights[2] - heights[1] == heights[3] - heights[2] > 0
    assert draw_legend(600, _entries("a"), "a remark").height == heights[2]
