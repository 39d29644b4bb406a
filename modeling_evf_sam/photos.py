"""Reading photos: any file, PIL image, array or tensor becomes an upright 8-bit RGB PIL image.

The one place where files are opened, and photos checked, decoded and turned, so that width and height mean the same
everywhere, and damage of any kind shows here and nowhere later.
"""

import ctypes
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import torch

# Pillow's own bound against decompression bombs: 89 megapixels take about 1 GB as float32.
MAX_PIXELS = 89_478_485
MAX_SIDE = 65_535  # JPEG's own bound
MAX_RATIO = 1000  # of the sides: in a view of 1,024 pixels, nothing would be left of the shorter one
BAND_PIXELS = 2**20  # converted at a time
PHOTO_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
ORIENTATION = 0x0112
TURNS = {  # EXIF's orientation -> what makes the photo upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Photo = Union[str, Path, Image.Image, np.ndarray, "torch.Tensor"]

with suppress(AttributeError, OSError):  # libtiff writes to standard error what our errors say; not on every system
    ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(None)


def open_photo(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Reads a photo file: upright, RGB, the first frame of an animation, without its metadata.

    Args:
        path: a JPEG, PNG, WebP, BMP, TIFF or GIF file. Its type is read from its content, not from its name.
        max_pixels: at the most; the file's header is asked before anything is decoded.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a folder or a pipe, not an image of these types, damaged, also in its EXIF data, or larger
            than `max_pixels`, `MAX_SIDE` or `MAX_RATIO`.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"photo '{path}' is a folder: give the path of one image file")
    if path.exists() and not path.is_file():
        raise ValueError(f"photo '{path}' is no regular file: put an image in its place")
    try:
        return _read(path, max_pixels)
    except FileNotFoundError:
        raise FileNotFoundError(f"photo '{path}' does not exist: check the path") from None
    except ValueError as error:
        raise ValueError(f"photo '{path}' {error}") from error


def decode_photo(content: bytes, *, name: str = "the photo", max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Reads what a photo file holds, as `open_photo`; `name` is what errors call it.

    Raises:
        ValueError: as there.
    """
    try:
        return _read(BytesIO(content), max_pixels)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from error


def to_rgb(image: Photo) -> Image.Image:
    """Converts one photo to an upright 8-bit RGB PIL image, a new one without metadata.

    Transparent pixels become white. 16-bit values are scaled from 0..65535; floats from 0..1; those of a PIL image of
    mode F from 0..255 if any value is above 1. An EXIF rotation is applied.

    Args:
        image: the path of a file, as `open_photo` takes it; a PIL image of any mode; a numpy array (H, W), (H, W, 1),
            (H, W, 3) or (H, W, 4); or a torch tensor (H, W), (1, H, W), (3, H, W) or (4, H, W). Arrays and tensors
            hold uint8, uint16, bool, or floats 0..1.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another type, shape or dtype, floats outside 0..1, no pixels, more than `MAX_PIXELS`, sides beyond
            `MAX_SIDE` or `MAX_RATIO`, or damaged.
    """
    if isinstance(image, (str, Path)):
        return open_photo(image)
    return _upright(image if isinstance(image, Image.Image) else _image_from_array(image), MAX_PIXELS)


def rgb_photos(images: Photo | Sequence[Photo]) -> list[Image.Image]:
    """Converts one photo or a list of them, as `to_rgb`.

    Raises:
        FileNotFoundError: a file that does not exist.
        ValueError: no photos, or one that `to_rgb` refuses; the message gives its index, or its path.
    """
    photos = []
    for index, image in enumerate(images if isinstance(images, (list, tuple)) else [images]):
        try:
            photos.append(to_rgb(image))
        except ValueError as error:
            name = "" if isinstance(image, (str, Path)) else f"photo {index}: "
            raise ValueError(f"{name}{error}") from error
    if not photos:
        raise ValueError("no photos given: pass at least one")
    return photos


def _read(file: Path | BytesIO, max_pixels: int) -> Image.Image:
    """Raises ValueErrors that go on after the name of the photo."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large: `_check_size` has an error for it; unusual metadata: not needed
            with Image.open(file, formats=PHOTO_FORMATS) as image:
                return _upright(image, max_pixels)
    except FileNotFoundError:
        raise
    except Image.UnidentifiedImageError:
        raise ValueError(f"is not an image: give a file of type {', '.join(PHOTO_FORMATS)}") from None
    except Exception as error:  # Pillow's readers raise errors of many types on damaged files
        raise ValueError(f"cannot be read ({_reason(error)}): give an intact, smaller image") from error


def _upright(image: Image.Image, max_pixels: int) -> Image.Image:
    """Checks, decodes, converts and turns: what comes out is in memory, and needs no second look."""
    _check_size(image, max_pixels)
    turn = TURNS.get(_orientation(image))
    try:
        image.load()
        if image.mode != "RGB" or image.has_transparency_data:
            image = _convert(image)
        elif turn is None:
            image = image.copy()
        image = image if turn is None else image.transpose(turn)
    except Exception as error:
        raise ValueError(f"damaged pixels: {_reason(error)}") from error
    image.info.clear()
    return image


def _check_size(image: Image.Image, max_pixels: int) -> None:
    """From the header: nothing is decoded yet."""
    (short, long), size = sorted(image.size), f"{image.width} x {image.height} pixels"
    if short < 1 or short * long > max_pixels:
        raise ValueError(f"{size}: a photo has at least 1 and at most {max_pixels} of them")
    if long > MAX_SIDE or long > MAX_RATIO * short:
        raise ValueError(f"{size}: a side has at most {MAX_SIDE}, and at most {MAX_RATIO} times those of the other")


def _orientation(image: Image.Image) -> int:
    try:
        Image.Exif().load(image.info.get("exif", b""))  # `getexif` raises at damage in its first call alone
        return image.getexif().get(ORIENTATION, 1)
    except Exception as error:
        raise ValueError(f"damaged EXIF data: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _convert(image: Image.Image) -> Image.Image:
    """The image as RGB, converted band by band: what lies between takes no memory to speak of."""
    result = Image.new("RGB", image.size)
    is_deep = image.mode == "F" or image.mode.startswith("I")
    top = max(np.fmax.reduce(np.asarray(band), axis=None) for _, band in _bands(image)) if image.mode == "F" else 1
    for y, band in _bands(image):
        if is_deep:
            band = Image.fromarray(_to_uint8(np.asarray(band), is_unit=top <= 1))
        elif band.has_transparency_data:
            band = band.convert("RGBA")
            band = Image.alpha_composite(Image.new("RGBA", band.size, "white"), band)
        result.paste(band.convert("RGB"), (0, y))
    return result


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    rows = max(1, BAND_PIXELS // image.width)
    for y in range(0, image.height, rows):
        yield y, image.crop((0, y, image.width, min(y + rows, image.height)))


def _image_from_array(array: Any) -> Image.Image:
    is_tensor = hasattr(array, "detach")  # nothing has it where torch is not installed
    if not is_tensor and not isinstance(array, np.ndarray):
        raise ValueError(f"a photo is a path, a PIL image, an array or a tensor, not {type(array).__name__}")
    shape = tuple(array.shape)
    if is_tensor:
        if array.is_meta:
            raise ValueError(f"{shape} is a photo of the device meta, which has no values")
        array = array.detach().cpu()
        array = array.float() if array.is_floating_point() else array  # numpy has no bfloat16
        array = (array.permute(1, 2, 0) if array.ndim == 3 else array).numpy()  # (C, H, W) -> (H, W, C)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (3, 4)):
        raise ValueError(f"{shape} is not one photo: give an array (H, W, 3) or a tensor (3, H, W)")
    if array.size == 0:
        raise ValueError(f"{shape} is a photo without pixels")
    if np.issubdtype(array.dtype, np.floating):
        low, high = array.min(), array.max()
        if not (low >= 0 and high <= 1):  # NaN is outside as well
            raise ValueError(
                f"a photo of floats has values 0..1, not {low:g}..{high:g}: scale it, or convert it to uint8"
            )
    elif array.dtype not in (np.uint8, np.uint16, np.bool_):
        raise ValueError(f"a photo has numbers 0..255 (uint8) or floats 0..1, not {array.dtype}: convert it first")
    return Image.fromarray(np.ascontiguousarray(_to_uint8(array)))


def _to_uint8(array: np.ndarray, *, is_unit: bool = True) -> np.ndarray:
    """Whole numbers of 8 bits; floats are of 0..1, or else of 0..255."""
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * 255
    if np.issubdtype(array.dtype, np.floating):
        array = np.nan_to_num(array, posinf=255.0)
        return (array * (255 if is_unit else 1)).round().clip(0, 255).astype(np.uint8)
    return ((array.astype(np.int64).clip(0, 65535) + 128) // 257).astype(np.uint8)
