"""YOLO's segmentation: a text file of polygons for each photo, and data.yaml."""

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from modeling_evf_sam.annotations.annotation import AnnotatedPhoto, Annotation, own_file
from modeling_evf_sam.inference.polygons import outlines


def write_yolo(photos: Iterable[AnnotatedPhoto], labels: Sequence[str], folder: Path) -> None:
    """Writes data.yaml, labels/NAME.txt and images/NAME.

    A line is the number of a label, counted from 0, and the corners x y of an outline, as parts of the photo's width
    and height. One outline goes around all parts of a mask, and from one to the next on a line without area; holes are
    lost. Photos are linked where the disk allows it, and copied elsewhere.
    """
    numbers = {label: index for index, label in enumerate(labels)}
    for photo in photos:
        lines = [f"{numbers[one.label]} {_corners(one, photo.size)}\n" for one in photo.annotations]
        own_file(folder / "labels", photo, ".txt").write_text("".join(lines), encoding="utf-8")
        link(photo.file, own_file(folder / "images", photo, photo.file.suffix))
    data = {"train": "images", "val": "images", "names": dict(enumerate(labels))}  # below the folder of this file
    (folder / "data.yaml").write_text(yaml.safe_dump(data, allow_unicode=True, sort_keys=False), encoding="utf-8")


def _corners(annotation: Annotation, size: tuple[int, int]) -> str:
    height, width = size
    outline = one_outline(outlines(annotation.mask))
    return " ".join(f"{x / width:.6g} {y / height:.6g}" for x, y in outline)


def one_outline(rings: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """Joins outlines [x0, y0, x1, y1, ...] to one: around the first, on to the next one's start, and all the way back.

    The ways there and back lie on each other, so that they have no area.
    """
    corners = [list(zip(ring[::2], ring[1::2], strict=True)) for ring in rings]
    if len(corners) == 1:
        return corners[0]
    around = [corner for ring in corners for corner in [*ring, ring[0]]]
    return around + [ring[0] for ring in corners[-2::-1]]


def link(source: Path, target: Path) -> None:
    """Puts a file in a second place: without a copy where the disk allows it."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
