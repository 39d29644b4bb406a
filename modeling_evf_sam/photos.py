"""Reading photos: any file, PIL image, array or tensor becomes an upright 8-bit RGB PIL image.

The one place where files are opened and photos turned, so that width and height mean the same everywhere.
"""

import struct
import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from PIL import Image, ImageOps

if TYPE_CHECKING:
    import torch

# Pillow's own bound against decompression bombs: 89 megapixels take about 1 GB as float32.
MAX_PIXELS = 89_478_485
MAX_SIDE = 65_500  # pixels: what a JPEG can have
STRIP = 1 << 20  # pixels that are laid on white at a time
PHOTO_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")

Photo = Union[str, Path, Image.Image, np.ndarray, "torch.Tensor"]


def open_photo(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Reads a photo file: upright, RGB, the first frame of an animation.

    Args:
        path: a JPEG, PNG, WebP, BMP, TIFF or GIF file. Its type is read from its content, not from its name.
        max_pixels: of a photo; a larger one is refused by what its header says, before it is decoded.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no file, not an image of these types, damaged, or larger than `max_pixels`.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "no regular file"
        raise ValueError(f"photo '{path}' is {kind}: give the path of one image file")
    try:
        return _decode(path, f"photo '{path}'", max_pixels)
    except FileNotFoundError:
        raise FileNotFoundError(f"photo '{path}' does not exist: check the path") from None


def decode_photo(content: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Reads the content of a photo file, as `open_photo`.

    Raises:
        ValueError: as there.
    """
    return _decode(BytesIO(content), "the photo", max_pixels)


def _decode(file: Path | BytesIO, name: str, max_pixels: int) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large: there is an error for it; damaged metadata: not needed
            with Image.open(file, formats=PHOTO_FORMATS) as image:
                _check_size(*image.size, max_pixels)
                return to_rgb(image)
    except FileNotFoundError:
        raise
    except Image.UnidentifiedImageError:
        raise ValueError(f"{name} is not an image: give a file of type {', '.join(PHOTO_FORMATS)}") from None
    except Exception as error:  # Pillow's readers raise errors of many types on damaged files
        raise ValueError(f"{name} cannot be read ({error}): give an intact, smaller image") from error


def to_rgb(image: Photo) -> Image.Image:
    """Converts one photo to an upright 8-bit RGB PIL image.

    Transparent pixels become white. 16-bit values are scaled from 0..65535; floats from 0..1; those of a PIL image of
    mode F from 0..255 if any value is above 1. An EXIF rotation is applied.

    Args:
        image: the path of a file, as `open_photo` takes it; a PIL image of any mode; a numpy array (H, W), (H, W, 1),
            (H, W, 3) or (H, W, 4); or a torch tensor (H, W), (1, H, W), (3, H, W) or (4, H, W). Arrays and tensors
            hold uint8, uint16, bool, or floats 0..1.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another type, shape or dtype, floats outside 0..1, no pixels, or more than `MAX_PIXELS`.
    """
    if isinstance(image, (str, Path)):
        return open_photo(image)
    if not isinstance(image, Image.Image):
        image = _image_from_array(image)
    _check_size(*image.size, MAX_PIXELS)
    image = _upright(image)
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(_to_uint8(np.asarray(image))).convert("RGB")
    image = _on_white(image) if image.has_transparency_data else image.convert("RGB")
    image.info.clear()  # what was said of the file, such as how to turn it, is done
    return image


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if min(width, height) < 1 or width * height > max_pixels:
        raise ValueError(f"{width} x {height} pixels: a photo has at least 1 and at most {max_pixels} of them")
    if max(width, height) > MAX_SIDE:
        raise ValueError(f"{width} x {height} pixels: no side of a photo has more than {MAX_SIDE}")


def _upright(image: Image.Image) -> Image.Image:
    """Turns by EXIF; what is damaged there turns nothing."""
    try:
        return ImageOps.exif_transpose(image)
    except (SyntaxError, ValueError, TypeError, KeyError, struct.error, OSError):
        image.load()  # a damaged photo is an error all the same
        return image


def _on_white(image: Image.Image) -> Image.Image:
    """An RGB image of one with transparency, row by row, as each copy of a large photo takes much memory."""
    width, height = image.size
    result = Image.new("RGB", image.size)
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height))).convert("RGBA")
        white = Image.new("RGBA", strip.size, "white")
        result.paste(Image.alpha_composite(white, strip).convert("RGB"), (0, top))
    return result


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


def _image_from_array(array: Any) -> Image.Image:
    is_tensor = hasattr(array, "detach")  # nothing has it where torch is not installed
    if not is_tensor and not isinstance(array, np.ndarray):
        raise ValueError(f"a photo is a path, a PIL image, an array or a tensor, not {type(array).__name__}")
    shape = tuple(array.shape)
    if is_tensor:
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


def _to_uint8(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * 255
    if np.issubdtype(array.dtype, np.floating):
        array = np.nan_to_num(array, posinf=255.0)
        return (array * (255 if array.max() <= 1 else 1)).round().clip(0, 255).astype(np.uint8)
    return ((array.astype(np.int64).clip(0, 65535) + 128) // 257).astype(np.uint8)
