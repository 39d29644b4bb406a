"""What was found in one photo: masks with their sentences, scores and boxes, and what becomes of them.

P sentences, H and W the sides of the photo.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from modeling_evf_sam.data.segmentations import run_lengths
from modeling_evf_sam.extras import require
from modeling_evf_sam.files import whole_folder, write_json
from modeling_evf_sam.inference.arrays import as_numpy
from modeling_evf_sam.inference.components import pixel_edges
from modeling_evf_sam.inference.drawing import attention_figure, index_picture, overlay
from modeling_evf_sam.inference.instances import Instance, instance_map
from modeling_evf_sam.inference.label_maps import LABELS, LEGEND, LabelMap
from modeling_evf_sam.inference.polygons import outlines

OVERLAY, ATTENTION, RECORD = "overlay.png", "attention.png", "result.json"
UNFINISHED = ".evf-sam-pictures.json"  # names all pictures while some of them are replaced


@dataclass(frozen=True, kw_only=True, eq=False)
class Segmentation:
    """What sentences name in one photo.

    Attributes:
        photo_size: (H, W).
        sentences: P of them.
        masks: (P, H, W) bool.
        scores: (P,) the model's own estimate of each mask's IoU.
        boxes: (P, 4) the masks' pixel edges x0, y0, x1, y1, the last two exclusive; zeros for an empty mask.
        quality: (P,) the IoU that such scores turned out to mean, or None where the checkpoint does not know.
        presence: (P,) how sure it is that the photo shows it, from 0 to 1; None without a presence head.
        present: (P,) bool: whether it is taken to be there; the masks of others are empty. None without such a head.
        semantic: P flags: whether every pixel of a category was asked for, not one object.
        instances: for each sentence its objects, those with the largest masks first; or None.
        label_map: which sentence is surest of each pixel; or None.
        attention: (P, g, g) where the encoder looked, as `attention_maps` gives it; or None.
        warning: one line about what the checkpoint cannot do, or None.
    """

    photo_size: tuple[int, int]
    sentences: list[str]
    masks: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray
    semantic: list[bool]
    quality: np.ndarray | None = None
    presence: np.ndarray | None = None
    present: np.ndarray | None = None
    instances: list[list[Instance]] | None = None
    label_map: LabelMap | None = None
    attention: np.ndarray | None = None
    warning: str | None = None

    @classmethod
    def from_tensors(
        cls, result: Mapping[str, Any], sentences: Sequence[str], semantic: bool | Sequence[bool], **more: Any
    ) -> "Segmentation":
        """Brings what `segmenting.predict` says of one photo to the CPU.

        Args:
            result: masks (P, H, W), scores (P,) and boxes (P, 4), and quality, presence and present (P,), instances
                and label_map (H, W) where there are such, on any device.
            sentences: P of them.
            semantic: one flag for all sentences, or P.
            **more: attention and warning.
        """
        values: dict[str, Any] = {name: as_numpy(value) for name, value in result.items()}
        if "label_map" in values:
            values["label_map"] = LabelMap(indices=values["label_map"], categories=list(sentences))
        return cls(
            photo_size=values["masks"].shape[1:],
            sentences=list(sentences),
            semantic=[semantic] * len(sentences) if isinstance(semantic, bool) else [bool(flag) for flag in semantic],
            **values,
            **more,
        )

    def rle(self) -> list[dict[str, Any]]:
        """Each mask as COCO's run lengths {"size": [H, W], "counts": text}."""
        return [run_lengths(mask) for mask in self.masks]

    def polygons(self) -> list[list[list[float]]]:
        """Each mask as COCO's polygons: for each connected part its outline [x0, y0, x1, y1, ...] in photo pixels.

        Outlines run along the pixels' edges. Holes are not cut out of them: `rle` has these.
        """
        return [outlines(mask) for mask in self.masks]

    def record(self, *, name: str = "", model: str = "") -> dict[str, Any]:
        """What there is to say, ready for JSON.

        Args:
            name: what the record calls the photo, such as its path.
            model: what it calls the checkpoint.

        Returns:
            photo, width, height, model; a `warning` where there is one; and `masks`, with sentence, score, box, area
            in pixels, run lengths and `semantic` of each, and quality, presence and `present` where the model has
            them; and `instances` where they were asked for, with score, box, area and run lengths of each.
        """
        columns = {
            "sentence": self.sentences,
            "score": self.scores.tolist(),
            **self.estimates(),
            "box": self.boxes.tolist(),
            "area": self.masks.sum((1, 2)).tolist(),
            "rle": self.rle(),
            "semantic": self.semantic,
        }
        if self.instances is not None:
            columns["instances"] = [[instance.record() for instance in own] for own in self.instances]
        masks = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        height, width = self.photo_size
        warning = {} if self.warning is None else {"warning": self.warning}
        return {"photo": name, "width": width, "height": height, "model": model, **warning, "masks": masks}

    def estimates(self) -> dict[str, list]:
        """What the model estimates besides scores: quality, presence and present, each P long, where it has them."""
        known = {"quality": self.quality, "presence": self.presence, "present": self.present}
        return {name: values.tolist() for name, values in known.items() if values is not None}

    def plot(self, photo: Image.Image) -> Image.Image:
        """The photo with all masks, or all instances where there are such, as `drawing.overlay` draws them."""
        present = [True] * len(self.sentences) if self.present is None else self.present
        drawn = self.parts()
        names = [part.name if present[part.sentence] else f"{part.name}: not there" for part in drawn]
        masks = np.array([part.mask for part in drawn]).reshape(-1, *self.photo_size)
        return overlay(photo, masks, names, [part.score for part in drawn], note=self.warning)

    def parts(self) -> list["Part"]:
        """What there is to draw: each sentence's instances, or its whole mask where it has none."""
        columns = (range(len(self.sentences)), self.masks, self.sentences, self.scores.tolist())
        whole = [Part(*row) for row in zip(*columns, strict=True)]
        if self.instances is None:
            return whole
        return [part for answer, own in zip(whole, self.instances, strict=True) for part in answer.parted(own)]

    def to_supervision(self) -> Any:
        """`supervision.Detections` of what was found: `parts` that are not empty.

        `class_id` is the number of the sentence, counted from 0, and `data["class_name"]` its name.

        Raises:
            ValueError: supervision is missing.
        """
        require("supervision", extra="supervision", what="to_supervision")
        import supervision

        parts = [part for part in self.parts() if part.mask.any()]
        masks = np.array([part.mask for part in parts], dtype=bool).reshape(-1, *self.photo_size)
        return supervision.Detections(
            xyxy=np.array([pixel_edges(mask) for mask in masks], dtype=np.float32).reshape(-1, 4),
            mask=masks,
            confidence=np.array([part.score for part in parts], dtype=np.float32),
            class_id=np.array([part.sentence for part in parts], dtype=int),
            data={"class_name": np.array([self.sentences[part.sentence] for part in parts], dtype=str)},
        )

    def to_transformers(self) -> dict[str, Any]:
        """What transformers' `post_process_instance_segmentation(..., return_binary_maps=True)` gives, by torch.

        Returns:
            segmentation (N, H, W) of the N `parts` that are not empty, and `segments_info`, with id, label_id (the
            number of the sentence, counted from 0), was_fused and score of each.
        """
        import torch

        parts = [part for part in self.parts() if part.mask.any()]
        masks = np.array([part.mask for part in parts], dtype=np.uint8).reshape(-1, *self.photo_size)
        infos = [
            {"id": index, "label_id": part.sentence, "was_fused": False, "score": part.score}
            for index, part in enumerate(parts)
        ]
        return {"segmentation": torch.from_numpy(masks), "segments_info": infos}

    def save(self, folder: str | Path, photo: Image.Image, *, name: str = "", model: str = "") -> dict[str, Any]:
        """Writes a mask file for each sentence, overlay.png and result.json, and what else there is.

        What is taken not to be in the photo gets no mask file. Instances make a map beside each mask file, whose
        pixels are the number of the instance, the smaller one's where two overlap, and 0 outside. A label map becomes
        labels.png and labels_legend.png, as `LabelMap.save` writes them, and attention attention.png.

        Args:
            folder: made where it does not exist. Pictures that a former call wrote there go; other files stay.
            photo: what was segmented.
            name: what the record calls the photo, such as its path.
            model: what it calls the checkpoint.

        Returns:
            The content of result.json: the record, with the `file` of each mask that has one, its `instances_file`,
            and the name of the `label_map`, where there are such.

        Raises:
            ValueError: nothing can be written there.
        """
        folder, record = Path(folder), self.record(name=name, model=model)
        former = _pictures_of(folder)
        with whole_folder(folder) as staging:
            for index, entry in enumerate(record["masks"]):
                if entry.get("present", True):
                    entry |= self._write_masks(index, staging)
            self.plot(photo).save(staging / OVERLAY)
            if self.label_map is not None:
                self.label_map.write(staging, photo)
                record["label_map"] = LABELS
            if self.attention is not None:
                attention_figure(photo, self.sentences, self.attention, self.masks).save(staging / ATTENTION)
            write_json(record, staging / RECORD)
            written = {file.name for file in staging.iterdir()}
            if folder.exists():  # while its pictures change, there is no record of them; it comes last
                write_json({"pictures": sorted(former | written)}, folder / UNFINISHED)
                (folder / RECORD).unlink(missing_ok=True)
        for name in former - written:
            (folder / name).unlink(missing_ok=True)
        (folder / UNFINISHED).unlink(missing_ok=True)
        return record

    def _write_masks(self, index: int, folder: Path) -> dict[str, str]:
        """Writes a sentence's mask and the map of its instances: what its entry in the record says of these files."""
        stem = f"{index + 1:02d}_{_slug(self.sentences[index])}"
        files = {"file": f"{stem}.png"}
        Image.fromarray(self.masks[index].astype(np.uint8) * 255).save(folder / files["file"])
        if self.instances is not None:
            files["instances_file"] = f"{stem}_instances.png"
            index_picture(instance_map(self.instances[index], self.photo_size)).save(folder / files["instances_file"])
        return files


class Part(NamedTuple):
    """One mask (H, W) of a picture: the number of its sentence, counted from 0, what it is called, and its score."""

    sentence: int
    mask: np.ndarray
    name: str
    score: float

    def parted(self, instances: Sequence[Instance]) -> list["Part"]:
        """Its instances, numbered where there are several; itself where there are none."""
        names = (
            [self.name] if len(instances) == 1 else [f"{self.name} {number + 1}" for number in range(len(instances))]
        )
        own = [Part(self.sentence, one.mask, name, one.score) for one, name in zip(instances, names, strict=True)]
        return own or [self]


def _pictures_of(folder: Path) -> set[str]:
    """Names of the pictures that former calls wrote into a folder, also one that was stopped there."""
    record, unfinished = (_read(folder / name) for name in (RECORD, UNFINISHED))
    if not (record or unfinished):
        return set()
    try:
        named = [entry[key] for entry in record.get("masks", []) for key in ("file", "instances_file") if key in entry]
        names = {Path(name).name for name in [*named, *unfinished.get("pictures", [])]}
    except (TypeError, AttributeError):  # not one of ours
        return set()
    return {ATTENTION, LABELS, LEGEND, *(name for name in names if name.endswith(".png"))}


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}


def _slug(sentence: str) -> str:
    """A short name for files: ASCII letters, digits and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", sentence.lower())[:40].strip("_") or "mask"
