"""COCO: one JSON file of photos, categories and masks."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from modeling_evf_sam.annotations.annotation import AnnotatedPhoto
from modeling_evf_sam.annotations.json_list import write_list
from modeling_evf_sam.inference.polygons import outlines


def write_coco(photos: Iterable[AnnotatedPhoto], labels: Sequence[str], folder: Path, *, polygons: bool) -> None:
    """Writes annotations.json, photo after photo, so that it may be larger than memory.

    Args:
        photos: gone through twice, in the same order.
        labels: the categories, whose ids count from 1.
        folder: where the file goes; `file_name` in it is the photo's name.
        polygons: outlines, without holes, in the place of run lengths.
    """
    categories = [{"id": index, "name": label} for index, label in enumerate(labels, start=1)]
    with (folder / "annotations.json").open("w", encoding="utf-8") as file:
        file.write(f'{{"categories": {json.dumps(categories, ensure_ascii=False)},\n"images": ')
        write_list(file, map(_image, count(1), photos))
        file.write(',\n"annotations": ')
        numbers = {label: index for index, label in enumerate(labels, start=1)}
        write_list(file, _annotations(photos, numbers, polygons))
        file.write("}\n")


def _image(index: int, photo: AnnotatedPhoto) -> dict[str, Any]:
    height, width = photo.size
    return {"id": index, "file_name": photo.name, "width": width, "height": height}


def _annotations(
    photos: Iterable[AnnotatedPhoto], numbers: dict[str, int], polygons: bool
) -> Iterator[dict[str, Any]]:
    ids = count(1)
    for image, photo in enumerate(photos, start=1):
        for annotation in photo.annotations:
            x0, y0, x1, y1 = annotation.box
            yield {
                "id": next(ids),
                "image_id": image,
                "category_id": numbers[annotation.label],
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": annotation.area,
                "iscrowd": 0,
                "score": annotation.score,
                "segmentation": outlines(annotation.mask) if polygons else annotation.rle,
            }
