import numpy as np
import pytest
from PIL import Image

from modeling_evf_sam.evaluation.contact_sheet import Case, contact_sheet
from tests.miniatures import columns


def _case(width=12, height=10, caption="0.0  a cup", **masks):
    empty = np.zeros((height, width), dtype=bool)
    photo = Image.new("RGB", (width, height), (100, 100, 100))
    return Case(
        photo=photo, target=masks.get("target", empty), predicted=masks.get("predicted", empty), caption=caption
    )


def _share(sheet, colour):
    return (np.asarray(sheet) == colour).all(axis=-1).sum() / (300 * 250)


def test_what_was_found_is_tinted_and_what_was_meant_is_outlined():
    plain = contact_sheet([_case()])
    found = contact_sheet([_case(predicted=columns(0, 6))])
    meant = contact_sheet([_case(target=columns(3, 9))])
    assert _share(plain, (100, 100, 100)) == pytest.approx(1, abs=0.01)
    assert _share(found, (100, 100, 100)) == pytest.approx(0.5, abs=0.02)
    assert 0.005 < _share(meant, (0, 255, 255)) < 0.03
    assert _share(meant, (100, 100, 100)) > 0.95


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 2, 1), (2, 2, 1), (4, 4, 1), (5, 4, 2), (20, 4, 5)])
def test_cases_fill_rows_of_four(count, columns, rows):
    width, height = contact_sheet([_case()] * count).size
    assert (width, height) == (columns * 308 + 8, rows * (250 + 48) + 30)


@pytest.mark.parametrize(("size", "height"), [((1, 1000), 300), ((1000, 1), 1), ((640, 480), 225), ((1, 1), 300)])
def test_photos_of_any_shape(size, height):
    mask = np.ones(size[::-1], dtype=bool)
    assert contact_sheet([_case(*size, target=mask, predicted=mask)]).size == (624, height + 78)


def test_a_row_is_as_high_as_its_highest_photo():
    wide, high = _case(640, 320), _case(300, 600)
    assert contact_sheet([wide, high, wide, wide, wide]).height == 30 + (300 + 48) + (150 + 48)


def test_long_captions_are_cut():
    short, long = (contact_sheet([_case(caption="word " * count)]) for count in (15, 500))
    assert short.size == long.size
    assert np.asarray(long)[280:].min() == 0


def test_nothing_to_draw():
    with pytest.raises(ValueError, match="nothing to draw"):
        contact_sheet([])
