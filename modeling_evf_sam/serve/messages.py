"""What clients send, and what they get."""

import base64
import binascii
import io
from typing import Annotated, Any, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from modeling_evf_sam.inference.polygons import outlines
from modeling_evf_sam.photos import decode_photo
from modeling_evf_sam.prompts_evf_sam import PRESENT_THRESHOLD
from modeling_evf_sam.serve.engine import Answer, Asked

MAX_SENTENCES, MAX_CHARACTERS, MAX_POINTS = 64, 300, 64
MAX_PIXELS = 25_000_000  # of a photo

Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_CHARACTERS)]
Number = Annotated[float, Field(allow_inf_nan=False, strict=True)]
Point = Annotated[list[Number], Field(min_length=2, max_length=2)]
Box = Annotated[list[Number], Field(min_length=4, max_length=4)]
Points = Annotated[list[Point], Field(max_length=MAX_POINTS)]
Flags = Annotated[list[Literal[0, 1]], Field(max_length=MAX_POINTS)]
Format = Literal["rle", "polygons", "png"]


class Message(BaseModel):
    """A body without anything unknown in it."""

    model_config = ConfigDict(extra="forbid")


class Photo(Message):
    """A photo: its content in base64, or the id of one that was sent to /photos."""

    base64: str | None = None
    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None


class Question(Message):
    """What to segment in a photo; lists have an entry, or null, for each sentence; coordinates are photo pixels."""

    sentences: Annotated[list[Sentence], Field(min_length=1, max_length=MAX_SENTENCES)]
    semantic: bool | list[bool] = False
    points: list[Points | None] | None = None
    point_labels: list[Flags | None] | None = None
    boxes: list[Box | None] | None = None
    exclude: list[list[Sentence] | None] | None = None
    instances: bool = False
    present_threshold: Annotated[float, Field(ge=0, le=1)] = PRESENT_THRESHOLD
    format: Format = "rle"

    def asked(self) -> Asked:
        """As the engine takes it.

        Raises:
            ValueError: a list that does not have as many entries as there are sentences.
        """
        count = len(self.sentences)
        points = _rows("points", self.points, count)
        labels = _rows("point_labels", self.point_labels, count)
        semantic = self.semantic if isinstance(self.semantic, list) else [self.semantic] * count
        return Asked(
            sentences=self.sentences,
            semantic=_rows("semantic", semantic, count),
            points=[row or [] for row in points],
            point_labels=[
                [1] * len(own or []) if row is None else row for own, row in zip(points, labels, strict=True)
            ],
            boxes=_rows("boxes", self.boxes, count),
            exclude=[row or [] for row in _rows("exclude", self.exclude, count)],
            instances=self.instances,
            present_threshold=self.present_threshold,
        )


class PhotoQuestion(Question):
    """A question with its photo."""

    photo: Photo


def _rows(name: str, values: list[Any] | None, count: int) -> list[Any]:
    if values is None:
        return [None] * count
    if len(values) != count:
        raise ValueError(f"{name} has {len(values)} entries: give one for each of the {count} sentences")
    return values


def decode_base64(text: str) -> Image.Image:
    """The photo of a text in base64, with or without a data URL's head; nothing is ever fetched from an address.

    Raises:
        ValueError: it is no base64, or no photo.
    """
    content = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return decode_photo(base64.b64decode(content, validate=True), max_pixels=MAX_PIXELS)
    except binascii.Error as error:
        raise ValueError(f"the photo is no base64 ({error})") from None


def describe(answer: Answer, format: Format) -> dict[str, Any]:
    """The record of what was found, with its masks in a format."""
    found = answer.found
    assert found is not None
    record = found.record()
    del record["photo"], record["model"]
    for mask, entry in zip(found.masks, record["masks"], strict=True):
        _write_mask(entry, mask, format)
    for own, entry in zip(found.instances or [], record["masks"], strict=False):
        for instance, part in zip(own, entry["instances"], strict=True):
            _write_mask(part, instance.mask, format)
    return {"photo_id": answer.photo_id, **record}


def _write_mask(entry: dict[str, Any], mask: np.ndarray, format: Format) -> None:
    if format == "polygons":
        entry["polygons"] = outlines(mask)
    if format == "png":
        file = io.BytesIO()
        Image.fromarray(mask).save(file, "PNG")
        entry["png"] = base64.b64encode(file.getvalue()).decode("ascii")
    if format != "rle":
        del entry["rle"]
