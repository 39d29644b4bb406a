"""A folder of the user's own: photos, and one JSON line for each sentence or group of sentences.

FOLDER/train.jsonl, FOLDER/test.jsonl, ...    one file for each split
{"image": "photos/cup.jpg", "text": ["the red cup", "cup on the left"], "mask": [[12, 40, 80, 44, 76, 90]]}
{"image": "photos/street.jpg", "text": "car", "mask": "masks/cars.png", "semantic": true}
{"image": "photos/street.jpg", "text": "the yellow bus", "mask": null}
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from modeling_evf_sam.data.files import inside, read_map
from modeling_evf_sam.data.referring_dataset import ReferringDataset, Target, naming_words
from modeling_evf_sam.data.segmentations import draw_segmentation
from modeling_evf_sam.photos import open_photo
from modeling_evf_sam.quoting import quoted

FIELDS = {"image", "text", "mask", "semantic"}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line: sentences that all mean the same mask.

    Attributes:
        where: the file and the number of the line, for messages.
        photo: path of the photo.
        sentences: at least one.
        mask: polygons or run lengths (see `draw_segmentation`), the path of a PNG (not 0 is the mask), or None
            where nothing in the photo is meant.
        semantic: whether every pixel of a category is meant.
    """

    where: str
    photo: Path
    sentences: list[str]
    mask: list | dict | Path | None
    semantic: bool

    def open(self) -> Image.Image:
        """Opens the photo; an error names the line."""
        try:
            return open_photo(self.photo)
        except (ValueError, OSError) as error:
            raise ValueError(f"{self.where}: {error}") from None

    def targets(self, draw: Callable[[], np.ndarray]) -> list[Target]:
        """Its sentences, whose mask `draw` draws."""
        return [
            Target(
                sentence=text,
                draw=draw,
                semantic=self.semantic,
                categories=frozenset() if self.mask is None else naming_words(text) or frozenset([text]),
            )
            for text in self.sentences
        ]

    def draw(self, photo: Image.Image | None = None) -> np.ndarray:
        """Draws the mask, (H, W) bool, for the photo if it is open already; an error names the line."""
        photo = self.open() if photo is None else photo
        size = (photo.height, photo.width)
        try:
            if self.mask is None:
                return np.zeros(size, dtype=bool)
            if isinstance(self.mask, Path):
                return read_map(self.mask, photo) > 0
            return draw_segmentation(self.mask, size)
        except (ValueError, OSError) as error:
            raise ValueError(f"{self.where}: {error}") from None


class JsonlDataset(ReferringDataset):
    """One split of such a folder: item i is photo i, in the order of the file, with the sentences of all its lines.

    Args:
        folder: it holds `<split>.jsonl`; the paths in its lines start here.
        split: which file.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or a line of it is wrong; names the line.
    """

    def __init__(self, folder: str | Path, split: str) -> None:
        self.folder = Path(folder)
        by_photo: dict[Path, list[Line]] = {}
        for where, text in numbered_lines(self.folder, split):
            line = read_line(self.folder, text, where)
            by_photo.setdefault(line.photo, []).append(line)
        self.photos = list(by_photo.values())

    def __len__(self) -> int:
        return len(self.photos)

    def photo_name(self, index: int) -> str:
        """The path in the lines."""
        return self.photos[index][0].photo.relative_to(self.folder).as_posix()

    def read(self, index: int) -> tuple[Image.Image, list[Target]]:
        """Opens a photo with all its sentences."""
        photo = self.photos[index][0].open()
        return photo, [target for line in self.photos[index] for target in line.targets(partial(line.draw, photo))]

    def targets(self, index: int) -> list[Target]:
        """All sentences about a photo; the words that say what is meant are its categories."""
        return [target for line in self.photos[index] for target in line.targets(line.draw)]


def find_faults(folder: str | Path, split: str) -> Iterator[str]:
    """Reads every line with its photo and mask, and yields what is wrong with each bad one."""
    for where, text in numbered_lines(Path(folder), split):
        try:
            read_line(Path(folder), text, where).draw()
        except ValueError as error:
            yield str(error)


def find_splits(folder: str | Path) -> list[str]:
    """Returns the names of the splits that a folder holds, in alphabetical order."""
    return sorted(path.stem for path in Path(folder).glob("*.jsonl"))


def numbered_lines(folder: Path, split: str) -> Iterator[tuple[str, str]]:
    """Yields where each line of a split stands, and the line; empty ones are passed over.

    Raises:
        FileNotFoundError: the folder has no such split.
        ValueError: the file is not UTF-8, or has no lines.
    """
    path = folder / f"{split}.jsonl"
    if not path.is_file():
        found = ", ".join(find_splits(folder)) or "none"
        raise FileNotFoundError(f"'{path}' does not exist: the splits in '{folder}' are {found}")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"'{path}' is not UTF-8 text ({error}): save it as such") from None
    numbered = [(f"{path}:{number}", line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbered:
        raise ValueError(f"'{path}' is empty: write one JSON object on each line")
    yield from numbered


def read_line(folder: Path, text: str, where: str) -> Line:
    """Reads one line without opening its files.

    Raises:
        ValueError: it is not of this layout; says what to write instead.
    """
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not JSON ({error}): write one object on each line") from None
    if not isinstance(record, dict):
        raise ValueError(f'{where}: {quoted(record)} is no object: write {{"image": ..., "text": ..., "mask": ...}}')
    unknown, missing = sorted(set(record) - FIELDS), sorted(FIELDS - {"semantic"} - set(record))
    if unknown or missing:
        fault = f"{quoted(unknown[0])} is unknown" if unknown else f"'{missing[0]}' is missing"
        raise ValueError(f"{where}: {fault}: the fields are image, text, mask and, where you like, semantic")
    semantic = record.get("semantic", False)
    if not isinstance(semantic, bool):
        raise ValueError(f"{where}: semantic is {quoted(semantic)}: write true or false")
    return Line(
        where=where,
        photo=inside(folder, record["image"], where),
        sentences=_sentences(record["text"], where),
        mask=_mask(folder, record["mask"], where),
        semantic=semantic,
    )


def _sentences(text: Any, where: str) -> list[str]:
    sentences = text if isinstance(text, list) else [text]
    if not sentences or not all(isinstance(sentence, str) and sentence.strip() for sentence in sentences):
        raise ValueError(f"{where}: text is {quoted(text)}: write a sentence with words, or a list of such")
    return sentences


def _mask(folder: Path, mask: Any, where: str) -> list | dict | Path | None:
    if isinstance(mask, str):
        return inside(folder, mask, where)
    if mask == []:
        raise ValueError(f"{where}: mask has no polygons: write null if nothing in the photo is meant")
    if isinstance(mask, list) and isinstance(mask[0], int | float):
        return [mask]  # a single polygon
    if mask is None or isinstance(mask, list | dict):
        return mask
    raise ValueError(f"{where}: mask is {quoted(mask)}: write polygons, run lengths, the path of a PNG, or null")
