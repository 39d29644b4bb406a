import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

av = pytest.importorskip("av", reason="film files need the extra 'video'")
from modeling_evf_sam.inference.outlining import COLOURS  # noqa: E402
from modeling_evf_sam.segment_video import overlay  # noqa: E402
from modeling_evf_sam.segment_video.film_file import FilmFile  # noqa: E402
from tests.film_files import CLOCKWISE, squares, write_film  # noqa: E402

FILMS = {  # name: how it is written
    "even.mp4": {},
    "odd.mp4": {"pixels": "yuv444p", "size": (97, 63)},
    "uneven.mkv": {"times": [0, 4, 5, 30, 31, 100]},
    "late.mp4": {"times": [50, 54, 58, 62, 66, 70]},
    "phone.mp4": {"matrix": CLOCKWISE, "options": {"x264-params": "sar=4/3"}},
    "animation.gif": {"codec": "gif", "pixels": "rgb8"},
}


@pytest.fixture(params=["libx264", "mpeg4"])
def encoder(request, monkeypatch):
    """The best encoder that is there."""
    if request.param == "mpeg4":
        monkeypatch.setattr(overlay, "ENCODERS", (("none", {}, 1), *overlay.ENCODERS[1:]))
    return {"libx264": "h264"}.get(request.param, request.param)


@pytest.mark.parametrize("name", FILMS)
def test_size_and_times_stay(tmp_path, name, encoder):
    how = dict(FILMS[name])
    film = FilmFile(write_film(tmp_path / name, squares(6, how.pop("size", (96, 64))), **how))
    overlay.write_film(tmp_path / "out.mp4", film, (film[index] for index in range(6)))
    written = FilmFile(tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.name == encoder
    assert (written.size, written.pixel_aspect) == (film.size, film.pixel_aspect)
    times = [[float(stamp.time) for stamp in each.stamps] for each in (written, film)]
    assert times[0] == pytest.approx(times[1], abs=1e-4)
    found, wanted = (np.asarray(each[3].convert("L"), int) for each in (written, film))
    assert np.abs(found - wanted).mean() < 4


def test_masks_have_the_same_colour_in_all_frames(tmp_path):
    film = FilmFile(write_film(tmp_path / "film.mp4", squares(3, (640, 480))))
    mask = np.zeros((480, 640), np.uint8)
    mask[100:300, 200:400] = 1
    rle = coco_mask.encode(np.asfortranarray(mask))
    rows = [{"frame": 0, "object": 1, "rle": rle}, {"frame": 2, "object": 2, "rle": rle}]
    pictures = [np.asarray(picture) for picture in overlay.draw_film(film, rows, ["a star", "a circle"])]
    assert all(picture.shape == (480, 640, 3) for picture in pictures)
    for picture, colour in ((pictures[0], COLOURS[0]), (pictures[2], COLOURS[1])):
        outline = picture[198:202, 180:220]
        assert np.abs(outline.astype(int) - colour).sum(axis=-1).min() < 30
    assert np.array_equal(pictures[1], film[1])


def test_small_frames_keep_their_size():
    picture = overlay.draw_frame(Image.new("RGB", (40, 30)), np.ones((1, 30, 40), bool), ["a star"])
    assert picture.size == (40, 30)
