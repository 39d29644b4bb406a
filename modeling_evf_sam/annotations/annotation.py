"""What a data set says of a photo: masks with labels, of which the doubtful and the doubled are left out."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from modeling_evf_sam.inference.instances import OVERLAP

PARTS = ("rle", "box", "area", "score")  # what an answer and an instance both have


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """One object, or all of a kind.

    Attributes:
        label: what it is.
        rle: its mask as COCO's run lengths {"size": [H, W], "counts": text}.
        box: x0, y0, x1, y1 in photo pixels, the last two exclusive.
        area: pixels of the mask.
        score: the model's own estimate of the mask's IoU.
    """

    label: str
    rle: dict[str, Any]
    box: list[float]
    area: int
    score: float

    @property
    def mask(self) -> np.ndarray:
        """(H, W) bool."""
        return coco_mask.decode(self.rle).astype(bool)


@dataclass(frozen=True, kw_only=True)
class AnnotatedPhoto:
    """A photo with what is to be seen on it.

    Attributes:
        file: of the photo.
        name: what data sets call it: a path with slashes.
        size: its height and width.
        annotations: surest first.
    """

    file: Path
    name: str
    size: tuple[int, int]
    annotations: list[Annotation]


@dataclass(frozen=True, kw_only=True)
class Least:
    """What an answer must have at the least to become an annotation; what a checkpoint does not say counts as enough.

    Attributes:
        presence: how sure it is that it is there, from 0 to 1.
        quality: the IoU to be expected, from 0 to 1.
        area: pixels.
    """

    presence: float = 0.0
    quality: float = 0.0
    area: int = 1

    def admits(self, answer: Mapping[str, Any]) -> bool:
        """Whether an answer, as `Segmentation.record` has them, is sure enough."""
        return all(
            answer.get(name) is None or answer[name] >= least
            for name, least in (("presence", self.presence), ("quality", self.quality))
        )


def annotate(answers: Iterable[Mapping[str, Any]], least: Least) -> list[Annotation]:
    """The annotations of one photo, surest first; of those with one label on the same pixels the surest alone.

    Args:
        answers: with sentence, score, box, area and rle, as `Segmentation.record` has them; `label` is used in the
            place of the sentence where there is one, and `instances` in the place of the whole.
        least: what is left out.
    """
    found = [
        Annotation(label=answer.get("label") or answer["sentence"], **{name: part[name] for name in PARTS})
        for answer in answers
        if least.admits(answer)
        for part in answer.get("instances") or [answer]
        if part["area"] >= max(1, least.area)
    ]
    kept: list[Annotation] = []
    for annotation in sorted(found, key=lambda one: -one.score):
        same = [other.rle for other in kept if other.label == annotation.label]
        if not same or coco_mask.iou([annotation.rle], same, [0] * len(same)).max() <= OVERLAP:
            kept.append(annotation)
    return kept


def annotated(records: Sequence[Mapping[str, Any]], least: Least) -> list[AnnotatedPhoto]:
    """Photos that `Segmentation.record` speaks of, by paths; they are named from their common folder."""
    files = [Path(record["photo"]) for record in records]
    root = Path(os.path.commonpath([file.absolute().parent for file in files])) if files else Path()
    return [
        AnnotatedPhoto(
            file=file,
            name=file.absolute().relative_to(root).as_posix(),
            size=(record["height"], record["width"]),
            annotations=annotate(record["masks"], least),
        )
        for file, record in zip(files, records, strict=True)
    ]


def own_file(folder: Path, photo: AnnotatedPhoto, suffix: str) -> Path:
    """Where a file about a photo goes: its name below a folder, with another suffix.

    Raises:
        ValueError: another photo's file is there.
    """
    parts = [part for part in PurePosixPath(photo.name).parts if part not in ("/", "..")]
    file = folder.joinpath(*parts).with_suffix(suffix)
    if file.exists():
        raise ValueError(f"two photos are called '{photo.name}', but for the suffix: rename one of them")
    file.parent.mkdir(parents=True, exist_ok=True)
    return file
