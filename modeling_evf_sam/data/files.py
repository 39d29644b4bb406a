"""Files of a dataset: JSON, label maps and photos, with errors that name the file and the entry."""

import json
import unicodedata
from collections.abc import Mapping
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

import numpy as np
from PIL import Image

from modeling_evf_sam.photos import MAX_PIXELS, open_photo
from modeling_evf_sam.quoting import quoted

UNNAMED = ("Cc", "Cs")  # control characters, and halves of others: in no name of a file
MAP_MODES = ("1", "L", "P", "I", "I;16")


def inside(folder: Path, name: Any, where: str) -> Path:
    """Returns the path of a file that an annotation names.

    Raises:
        ValueError: the name is no relative path, or leads out of the folder. `where` says who names it.
    """
    if not isinstance(name, str) or not name or any(unicodedata.category(letter) in UNNAMED for letter in name):
        raise ValueError(f"{where}: {quoted(name)} is not the name of a file")
    path = PurePath(name)
    if path.is_absolute() or ".." in path.parts or PureWindowsPath(name).drive:
        raise ValueError(f"{where}: '{name}' leads out of '{folder}': give a path relative to it")
    return folder / path


def refuse_pipe(path: Path, what: str, instead: str) -> None:
    """Raises a ValueError where a name stands for a pipe or a device, which would be waited for."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ValueError(f"{what} '{path}' is no regular file: put {instead} in its place")


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON, or a pipe.
    """
    refuse_pipe(path, "file", "JSON")
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(f"'{path}' does not exist: check the path of the dataset") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"'{path}' is not JSON ({error}): download or export it again") from None


def entries(path: Path, record: Any, key: str, fields: Mapping[str, type]) -> list[dict]:
    """Returns a list of objects out of a JSON record, after a look at the types of their fields.

    Raises:
        ValueError: the list is missing, or an entry lacks a field; names the file and the entry.
    """
    found = record.get(key) if isinstance(record, dict) else None
    if not isinstance(found, list):
        raise ValueError(f"'{path}' has no list '{key}': it is not an annotation file of this layout")
    for index, entry in enumerate(found):
        check_entry(f"'{path}', {key}[{index}]", entry, fields)
    return found


def check_entry(where: str, entry: Any, fields: Mapping[str, type]) -> None:
    """Raises a ValueError where an entry is no object, or a field is missing or of another type."""
    if not isinstance(entry, dict):
        raise ValueError(f"{where} is {type(entry).__name__}, not an object")
    for field, kind in fields.items():
        if not isinstance(entry.get(field), kind):
            raise ValueError(f"{where}: '{field}' must be {kind.__name__}, not {quoted(entry.get(field))}")


def open_sized_photo(path: Path, size: tuple[int, int], where: str) -> Image.Image:
    """Opens a photo whose annotations were made for a (height, width).

    Raises:
        FileNotFoundError, ValueError: it is missing, damaged, or of another size; `where` names the entry.
    """
    photo = open_photo(path)
    if (photo.height, photo.width) != size:
        raise ValueError(
            f"photo '{path}' has {photo.width} x {photo.height} pixels but {where} is for {size[1]} x {size[0]}: "
            "take the photo that was annotated"
        )
    return photo


def read_map(path: Path, photo: Image.Image) -> np.ndarray:
    """Reads a PNG with one whole number per pixel: (H, W), of the photo's size.

    Raises:
        FileNotFoundError, ValueError: it is missing, damaged, in colours, or of another size.
    """
    refuse_pipe(path, "mask", "an image")
    try:
        with Image.open(path, formats=("PNG",)) as image:
            if image.width * image.height <= MAX_PIXELS and image.mode in MAP_MODES:
                if image.size != photo.size:
                    raise ValueError(f"{_pixels(image)}, its photo {_pixels(photo)}: both must have the same size")
                return np.asarray(image)
            raise ValueError(f"{_pixels(image)} of type {image.mode}: save it as grey or with a palette")
    except FileNotFoundError:
        raise FileNotFoundError(f"mask '{path}' does not exist: check the path") from None
    except Exception as error:  # Pillow's reader raises errors of many types on damaged files
        raise ValueError(f"mask '{path}' is not usable ({error})") from error


def _pixels(image: Image.Image) -> str:
    return f"{image.width} x {image.height} pixels"
