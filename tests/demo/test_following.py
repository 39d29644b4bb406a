import pytest
from PIL import Image

from modeling_evf_sam.demo import following
from modeling_evf_sam.demo.following import describe, draw_sample, figures, read_film
from modeling_evf_sam.segment_video.frame_folder import FrameFolder
from tests.film_files import squares, write_film

LIMITS = {
    "frames": ("MAX_FRAMES", 9, "is longer than 9 frames: cut a part out of it"),
    "pixels": ("MAX_FRAME_PIXELS", 96 * 64 - 1, "has 96 x 64 pixels: make it smaller"),
}


@pytest.fixture
def film(tmp_path):
    pytest.importorskip("av", reason="film files need the extra 'video'")
    return write_film(tmp_path / "cats.mp4", squares(10), fast_start=True, options={"g": "1"})


@pytest.mark.parametrize(("name", "most", "message"), LIMITS.values(), ids=LIMITS)
def test_a_film_over_a_limit_is_named_without_its_folder(film, monkeypatch, name, most, message):
    assert len(read_film(film)) == 10
    monkeypatch.setattr(following, name, most)
    with pytest.raises(ValueError, match=f"^film 'cats.mp4' {message}"):
        read_film(film)


def test_the_longest_and_largest_film_is_read(film, monkeypatch):
    monkeypatch.setattr(following, "MAX_FRAMES", 10)
    monkeypatch.setattr(following, "MAX_FRAME_PIXELS", 96 * 64)
    assert len(read_film(film)) == 10


@pytest.mark.parametrize(
    ("length", "message"),
    [
        (0, r"^'cats.mp4' is no film, or a damaged one \(.*\): give an intact film file"),
        (300, "^'cats.mp4' has no pictures, only data: give a film"),
        (1000, "^film 'cats.mp4' has no frame that can be read: give another"),
    ],
)
def test_what_is_no_film_is_told_in_a_line(film, length, message):
    film.write_bytes(film.read_bytes()[:length])
    with pytest.raises(ValueError, match=message) as error:
        read_film(film)
    assert str(film.parent) not in str(error.value)


def test_what_is_left_of_a_film_that_was_cut_short(film):
    content = film.read_bytes()
    film.write_bytes(content[: len(content) - 200])
    found = read_film(film)
    assert 0 < len(found) < 9
    first, second = describe(found).removesuffix("</p>").split("</p>")
    assert first == f"<p>cats.mp4: {len(found)} frames of 96 x 64 pixels, {len(found) / 25:.1f} s"
    assert second.startswith(f"<p>Left out: frame {len(found)} is damaged (")
    assert second.endswith("), and 1 more")


def test_names_that_look_like_html_are_text(tmp_path):
    folder = tmp_path / "<b>cats"
    folder.mkdir()
    Image.new("RGB", (9, 9)).save(folder / "0.png")
    for number in (1, 2):
        (folder / f"{number}.png").write_bytes(b"damaged")
    assert describe(read_film(folder)) == (
        "<p>&lt;b&gt;cats: 1 frames of 9 x 9 pixels, 0.0 s</p><p>Left out: frame 1 is damaged (photo "
        "&#x27;&lt;b&gt;cats/1.png&#x27; is not an image: give a file of type JPEG, PNG, WEBP, BMP, TIFF, GIF), "
        "and 1 more</p>"
    )


def test_figures_count_the_frames_on_which_an_object_is():
    rows = [
        {"object": number, "score": score, "area": area}
        for number, score, area in ((1, 0.5, 9), (1, 1.0, 3), (1, 0.9, 0), (2, 0.9, 0))
    ]
    assert list(figures(rows, ["a star", "a circle"])) == [("a star", 0.75, 2), ("a circle", None, 0)]


def test_the_drawn_film_can_be_played_everywhere(tmp_path):
    sentences = draw_sample(tmp_path / "film")
    film = FrameFolder(tmp_path / "film")
    assert len(film) == following.SAMPLE_FRAMES
    assert all(side % 2 == 0 for side in film.size)
    assert len(sentences) == following.SAMPLE_SENTENCES
