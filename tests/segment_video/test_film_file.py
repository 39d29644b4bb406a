from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

av = pytest.importorskip("av", reason="film files need the extra 'video'")
from modeling_evf_sam.segment_video import film_file  # noqa: E402
from modeling_evf_sam.segment_video.film_file import WINDOW, FilmFile  # noqa: E402
from tests.film_files import CLOCKWISE, squares, write_film  # noqa: E402

COUNT = 30
KINDS = {  # name of the file: how it is written
    "every frame by itself.mkv": {"codec": "ffv1"},
    "frames of both sides.mp4": {"options": {"g": "10", "bf": "3", "sc_threshold": "0"}},
    "open groups.mp4": {"options": {"x264-params": "open-gop=1:keyint=8:min-keyint=8:bframes=3:scenecut=0"}},
    "open groups.ts": {"options": {"x264-params": "open-gop=1:keyint=8:min-keyint=8:bframes=3:scenecut=0"}},
    "one start.mkv": {"options": {"g": "250"}},
    "old.avi": {"codec": "mpeg4"},
    "animation.gif": {"codec": "gif", "pixels": "rgb8"},
}


def plain(path) -> list[np.ndarray]:
    """All frames in order."""
    with av.open(str(path)) as container:
        return [np.asarray(frame.to_image()) for frame in container.decode(video=0)]


@pytest.mark.parametrize("name", KINDS)
def test_any_order_gives_the_same_frames(tmp_path, name):
    path = write_film(tmp_path / name, squares(COUNT), **KINDS[name])
    expected = plain(path)
    film = FilmFile(path)
    assert (len(film), film.size, film.rate) == (COUNT, (96, 64), 25)
    random = np.random.default_rng(0).permutation(COUNT).tolist()
    for index in [*range(COUNT), *reversed(range(COUNT)), *random]:
        assert np.array_equal(film[index], expected[index]), index


def test_times_are_those_of_the_file(tmp_path):
    times = [0, 4, 5, 30, 31, 100]
    film = FilmFile(write_film(tmp_path / "uneven.mkv", squares(6), times=times))
    assert [float(stamp.time) for stamp in film.stamps] == [time / 100 for time in times]
    assert [stamp.number for stamp in film.stamps] == list(range(6))


def test_a_step_back_decodes_few_frames(tmp_path, monkeypatch):
    film = FilmFile(write_film(tmp_path / "long.mp4", squares(50), options={"g": "10", "bf": "0"}))
    decoded, count = [], FilmFile._decode
    monkeypatch.setattr(FilmFile, "_decode", lambda self: (decoded.append(1) or each for each in count(self)))
    for index in range(50):
        film[index]
    for index in range(40, 50)[::-1]:
        film[index]
    assert len(decoded) <= 50 + WINDOW


def test_frames_are_turned_upright(tmp_path):
    film = FilmFile(write_film(tmp_path / "phone.mp4", squares(3), matrix=CLOCKWISE))
    assert film.size == film[0].size == (64, 96)
    corners = {place: film[0].getpixel(place)[0] > 200 for place in ((5, 5), (58, 5), (5, 90), (58, 90))}
    assert [place for place, bright in corners.items() if bright] == [(58, 5)]


def test_only_so_many_frames(tmp_path):
    path = write_film(tmp_path / "film.mp4", squares(9), fast_start=True)
    path.write_bytes(path.read_bytes()[:-20])
    assert len(FilmFile(path, limit=4)) == 4


def no_moov(path):
    write_film(path, squares(9))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def sound(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def song_with_cover(path):
    """As a player shows it: sound, and one picture that is no film."""
    cover = path.with_suffix(".jpg")
    Image.new("RGB", (32, 32)).save(cover)
    with av.open(str(path), "w") as container, av.open(str(cover)) as picture:
        voice = container.add_stream("aac", rate=8000)
        image = container.add_stream_from_template(picture.streams.video[0])
        image.disposition = av.stream.Disposition.attached_pic
        packet = next(picture.demux(video=0))
        packet.stream = image
        container.mux(packet)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(voice.encode(frame))
        container.mux(voice.encode(None))


def header_alone(path):
    write_film(path, squares(9))
    path.write_bytes(path.read_bytes()[:1000])


NO_FILMS = {  # name: what makes it, and what is said
    "text.mp4": (lambda path: path.write_text("a film\n" * 99), "is no film, or a damaged one"),
    "text.txt": (lambda path: path.write_text("a film\n" * 99), "is no film, or a damaged one"),
    "list.m3u8": (lambda path: path.write_text("#EXTM3U\n#EXTINF:1,\nother.ts\n"), "is no film, or a damaged one"),
    "empty.mp4": (lambda path: path.write_bytes(b""), "is no film, or a damaged one"),
    "half.mp4": (no_moov, "is no film, or a damaged one"),
    "sound.avi": (sound, "has no pictures, only audio: give a film"),
    "song.mp4": (song_with_cover, "has no pictures, only audio and video: give a film"),
    "header.mkv": (header_alone, "has no frame that can be read: give another"),
}


@pytest.mark.parametrize("name", NO_FILMS)
def test_what_is_no_film(tmp_path, name):
    make, message = NO_FILMS[name]
    make(tmp_path / name)
    with pytest.raises(ValueError, match=message) as error:
        FilmFile(tmp_path / name, skip_damaged=True)
    assert str(tmp_path / name) in str(error.value) and "\n" not in str(error.value)


def cut_short(path):
    write_film(path, [frame ^ noise for frame, noise in zip(squares(12), NOISE, strict=True)], fast_start=True,
               options={"bf": "0"})  # fmt: skip
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def changes_size(path):
    first, second = (path.with_name(f"{number}.ts") for number in (1, 2))
    write_film(first, squares(5))
    write_film(second, squares(4, (64, 48)))
    path.write_bytes(first.read_bytes() + second.read_bytes())


NOISE = np.random.default_rng(0).integers(0, 255, (12, 64, 96, 3), np.uint8)


def wrong_bytes(path):
    write_film(path, NOISE, options={"g": "1"})
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = bytes(400)
    path.write_bytes(content)


DAMAGED = {  # name: what makes it, a word of the damage, and how many frames are left
    "short.mp4": (cut_short, "it ends after 8 of 12 frames", range(6, 9)),
    "bytes.mkv": (wrong_bytes, " is damaged (", [9, 10, 11]),
    "sizes.ts": (changes_size, "it has 64 x 48 pixels, the first frame 96 x 64", [5]),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_told_and_left_out(tmp_path, name):
    make, word, left = DAMAGED[name]
    make(tmp_path / name)
    with pytest.raises(ValueError, match=r"film '.*': .*: repair it, or leave such frames out by --bad-frames skip"):
        FilmFile(tmp_path / name)
    film = FilmFile(tmp_path / name, skip_damaged=True)
    assert len(film) in left
    assert any(word in line for line in film.damage)
    sequence = [np.asarray(film[index]) for index in range(len(film))]
    assert all(np.array_equal(film[index], sequence[index]) for index in reversed(range(len(film))))


def test_frames_with_too_many_pixels_are_not_decoded(tmp_path, monkeypatch):
    path = write_film(tmp_path / "film.ts", squares(30, (128, 64)))
    monkeypatch.setattr(film_file, "MAX_PIXELS", 8191)
    with pytest.raises(ValueError, match=r"film '.*' has 128 x 64 pixels: make it smaller, up to 8191"):
        FilmFile(path)
    grows = write_film(tmp_path / "larger.ts", squares(30, (256, 64)))
    path.write_bytes(path.read_bytes() + grows.read_bytes())
    monkeypatch.setattr(film_file, "MAX_PIXELS", 8192)
    film = FilmFile(path, skip_damaged=True)
    assert len(film) == 30
    assert not any("256 x 64" in line for line in film.damage)


def test_pixels_that_are_not_square(tmp_path):
    path = tmp_path / "wide.mp4"
    write_film(path, squares(3), options={"x264-params": "sar=4/3"})
    assert FilmFile(path).pixel_aspect == Fraction(4, 3)
    write_film(path, squares(3), options={"x264-params": "sar=4/3"}, matrix=CLOCKWISE)
    assert FilmFile(path).pixel_aspect == Fraction(3, 4)


def test_a_film_that_changes_while_it_is_read(tmp_path):
    path = write_film(tmp_path / "film.mkv", NOISE, codec="ffv1")
    film = FilmFile(path)
    write_film(path, squares(2))
    with pytest.raises(ValueError, match=r"film '.*' changed while it was read: begin again"):
        film[11]
