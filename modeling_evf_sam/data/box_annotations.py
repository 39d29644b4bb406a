"""Masks for annotations that have boxes alone, as the paper made those of Objects365 (appendix A.2).

The work can be split into shards, and each can be stopped and started again: DIR/masks-K-of-N.jsonl holds a line for
each photo that shard K is done with, after a first line that says what the masks are made of.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from modeling_evf_sam.data.files import entries, inside, open_sized_photo, read_json
from modeling_evf_sam.data.segmentations import run_lengths
from modeling_evf_sam.quoting import quoted

Segment = Callable[[Image.Image, Sequence[Sequence[float]]], tuple[np.ndarray, list[float]]]


class BoxAnnotations:
    """A COCO file with boxes; those annotations that have a mask already keep it.

    Args:
        file: JSON with images, annotations and, perhaps, more.
        photos: the folder that `file_name` starts from.

    Raises:
        FileNotFoundError, ValueError: the file is missing or of another layout; names the entry.
    """

    def __init__(self, file: str | Path, photos: str | Path) -> None:
        self.file, self.folder = Path(file), Path(photos)
        self.record = read_json(self.file)
        fields = {"id": int, "file_name": str, "height": int, "width": int}
        self.images = {image["id"]: image for image in entries(self.file, self.record, "images", fields)}
        self.boxes: dict[int, list[dict[str, Any]]] = {}
        annotations = entries(self.file, self.record, "annotations", {"id": int, "image_id": int})
        for index, entry in enumerate(annotations):
            where = f"'{self.file}', annotations[{index}]"
            if entry["image_id"] not in self.images:
                raise ValueError(f"{where} is about an image that is not there")
            if not entry.get("segmentation"):
                _check_box(where, entry.get("bbox"))
                self.boxes.setdefault(entry["image_id"], []).append(entry)

    def segment(self, image_id: int, segment: Segment) -> dict[str, Any]:
        """The line of one photo: the masks of its boxes by annotation id; or what is wrong with the photo."""
        image, boxes = self.images[image_id], self.boxes[image_id]
        where = f"'{self.file}', image {image_id}"
        try:
            path = inside(self.folder, image["file_name"], where)
            photo = open_sized_photo(path, (image["height"], image["width"]), where)
        except (ValueError, OSError) as error:
            return {"image_id": image_id, "error": str(error)}
        masks, scores = segment(photo, [_corners(entry["bbox"]) for entry in boxes])
        found = zip(boxes, masks, scores, strict=True)
        return {"image_id": image_id, "masks": {entry["id"]: _mask_entry(mask, s) for entry, mask, s in found}}

    def with_masks(self, lines: dict[int, dict[str, Any]]) -> dict[str, Any]:
        """The whole record with the masks of the lines, without the photos that are bad."""
        bad = {image_id for image_id, line in lines.items() if "error" in line}
        masks = {int(key): mask for line in lines.values() for key, mask in line.get("masks", {}).items()}
        return {
            **self.record,
            "images": [image for image in self.record["images"] if image["id"] not in bad],
            "annotations": [
                {**entry, **masks.get(entry["id"], {})}
                for entry in self.record["annotations"]
                if entry["image_id"] not in bad
            ],
        }


class MaskShards:
    """The masks that are done: the files of all shards in one folder.

    Args:
        folder: made when it does not exist.
        source: what the masks are made of, for the first line of each file.
        annotations: the file must speak of its photos alone.

    Raises:
        ValueError: the folder holds masks that were made of something else.
    """

    def __init__(self, folder: Path, source: dict[str, Any], annotations: BoxAnnotations) -> None:
        self.folder, self.source, self.annotations = folder, source, annotations
        folder.mkdir(parents=True, exist_ok=True)
        self.read()

    def read(self) -> dict[int, dict[str, Any]]:
        """The lines of all shards by image id; of two about one photo, one without an error."""
        lines: dict[int, dict[str, Any]] = {}
        for path in sorted(self.folder.glob("masks-*-of-*.jsonl")):
            head, *rest = _whole_lines(path) or [self.source]
            if head != self.source:
                raise ValueError(f"'{path}' was made of {head}, not of {self.source}: choose another folder")
            for line in rest:
                if "error" not in lines.get(line["image_id"], {"error": ""}):
                    continue
                lines[line["image_id"]] = line
        return lines

    def run(
        self,
        segment: Segment,
        *,
        shard: int = 0,
        shards: int = 1,
        progress: Callable[[Sequence[int]], Iterable[int]] = iter,
    ) -> None:
        """Works off the photos of a shard that have no masks yet; those that were bad are tried again."""
        lines = self.read()
        todo = [
            image_id
            for image_id in list(self.annotations.boxes)[shard::shards]
            if "masks" not in lines.get(image_id, {})
        ]
        path = self.folder / f"masks-{shard}-of-{shards}.jsonl"
        _drop_torn_line(path)
        with path.open("a", encoding="utf-8") as file:
            if not path.stat().st_size:
                _append(file, self.source)
            for image_id in progress(todo):
                _append(file, self.annotations.segment(image_id, segment))


def _append(file: Any, record: dict[str, Any]) -> None:
    file.write(json.dumps(record) + "\n")
    file.flush()


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a file, without a last one that a killed process has not finished."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def _drop_torn_line(path: Path) -> None:
    if path.exists():
        with path.open("rb+") as file:
            file.truncate(file.read().rfind(b"\n") + 1)


def _check_box(where: str, box: Any) -> None:
    numbers = box if isinstance(box, list) and len(box) == 4 else []
    if not numbers or not all(isinstance(n, int | float) and isfinite(n) for n in numbers) or min(numbers[2:]) <= 0:
        raise ValueError(f"{where}: 'bbox' must be x, y, width and height in pixels, not {quoted(box)}")


def _corners(box: list[float]) -> list[float]:
    x, y, width, height = box
    return [x, y, x + width, y + height]


def _mask_entry(mask: np.ndarray, score: float) -> dict[str, Any]:
    return {
        "segmentation": run_lengths(mask),
        "area": int(mask.sum()),
        "score": round(score, 4),
    }
