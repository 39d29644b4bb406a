"""Photos, sentences, points and boxes -> arrays for the graphs, and their answers -> masks, without torch."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from modeling_evf_sam.exported.arrays import Arrays
from modeling_evf_sam.exported.views import Views
from modeling_evf_sam.photos import Photo, rgb_photos
from modeling_evf_sam.prompts_evf_sam import (
    PRESENT_THRESHOLD,
    SPATIAL_PROMPTS,
    Tokens,
    check_counts,
    check_thresholds,
    nesting,
    refuse,
    spatial_prompts,
)


class ExportedProcessor:
    """What `EvfSamProcessor` is to a model, for what was exported: the same calls give the same values in numpy.

    Args:
        views: how photos become views.
        tokens: how sentences become tokens.
    """

    def __init__(self, views: Views, tokens: Tokens):
        self.image_processor = views
        self.tokens = tokens

    def __call__(
        self,
        images: Photo | Sequence[Photo] | Arrays | None = None,
        text: str | Sequence[str] | Sequence[Sequence[str]] | None = None,
        semantic: bool | Sequence | None = None,
        input_points: Sequence | None = None,
        input_labels: Sequence | None = None,
        input_boxes: Sequence | None = None,
    ) -> Arrays:
        """As `EvfSamProcessor.__call__`, which says what the arguments are, what comes back, and what is refused."""
        if images is None and text is None:
            raise ValueError("nothing to process: give images, text, or both")
        if images is None or isinstance(images, Arrays):
            inputs = Arrays(images or {})
        else:
            inputs = self.image_processor.prepare(rgb_photos(images))
        spatial = dict(zip(SPATIAL_PROMPTS, (input_points, input_labels, input_boxes), strict=True))
        if text is None:
            refuse("text", {**spatial, "semantic": semantic or None})
            return inputs
        if images is None:
            refuse("images", spatial)
        nest = nesting(images, text)
        sentences = nest("text", text)
        check_counts(sentences, None if images is None else len(inputs["original_sizes"]))
        whole = not hasattr(semantic, "__len__")
        flags = [[semantic] * len(row) for row in sentences] if whole else nest("semantic", semantic)
        inputs.update(self.tokens.encode(sentences, flags))
        if images is not None:
            prompts = {name: nest(name, values) for name, values in spatial.items()}
            inputs.update(spatial_prompts(prompts, inputs["original_sizes"], inputs["reshaped_input_sizes"]))
        return inputs

    def post_process_referring_segmentation(
        self,
        outputs: Arrays,
        inputs: Mapping[str, Any],
        mask_threshold: float = 0.0,
        present_threshold: float = PRESENT_THRESHOLD,
    ) -> list[dict[str, np.ndarray]]:
        """As `EvfSamProcessor.post_process_referring_segmentation`."""
        check_thresholds(mask_threshold=mask_threshold, present_threshold=present_threshold)
        results = []
        for answers, logits in self._answers(outputs, inputs):
            masks = np.stack([one > mask_threshold for one in logits])
            if "presence" in answers:
                answers["present"] = answers["presence"] >= present_threshold
                masks &= answers["present"][:, None, None]
            results.append({"masks": masks, **answers, "boxes": np.stack([_box(mask) for mask in masks])})
        return results

    def post_process_semantic_segmentation(
        self,
        outputs: Arrays,
        inputs: Mapping[str, Any],
        mask_threshold: float = 0.0,
        present_threshold: float = PRESENT_THRESHOLD,
    ) -> list[np.ndarray]:
        """As `EvfSamProcessor.post_process_semantic_segmentation`."""
        check_thresholds(mask_threshold=mask_threshold, present_threshold=present_threshold)
        maps = []
        for answers, each in self._answers(outputs, inputs):
            logits = np.stack(list(each))
            if "presence" in answers:
                logits[answers["presence"] < present_threshold] = -np.inf
            maps.append(np.where(logits.max(0) > mask_threshold, logits.argmax(0) + 1, 0))
        return maps

    def _answers(
        self, outputs: Arrays, inputs: Mapping[str, Any]
    ) -> Iterator[tuple[dict[str, np.ndarray], Iterator[np.ndarray]]]:
        """What was said of each photo's own sentences; and their logits (H, W), one at a time."""
        sizes = zip(inputs["original_sizes"].tolist(), inputs["reshaped_input_sizes"].tolist(), strict=True)
        for photo, (size, reshaped) in enumerate(sizes):
            kept = np.flatnonzero(inputs["attention_mask"][photo].any(-1))
            best = outputs["iou_scores"][photo, kept].argmax(-1)
            own = photo, kept, best
            answers = {"scores": outputs["iou_scores"][own]}
            if outputs.quality is not None:
                answers["quality"] = outputs["quality"][own]
            if outputs.presence_logits is not None:
                answers["presence"] = 1 / (1 + np.exp(-outputs["presence_logits"][photo, kept]))
            masks = outputs["pred_masks"][own]
            if np.isnan(masks).any():
                raise ValueError(f"photo {photo}: mask logits are not numbers: run the graphs in float32")
            yield answers, (self.image_processor.resize_logits(mask, tuple(size), tuple(reshaped)) for mask in masks)


def _box(mask: np.ndarray) -> np.ndarray:
    """(4,) pixel edges x0, y0, x1, y1 of a mask (H, W), zeros for an empty one."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    edges = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1] if len(rows) else [0, 0, 0, 0]
    return np.array(edges, dtype=np.float32)
