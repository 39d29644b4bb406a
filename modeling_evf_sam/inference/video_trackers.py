"""How the objects of one frame are segmented: with SAM-2's memory, or each frame as a photo of its own.

Shapes: P objects, H and W the sides of the frame, S the side of SAM's view.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from transformers.image_processing_utils import BatchFeature

from modeling_evf_sam.image_processing_evf_sam import EvfSamImageProcessor
from modeling_evf_sam.inference.segmenting import predict
from modeling_evf_sam.modeling_evf_sam import EvfSamModel
from modeling_evf_sam.modeling_evf_sam_video import EvfSamVideoModel, FrameEmbeddings, ObjectMemory
from modeling_evf_sam.processing_evf_sam import EvfSamProcessor
from modeling_evf_sam.prompts_evf_sam import PADDING


@dataclass
class Clicks:
    """Points and a box on one frame, in its pixels.

    Attributes:
        points: [x, y] each.
        labels: 1 (on the object) or 0 (beside it) for each point.
        box: [x0, y0, x1, y1], or None.
    """

    points: list[Sequence[float]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    box: Sequence[float] | None = None


@dataclass
class Task:
    """What is wanted of one object on one frame.

    Attributes:
        sentence: what it is.
        semantic: whether the sentence names a category, every pixel of which is meant.
        memory: what is known of it; a tracker changes it.
        asked: whether the sentence is to be read on this frame.
        clicks: points and a box on this frame.
    """

    sentence: str
    semantic: bool
    memory: ObjectMemory
    asked: bool
    clicks: Clicks | None = None


@dataclass
class Answers:
    """The objects of one frame.

    Attributes:
        masks: (P, H, W) bool.
        scores: (P,) SAM's own estimate of each mask's IoU.
        object_scores: (P,) above zero if the object is there; None where SAM does not tell.
    """

    masks: Tensor
    scores: Tensor
    object_scores: Tensor | None

    def replace_in(self, other: "Answers", row: int, place: int) -> bool:
        """Put answer `place` into row `row` of others, if its object is there; tells whether it is."""
        assert self.object_scores is not None and other.object_scores is not None
        if self.object_scores[place] <= 0:
            return False
        other.masks[row], other.scores[row] = self.masks[place], self.scores[place]
        other.object_scores[row] = self.object_scores[place]
        return True


class Tracker(Protocol):
    """Segments the objects of one frame."""

    def encode(self, frame: Image.Image) -> Any:
        """A frame as `segment` takes it, whatever the objects."""

    def segment(self, encoded: Any, index: int, step: int, tasks: Sequence[Task]) -> Answers:
        """Segment objects on an encoded frame; see `EvfSamVideoModel.segment_object` for `index` and `step`."""


class FrameByFrame:
    """Every frame is a photo: each sentence is read on it, and nothing is remembered."""

    def __init__(self, model: EvfSamModel, processor: EvfSamProcessor):
        self._model = model
        self._processor = processor

    def encode(self, frame: Image.Image) -> tuple[BatchFeature, Any]:
        """What the processor makes of a frame, without SAM's view, and the frame's embeddings."""
        inputs = self._processor(images=frame)
        view = inputs.pop("pixel_values").to(self._model.device)
        return inputs, self._model.get_image_embeddings(view)

    def segment(self, encoded: tuple[BatchFeature, Any], index: int, step: int, tasks: Sequence[Task]) -> Answers:
        """Segment the objects on an encoded frame."""
        photo, embeddings = encoded
        inputs = self._processor(images=photo, **_prompts(tasks))
        _, (result,) = predict(self._model, self._processor, inputs, image_embeddings=embeddings)
        return Answers(result["masks"], result["scores"], None)


class MemoryTracker:
    """The sentence is read where the task says so, and SAM-2's memory follows the object from there."""

    def __init__(self, model: EvfSamVideoModel, processor: EvfSamProcessor):
        self._model = model
        self._processor = processor

    def encode(self, frame: Image.Image) -> tuple[Image.Image, FrameEmbeddings]:
        """A frame and its embeddings."""
        view = frame_view(frame, self._processor.image_processor)[None].to(self._model.device)
        return frame, self._model.encode_frame(view)

    def segment(
        self, encoded: tuple[Image.Image, FrameEmbeddings], index: int, step: int, tasks: Sequence[Task]
    ) -> Answers:
        """Segment the objects on an encoded frame, and remember them."""
        frame, embeddings = encoded
        prompts = self._read(frame, tasks)
        found = [
            self._model.segment_object(embeddings, task.memory, index, step=step, **prompt)
            for task, prompt in zip(tasks, prompts, strict=True)
        ]
        size = (frame.height, frame.width)
        return Answers(
            masks=torch.cat([interpolate(mask.logits.float(), size, mode="bilinear")[0] > 0 for mask in found]),
            scores=torch.cat([mask.score for mask in found]).float(),
            object_scores=torch.cat([mask.object_score for mask in found]).float(),
        )

    def _read(self, frame: Image.Image, tasks: Sequence[Task]) -> list[dict[str, Any]]:
        """The prompts of each task, as `segment_object` takes them."""
        rows: list[dict[str, Any]] = [{} for _ in tasks]
        asked = [row for row, task in enumerate(tasks) if task.asked]
        told = [row for row, task in enumerate(tasks) if task.asked or task.clicks]
        if not told:
            return rows
        inputs = self._processor(images=frame, **_prompts([tasks[row] for row in told]))
        del inputs["pixel_values"]  # a photo's
        inputs = inputs.to(self._model.device)
        if asked:
            kept = [told.index(row) for row in asked]
            view = inputs.get("multimodal_pixel_values")
            ids, mask = inputs["input_ids"][:, kept], inputs["attention_mask"][:, kept]
            for row, token in zip(asked, self._model.get_prompt_embeddings(view, ids, mask)[0], strict=True):
                rows[row]["prompt_embeds"] = token[None]
        for place, row in enumerate(told):
            rows[row]["prompts"] = _spatial_prompts(inputs, place)
        return rows


def frame_view(frame: Image.Image, settings: EvfSamImageProcessor) -> Tensor:
    """SAM's view (3, S, S) of a frame of a film: stretched, and resized bicubically, unlike that of a photo.

    SAM-2 reads films so, and the original of EVF-SAM as well.
    """
    views = settings(frame, image_layout="stretch", resample=Image.Resampling.BICUBIC, multimodal_image_size=0)
    return views["pixel_values"][0]


def _prompts(tasks: Sequence[Task]) -> dict[str, Any]:
    """The processor's arguments for some tasks."""
    clicks = [task.clicks or Clicks() for task in tasks]
    return {
        "text": [task.sentence for task in tasks],
        "semantic": [task.semantic for task in tasks],
        "input_points": [each.points for each in clicks],
        "input_labels": [each.labels for each in clicks],
        "input_boxes": [each.box for each in clicks],
    }


def _spatial_prompts(inputs: BatchFeature, place: int) -> dict[str, Tensor]:
    """Points (1, n, 2), labels (1, n) and boxes (1, 4) of one sentence, where there are any."""
    prompts = {}
    if "input_points" in inputs:
        given = inputs["input_labels"][0, place] != PADDING
        if given.any():
            prompts["points"] = inputs["input_points"][:, place, given]
            prompts["labels"] = inputs["input_labels"][:, place, given]
    if "input_boxes" in inputs and (box := inputs["input_boxes"][:, place]).ne(PADDING).any():
        prompts["boxes"] = box
    return prompts
