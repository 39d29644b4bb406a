import numpy as np
import pytest
from PIL import Image

from modeling_evf_sam.demo.marks import BESIDE, LINE, MAX_POINTS, ON, Marks, draw_marks, to_photo, view_of, view_size


def test_clicks_become_the_prompts_of_every_sentence():
    marks = Marks().click((3, 4), "on").click((5, 6), "beside").click((9, 2), "box").click((1, 8), "box")
    assert marks.prompts(2) == {
        "points": [[[3, 4], [5, 6]]] * 2,
        "point_labels": [[1, 0]] * 2,
        "boxes": [[1, 2, 9, 8]] * 2,
    }
    assert Marks().prompts(2) == {}


def test_a_third_corner_starts_a_new_box():
    marks = Marks().click((9, 2), "box").click((1, 8), "box").click((4, 4), "box")
    assert marks.corners == ((4, 4),)
    assert marks.box is None


@pytest.mark.parametrize(
    ("clicks", "message"),
    [
        ([((3, 4), "box"), ((3, 9), "box")], "no area"),
        ([((3, 4), "box"), ((9, 4), "box")], "no area"),
        ([((3, 4), "on")] * (MAX_POINTS + 1), "20 points already"),
    ],
)
def test_a_click_too_much_is_refused(clicks, message):
    marks = Marks()
    with pytest.raises(ValueError, match=message):
        for point, kind in clicks:
            marks = marks.click(point, kind)


def test_half_a_box_is_no_prompt():
    with pytest.raises(ValueError, match="one corner"):
        Marks().click((3, 4), "box").prompts(1)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((160, 120), (640, 480)), ((900, 700), (900, 700)), ((5000, 2500), (1280, 640)), ((1, 9000), (1, 1280))],
)
def test_view_sizes(size, expected):
    photo = Image.new("RGB", size)
    assert view_size(photo) == expected
    assert view_of(photo).size == expected


@pytest.mark.parametrize("size", [(160, 120), (900, 700), (5000, 2500)])
def test_a_mark_is_drawn_where_it_was_clicked(size):
    photo = Image.new("RGB", size, "white")
    width, height = view_size(photo)
    pixel = (width // 3, height // 4)
    point = to_photo(pixel, photo)
    assert 0 <= point[0] <= size[0]
    assert 0 <= point[1] <= size[1]
    for kind, colour in (("on", ON), ("beside", BESIDE), ("box", LINE)):
        marks = Marks().click(point, kind)
        drawn = np.asarray(draw_marks(photo, marks, view_of(photo)))
        rows, columns = (drawn == colour).all(axis=-1).nonzero()
        assert abs(columns.mean() - pixel[0]) < 2, kind
        assert abs(rows.mean() - pixel[1]) < 2, kind


def test_the_last_pixel_is_inside_the_photo():
    photo = Image.new("RGB", (160, 120))
    assert to_photo((639, 479), photo) == (159.875, 119.875)
