import numpy as np
import pytest
from PIL import Image

from modeling_evf_sam.inference.outlining import COLOURS, TINT, draw_masks


def _drawn(masks, shade=0):
    height, width = masks[0].shape
    photo = Image.new("RGB", (width, height), (shade, shade, shade))
    return np.asarray(draw_masks(photo, np.stack(masks), COLOURS[: len(masks)])).astype(int)


def _square(left, right, side=600):
    mask = np.zeros((side, side), dtype=bool)
    mask[left:right, left:right] = True
    return mask


def _pure(picture, colour):
    return (np.abs(picture - colour) <= 3).all(axis=-1)


def test_the_photo_shows_through_the_mask_and_stays_as_it_is_elsewhere():
    picture = _drawn([_square(200, 400)], shade=100)
    assert np.abs(picture[300, 300] - 100).max() <= TINT * 130 + 1
    assert (picture[300, 300] != 100).any()
    outside = np.ones((600, 600), dtype=bool)
    outside[190:410, 190:410] = False
    assert (picture[outside] == 100).all()


def test_the_outline_lies_around_the_mask():
    line = _pure(_drawn([_square(200, 400)], shade=100), COLOURS[0])
    assert line[195:201, 300].any() and line[399:405, 300].any()
    assert not line[202:398, 202:398].any()


@pytest.mark.parametrize("side", [60, 600])
def test_a_single_pixel_can_be_seen(side):
    mask = np.zeros((side, side), dtype=bool)
    mask[side // 2, side // 2] = True
    assert (_drawn([mask]).max(axis=-1) > 100).any()


@pytest.mark.parametrize("count", [2, 3, 7])
def test_masks_in_the_same_place_are_all_to_be_seen(count):
    picture = _drawn([_square(200, 400)] * count)
    for colour in COLOURS[:count]:
        assert _pure(picture, colour).any()


def test_a_mask_within_another_keeps_its_outline():
    picture = _drawn([_square(250, 350), _square(100, 500)])
    assert _pure(picture, COLOURS[0])[245:251, 300].any()
    picture = _drawn([_square(100, 500), _square(250, 350)])
    assert _pure(picture, COLOURS[0])[94:101, 300].any()
    assert _pure(picture, COLOURS[1])[245:251, 300].any()
