"""Photos and folders on the command line, looked at before anything slow is imported."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")


def photos_and_sentences(arguments: Sequence[str], sentences: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Tells photos from sentences.

    Args:
        arguments: files, folders and globs, and then sentences.
        sentences: given by an option; where there are some, all arguments are photos.

    Returns:
        The photos, each once; and the sentences.

    Raises:
        FileNotFoundError: a photo does not exist.
        ValueError: there is no photo or no sentence, or a photo stands behind a sentence.
    """
    is_photo = [bool(sentences) or _names_photos(argument) for argument in arguments]
    count = is_photo.index(False) if False in is_photo else len(arguments)
    given, rest = arguments[:count], list(arguments[count:])
    if arguments and not given:
        raise FileNotFoundError(f"photo '{arguments[0]}' does not exist: give photos first, and then sentences")
    if not given:
        raise ValueError("there is no photo: give an image file, a folder or a glob")
    photos = list(dict.fromkeys(photo for argument in given for photo in find_photos(argument)))
    misplaced = [text for text in rest if os.path.isfile(text)]
    if misplaced:
        raise ValueError(f"'{misplaced[0]}' is a file behind the sentence '{rest[0]}': give photos first")
    if not rest and not sentences:
        raise ValueError("there is no sentence: say what to find behind the photos, or with --sentence")
    return photos, [*rest, *sentences]


def find_photos(argument: str) -> list[Path]:
    """The image file of that name, those in a folder of that name, or those that a glob matches.

    Raises:
        FileNotFoundError: there is none.
    """
    if os.path.isdir(argument):
        photos = [path for path in sorted(Path(argument).iterdir()) if path.suffix.lower() in PHOTO_SUFFIXES]
        if not photos:
            raise FileNotFoundError(f"folder '{argument}' has no photo in it: give another, or an image file")
        return photos
    if os.path.exists(argument):
        return [Path(argument)]
    matches = [Path(match) for match in sorted(glob.glob(argument, recursive=True)) if os.path.isfile(match)]
    if not matches:
        raise FileNotFoundError(f"photo '{argument}' does not exist: check the path")
    return matches


def check_photo(path: Path) -> None:
    """Raises a FileNotFoundError if there is no such file."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"photo '{path}' does not exist: check the path")


def check_film(path: Path) -> None:
    """Raises a FileNotFoundError if there is no such file or folder."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"film '{path}' does not exist: check the path")


def check_folder(folder: Path) -> None:
    """Raises a ValueError if nothing can be written into a folder, which need not exist."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise ValueError(f"cannot write into '{folder}': choose another folder")


def _names_photos(argument: str) -> bool:
    is_name = Path(argument).suffix.lower() in PHOTO_SUFFIXES
    return is_name or os.path.exists(argument) or (glob.has_magic(argument) and bool(glob.glob(argument)))


def printable(text: str) -> str:
    """Control characters, such as a name of a file may have to change the terminal, become their escapes."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
