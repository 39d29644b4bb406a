"""Photos with a PNG of the same size that holds the index of a category for each pixel."""

import re
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from modeling_evf_sam.data.files import read_json, read_map, refuse_pipe
from modeling_evf_sam.data.referring_dataset import ReferringDataset, Target
from modeling_evf_sam.photos import open_photo

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png")
NO_CATEGORY = (0, 255)  # indices that need no label
LABEL_FILES = ("labels.txt", "classes.json", "ade20k_classes.json")

HUMAN_PARSING_LABELS = dict(
    enumerate(
        "background hat hair sunglasses upper-clothes skirt pants dress belt left-shoe right-shoe face left-leg "
        "right-leg left-arm right-arm bag scarf".split()
    )
)


class IndexMapDataset(ReferringDataset):
    """Item i is photo i with a `[semantic]` prompt for each category in its map (paper, section 3.3).

    Args:
        photos: folder of the photos.
        maps: folder of the PNGs, each with the name of its photo.
        labels: index -> name of a category; pixels of 0 and 255 may be without one and then belong to nothing.

    Raises:
        FileNotFoundError, ValueError: there are no maps, or one has no photo.
    """

    def __init__(self, photos: str | Path, maps: str | Path, labels: dict[int, str]) -> None:
        self.labels = labels
        found = {path.stem: path for path in _files(Path(photos)) if path.suffix.lower() in PHOTO_SUFFIXES}
        self.maps = [path for path in _files(Path(maps)) if path.suffix.lower() == ".png"]
        if not self.maps:
            raise ValueError(f"'{maps}' holds no PNG: give the folder of the label maps")
        for path in self.maps:
            if path.stem not in found:
                raise FileNotFoundError(f"'{path}' has no photo of the same name in '{photos}'")
        self.photos = [found[path.stem] for path in self.maps]

    def __len__(self) -> int:
        return len(self.maps)

    def photo_name(self, index: int) -> str:
        """The name of the file."""
        return self.photos[index].name

    def read(self, index: int) -> tuple[Image.Image, list[Target]]:
        """Opens a photo with the names of the categories in its map; there may be none."""
        photo = open_photo(self.photos[index])
        indices = read_map(self.maps[index], photo)
        present = np.unique(indices).tolist()
        unknown = [value for value in present if value not in self.labels and value not in NO_CATEGORY]
        if unknown:
            raise ValueError(f"'{self.maps[index]}' holds the index {unknown[0]}, which has no label")
        return photo, [
            Target(
                sentence=self.labels[value],
                draw=partial(np.equal, indices, value),
                semantic=True,
                kind=self.labels[value],
                categories=frozenset([self.labels[value]]),
            )
            for value in present
            if value in self.labels
        ]


def open_scene_parsing(root: str | Path, split: str) -> IndexMapDataset:
    """Opens a dataset in the layout of ADE20K: images/SPLIT, annotations/SPLIT, and one of `LABEL_FILES`.

    Raises:
        FileNotFoundError, ValueError: a part of it is missing or wrong.
    """
    root = Path(root)
    for name in LABEL_FILES:
        if (root / name).is_file():
            labels = read_labels(root / name)
            return IndexMapDataset(root / "images" / split, root / "annotations" / split, labels)
    raise FileNotFoundError(f"'{root}' has no file of labels: one of {', '.join(LABEL_FILES)} must be there")


def open_human_parsing(root: str | Path) -> IndexMapDataset:
    """Opens the human parsing dataset (ATR) with the paper's prompts: sides as the viewer sees them, and hyphens gone.

    The dataset says "left" for the person's left, referring expressions for the viewer's.
    """
    root = Path(root)
    labels = {index: viewer_side(name).replace("-", " ") for index, name in HUMAN_PARSING_LABELS.items()}
    return IndexMapDataset(root / "JPEGImages", root / "SegmentationClassAug", labels)


def viewer_side(name: str) -> str:
    """Exchanges the words left and right."""
    return re.sub(r"\b(left|right)\b", lambda word: {"left": "right", "right": "left"}[word[0]], name)


def read_labels(path: Path) -> dict[int, str]:
    """Reads index -> name: lines of an index, a tab and a name; or a JSON list, whose first name has the index 1.

    Raises:
        ValueError: a line is neither, or a name is missing.
    """
    refuse_pipe(path, "file", "the names of categories")
    if path.suffix == ".json":
        names = read_json(path)
        if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
            raise ValueError(f"'{path}' is no list of names")
        return dict(enumerate(names, start=1))
    labels = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        index, _, name = line.partition("\t")
        if not index.strip().isdecimal() or not name.strip():
            raise ValueError(f"{path}:{number}: '{line:.40}' is not an index, a tab and a name")
        labels[int(index)] = name.strip()
    labels.pop(0, None)  # the name that such files give to the absence of a category
    return labels


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"folder '{folder}' does not exist: check the path of the dataset and the split")
    return sorted(folder.iterdir())
