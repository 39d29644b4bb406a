import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from modeling_evf_sam import photos
from modeling_evf_sam.photos import decode_photo, open_photo, rgb_photos, to_rgb

COLOUR = (200, 100, 50)
CLEAR = (200, 100, 50, 0)
HALF = (0, 0, 0, 128)


def palette(transparent: bool) -> Image.Image:
    image = Image.new("P", (3, 2), 0)
    image.putpalette(COLOUR)
    if transparent:
        image.info["transparency"] = 0
    return image


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("RGB", (3, 2), COLOUR), COLOUR),
        (Image.new("1", (3, 2), 1), (255, 255, 255)),
        (Image.new("L", (3, 2), 7), (7, 7, 7)),
        (Image.new("LA", (3, 2), (0, 128)), (127, 127, 127)),
        (palette(transparent=False), COLOUR),
        (palette(transparent=True), (255, 255, 255)),
        (Image.new("RGBA", (3, 2), CLEAR), (255, 255, 255)),
        (Image.new("RGBA", (3, 2), HALF), (127, 127, 127)),
        (Image.new("CMYK", (3, 2), (0, 255, 255, 0)), (255, 0, 0)),
        (Image.new("I;16", (3, 2), 65535), (255, 255, 255)),
        (Image.new("I;16B", (3, 2), 257 * 9), (9, 9, 9)),
        (Image.new("I", (3, 2), 70000), (255, 255, 255)),
        (Image.new("F", (3, 2), 0.5), (128, 128, 128)),
        (Image.new("F", (3, 2), 200.4), (200, 200, 200)),
        (Image.new("F", (3, 2), float("nan")), (0, 0, 0)),
        (np.full((2, 3, 3), COLOUR, dtype=np.uint8), COLOUR),
        (np.full((2, 3, 4), HALF, dtype=np.uint8), (127, 127, 127)),
        (np.full((2, 3, 1), 7, dtype=np.uint8), (7, 7, 7)),
        (np.full((2, 3), 257 * 9 + 100, dtype=np.uint16), (9, 9, 9)),
        (np.ones((2, 3), dtype=bool), (255, 255, 255)),
        (np.full((2, 3, 3), 0.5), (128, 128, 128)),
        (np.full((2, 3, 3), 0.5, dtype=np.float16), (128, 128, 128)),
        (torch.ones(3, 2, 3, dtype=torch.bfloat16), (255, 255, 255)),
        (torch.tensor(COLOUR, dtype=torch.uint8)[:, None, None].expand(3, 2, 3), COLOUR),
        (torch.full((1, 2, 3), 7, dtype=torch.uint8), (7, 7, 7)),
        (torch.full((2, 3), 7, dtype=torch.uint8), (7, 7, 7)),
    ],
)
def test_to_rgb(image, expected):
    photo = to_rgb(image)

    assert (photo.mode, photo.size) == ("RGB", (3, 2))
    assert photo.getpixel((2, 1)) == expected


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (7, "a photo is a path, a PIL image, an array or a tensor, not int"),
        (np.zeros((2, 3, 2), dtype=np.uint8), r"\(2, 3, 2\) is not one photo"),
        (torch.zeros(2, 3, 3, dtype=torch.uint8), r"\(2, 3, 3\) is not one photo"),
        (np.zeros((1, 2, 3, 3), dtype=np.uint8), r"\(1, 2, 3, 3\) is not one photo"),
        (np.zeros((2, 3, 3), dtype=np.int64), "not int64: convert it"),
        (np.full((2, 3, 3), 255.0), "values 0..1, not 255..255: scale it"),
        (torch.tensor([[[-0.5, 1.0]]]), "values 0..1, not -0.5..1"),
        (np.full((2, 3), np.nan), "values 0..1, not nan..nan"),
        (np.zeros((0, 3, 3), dtype=np.uint8), r"\(0, 3, 3\) is a photo without pixels"),
        (Image.new("RGB", (0, 3)), "0 x 3 pixels"),
    ],
)
def test_to_rgb_refuses(image, message):
    with pytest.raises(ValueError, match=message):
        to_rgb(image)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.gif", "a.webp", "a.jpg", "png.txt"])
def test_open_photo_reads(tmp_path, name):
    file = tmp_path / name
    options = {"lossless": True} if name == "a.webp" else {}
    Image.new("RGB", (8, 4), COLOUR).save(file, "PNG" if name == "png.txt" else None, **options)

    photo = open_photo(file)

    assert (photo.mode, photo.size) == ("RGB", (8, 4))
    np.testing.assert_allclose(photo.getpixel((0, 0)), COLOUR, atol=2 if name == "a.jpg" else 0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1)])
def test_open_photo_reads_thin_photos(tmp_path, shape):
    Image.fromarray(np.zeros(shape, dtype=np.uint8)).save(tmp_path / "thin.png")

    assert open_photo(tmp_path / "thin.png").size == shape[::-1]


def test_open_photo_turns_by_exif(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn clockwise by 90 degrees
    image = Image.new("RGB", (16, 8), "black")
    image.paste("white", (0, 0, 8, 8))
    image.save(tmp_path / "turned.png", exif=exif)

    photo = open_photo(str(tmp_path / "turned.png"))

    assert photo.size == (8, 16)
    assert [photo.getpixel((4, y)) for y in (2, 13)] == [(255, 255, 255), (0, 0, 0)]
    assert to_rgb(photo).size == (8, 16), "the rotation must not be applied twice"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "give",
    [
        str,
        Path,
        Image.open,
        lambda path: Image.open(path).convert("RGB"),
        open_photo,
        lambda path: to_rgb(open_photo(path)),
    ],
    ids=["string", "path", "opened", "converted", "read", "read twice"],
)
def test_a_turned_photo_has_one_size_however_it_is_given(tmp_path, give, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (179, 162)).save(tmp_path / "turned.jpg", exif=exif)

    (photo,) = rgb_photos([give(tmp_path / "turned.jpg")])

    assert photo.size == ((179, 162) if orientation < 5 else (162, 179))


def test_many_photos_are_told_apart(tmp_path):
    Image.new("RGB", (4, 3)).save(tmp_path / "a.png")

    given = rgb_photos([tmp_path / "a.png", np.zeros((5, 6), dtype=np.uint8)])

    assert [photo.size for photo in given] == [(4, 3), (6, 5)]
    with pytest.raises(ValueError, match=r"^photo 1: 1 x 0 pixels"):
        rgb_photos([given[0], Image.new("RGB", (1, 0))])
    with pytest.raises(ValueError, match=r"^photo '/' is a folder"):
        rgb_photos(["/"])
    with pytest.raises(FileNotFoundError, match=r"photo 'gone\.jpg' does not exist"):
        rgb_photos(["gone.jpg"])
    with pytest.raises(ValueError, match="no photos given"):
        rgb_photos([])


def test_open_photo_takes_the_first_frame(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])

    assert open_photo(tmp_path / "film.gif").getpixel((0, 0)) == (255, 0, 0)


def test_open_photo_keeps_16_bits_in_range(tmp_path):
    values = np.array([[0, 257, 30000, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")

    assert [open_photo(tmp_path / "deep.png").getpixel((x, 0))[0] for x in range(4)] == [0, 1, 117, 255]


def write_truncated(file: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, "JPEG")
    file.write_bytes(file.read_bytes()[:2000])


def write_announced(file: Path, width: int, height: int) -> None:
    """A small BMP file whose header announces another size."""
    Image.new("RGB", (2, 2)).save(file, "BMP")
    content = file.read_bytes()
    file.write_bytes(content[:18] + struct.pack("<ii", width, height) + content[26:])


@pytest.mark.parametrize(
    ("write", "error", "message"),
    [
        (lambda file: None, FileNotFoundError, "does not exist: check the path"),
        (Path.mkdir, ValueError, "is a folder"),
        (Path.touch, ValueError, "is not an image: give a file of type JPEG, PNG"),
        (lambda file: file.write_text("<html>404</html>"), ValueError, "is not an image"),
        (lambda file: Image.new("RGB", (2, 2)).save(file, "PPM"), ValueError, "is not an image"),
        (write_truncated, ValueError, "cannot be read .*truncated"),
        (lambda file: write_announced(file, 9500, 9500), ValueError, "9500 x 9500 pixels.*at most"),
        (lambda file: write_announced(file, 50000, 50000), ValueError, "cannot be read .*decompression bomb"),
    ],
    ids=["missing", "folder", "empty", "web page", "other type", "truncated", "too large", "bomb"],
)
@pytest.mark.filterwarnings("error")
def test_open_photo_refuses(tmp_path, write, error, message):
    file = tmp_path / "photo"
    write(file)

    with pytest.raises(error, match=message) as caught:
        open_photo(file)

    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_an_image_says_of_itself_is_used_once(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30)).save(tmp_path / "turned.jpg", exif=exif)
    once = open_photo(tmp_path / "turned.jpg")
    assert to_rgb(to_rgb(once)).size == once.size == (30, 40)


def test_the_content_of_a_file_is_decoded(tmp_path):
    Image.new("RGB", (50, 40), "teal").save(tmp_path / "photo.png")
    assert decode_photo((tmp_path / "photo.png").read_bytes()) == open_photo(tmp_path / "photo.png")
    with pytest.raises(ValueError, match="the photo is not an image: give a file of type JPEG"):
        decode_photo(b"hello")


def write_exif(file: Path) -> None:
    Image.new("RGB", (40, 30)).save(file, "JPEG", exif=b"Exif\0\0XX")


def test_a_damaged_exif_is_told_however_often_the_photo_is_given(tmp_path):
    write_exif(tmp_path / "photo.jpg")
    for give in (str, Path, Image.open, lambda path: decode_photo(path.read_bytes())):
        with pytest.raises(ValueError, match=r"damaged EXIF data: not a TIFF file"):
            to_rgb(give(tmp_path / "photo.jpg"))


def test_a_photo_that_was_read_has_no_metadata(tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "maker"
    Image.new("RGB", (4, 3)).save(tmp_path / "photo.jpg", exif=exif, comment=b"private")

    assert open_photo(tmp_path / "photo.jpg").info == {}


@pytest.mark.parametrize("mode", ["L", "P", "LA", "RGBA", "CMYK", "I", "I;16", "F"])
def test_bands_make_no_difference(monkeypatch, mode):
    values = np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8)
    image = (
        Image.fromarray(values.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(values).convert(mode)
    )
    expected = np.asarray(to_rgb(image))

    monkeypatch.setattr(photos, "BAND_PIXELS", 95)

    assert np.array_equal(to_rgb(image), expected)


@pytest.mark.parametrize("size", [(1, 1001), (1001, 1), (70_000, 1000)])
def test_sides_have_bounds_that_the_header_is_asked_for(tmp_path, monkeypatch, size):
    Image.new("1", size).save(tmp_path / "thin.png")
    monkeypatch.setattr(Image.Image, "load", lambda image: pytest.fail("it was decoded"))

    with pytest.raises(ValueError, match=f"{size[0]} x {size[1]} pixels: a side has at most 65535"):
        open_photo(tmp_path / "thin.png")


def test_a_caller_may_bound_the_pixels(tmp_path, monkeypatch):
    Image.new("RGB", (40, 30)).save(tmp_path / "photo.png")
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("it was decoded"))

    with pytest.raises(ValueError, match=r"40 x 30 pixels: .* at most 1199"):
        open_photo(tmp_path / "photo.png", max_pixels=1199)


def test_libtiff_does_not_write_to_standard_error(tmp_path, capfd):
    Image.new("RGB", (64, 64), COLOUR).save(tmp_path / "photo.tif", compression="tiff_lzw")
    content = bytearray((tmp_path / "photo.tif").read_bytes())
    start = content.index(b"\x80", 8)
    content[start : start + 30] = bytes(30)
    (tmp_path / "photo.tif").write_bytes(content)

    with pytest.raises(ValueError, match="cannot be read"):
        open_photo(tmp_path / "photo.tif")
    assert capfd.readouterr().err == ""


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "photo.jpg")

    with pytest.raises(ValueError, match="is no regular file"):
        open_photo(tmp_path / "photo.jpg")
