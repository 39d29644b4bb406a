"""What was found in one photo: masks with their sentences, scores and boxes, and what becomes of them.

P sentences, H and W the sides of the photo.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from modeling_evf_sam.data.segmentations import run_lengths
from modeling_evf_sam.files import whole_folder, write_json
from modeling_evf_sam.inference.drawing import attention_figure, overlay
from modeling_evf_sam.inference.polygons import outlines

OVERLAY, ATTENTION, RECORD = "overlay.png", "attention.png", "result.json"


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
    attention: np.ndarray | None = None
    warning: str | None = None

    @classmethod
    def from_tensors(
        cls, result: Mapping[str, Tensor], sentences: Sequence[str], semantic: bool | Sequence[bool], **more: Any
    ) -> "Segmentation":
        """Brings one photo's entry of `EvfSamProcessor.post_process_referring_segmentation` to the CPU.

        Args:
            result: masks (P, H, W), scores (P,) and boxes (P, 4), and quality, presence and present (P,) where there
                are such, on any device.
            sentences: P of them.
            semantic: one flag for all sentences, or P.
            **more: attention and warning.
        """
        values: dict[str, Any] = {name: tensor.cpu().numpy() for name, tensor in result.items()}
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
            them.
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
        masks = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        height, width = self.photo_size
        warning = {} if self.warning is None else {"warning": self.warning}
        return {"photo": name, "width": width, "height": height, "model": model, **warning, "masks": masks}

    def estimates(self) -> dict[str, list]:
        """What the model estimates besides scores: quality, presence and present, each P long, where it has them."""
        known = {"quality": self.quality, "presence": self.presence, "present": self.present}
        return {name: values.tolist() for name, values in known.items() if values is not None}

    def plot(self, photo: Image.Image) -> Image.Image:
        """The photo with all masks, as `drawing.overlay` draws them."""
        return overlay(photo, self.masks, self.sentences, self.scores.tolist(), note=self.warning)

    def save(self, folder: str | Path, photo: Image.Image, *, name: str = "", model: str = "") -> dict[str, Any]:
        """Writes a mask file for each sentence, overlay.png, attention.png where there are maps, and result.json.

        What is taken not to be in the photo gets no mask file.

        Args:
            folder: made where it does not exist. Pictures that a former call wrote there go; other files stay.
            photo: what was segmented.
            name: what the record calls the photo, such as its path.
            model: what it calls the checkpoint.

        Returns:
            The content of result.json: the record, and the `file` of each mask that has one.

        Raises:
            ValueError: nothing can be written there.
        """
        folder, record = Path(folder), self.record(name=name, model=model)
        former = _pictures_of(folder / RECORD)
        with whole_folder(folder) as staging:
            for number, (entry, mask) in enumerate(zip(record["masks"], self.masks, strict=True), start=1):
                if entry.get("present", True):
                    entry["file"] = f"{number:02d}_{_slug(entry['sentence'])}.png"
                    Image.fromarray(mask.astype(np.uint8) * 255).save(staging / entry["file"])
            self.plot(photo).save(staging / OVERLAY)
            if self.attention is not None:
                attention_figure(photo, self.sentences, self.attention, self.masks).save(staging / ATTENTION)
            write_json(record, staging / RECORD)
            written = {file.name for file in staging.iterdir()}
        for name in former - written:
            (folder / name).unlink(missing_ok=True)
        return record


def _pictures_of(record: Path) -> set[str]:
    """Names of the pictures that a former call wrote beside its record."""
    try:
        masks = json.loads(record.read_bytes())["masks"]
        names = {Path(entry["file"]).name for entry in masks if "file" in entry}
    except (OSError, ValueError, KeyError, TypeError):  # none, or not one of ours
        return set()
    return {ATTENTION, *(name for name in names if name.endswith(".png"))}


def _slug(sentence: str) -> str:
    """A short name for files: ASCII letters, digits and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", sentence.lower())[:40].strip("_") or "mask"
