import pytest
from PIL import Image

from modeling_evf_sam.segment_video.frame_folder import FrameFolder
from tests.film_files import squares


@pytest.fixture
def folder(tmp_path):
    names = ["frame2.png", "frame10.jpg", "frame1.JPEG", "notes.txt", "frame03.png"]
    for name, frame in zip(names, squares(len(names)), strict=True):
        if name.endswith("txt"):
            (tmp_path / name).write_text("no frame")
        else:
            Image.fromarray(frame).save(tmp_path / name)
    return tmp_path


def test_frames_come_in_the_order_of_their_numbers(folder):
    film = FrameFolder(folder)
    assert [stamp.name for stamp in film.stamps] == ["frame1.JPEG", "frame2.png", "frame03.png", "frame10.jpg"]
    assert [float(stamp.time) for stamp in film.stamps] == [0, 0.04, 0.08, 0.12]
    assert (len(film), film.size, film.rate) == (4, (96, 64), 25)
    assert film[1].getpixel((50, 50)) == (0, 0, 0) and film[2].getpixel((50, 50)) == (20, 20, 20)
    assert len(FrameFolder(folder, limit=2)) == 2


def broken(folder):
    (folder / "frame2.png").write_bytes((folder / "frame2.png").read_bytes()[:60])


def of_another_size(folder):
    Image.new("RGB", (30, 20)).save(folder / "frame2.png")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [(broken, "photo '.*frame2.png' cannot be read"), (of_another_size, "'frame2.png' has 30 x 20 pixels, the first")],
)
def test_damage_is_told_and_left_out(folder, damage, reason):
    damage(folder)
    with pytest.raises(ValueError, match=f"film '.*': frame 1 is damaged \\({reason}.*\\): repair it, or leave such"):
        FrameFolder(folder)
    film = FrameFolder(folder, skip_damaged=True)
    assert [stamp.number for stamp in film.stamps] == [0, 2, 3]
    assert len(film.damage) == 1
    assert film.index(2) == 1


@pytest.mark.parametrize(("number", "reason"), [(1, "it is damaged"), (9, "its last one is 3")])
def test_frames_that_a_film_does_not_have(folder, number, reason):
    broken(folder)
    film = FrameFolder(folder, skip_damaged=True)
    with pytest.raises(ValueError, match=rf"film '.*' has no frame {number} \({reason}\): choose another"):
        film.index(number)


def test_a_folder_without_frames(tmp_path):
    with pytest.raises(ValueError, match="has no frame that can be read: give another"):
        FrameFolder(tmp_path)


def test_films_are_told_apart(folder):
    before = FrameFolder(folder).identity()
    assert FrameFolder(folder).identity() == before
    Image.new("RGB", (96, 64), "red").save(folder / "frame2.png")
    assert FrameFolder(folder).identity() != before
