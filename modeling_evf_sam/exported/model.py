"""Three graphs that are called as an `EvfSamModel` is.

Shapes: B photos, P sentences at the most for one photo, N sentences in all, L tokens, n points, M masks per sentence,
D prompt width, S and s the sides of the views, h and w those of the mask logits.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from modeling_evf_sam.exported.arrays import Arrays
from modeling_evf_sam.exported.backends import Run
from modeling_evf_sam.prompts_evf_sam import FULL_VIEW_SENTENCES, PADDING, SPATIAL_PROMPTS, at_a_time, slices

NO_POINT = -1  # the label of a point that is none
CORNERS = (2, 3)  # labels of a box's corners
# By the kind of SAM: how many points that are none follow n points, box or no box.
EMPTY_POINTS: dict[str, Callable[[int, bool], int]] = {
    "sam": lambda count, box: 0 if box else 1,
    "sam2": lambda count, box: 1,
    "efficient_sam": lambda count, box: 6 - count - 2 * box,
}


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """What of a model's configuration is not in its graphs.

    Attributes:
        sam: the kind of SAM, a key of `EMPTY_POINTS`.
        view_size: side of SAM's view.
        quality: points [score, IoU] of the line that turns scores into IoUs to be expected, or None.
        trained_on: what the checkpoint was trained on, where that limits its use.
    """

    sam: str
    view_size: int
    quality: list[list[float]] | None
    trained_on: str | None


class ExportedModel:
    """What was exported, called as the model that it was made from.

    Args:
        graphs: what runs "photo", "sentence" and "decode".
        config: what they do not hold.
    """

    device = "cpu"  # where arrays are

    def __init__(self, graphs: Mapping[str, Run], config: ModelSettings):
        self.graphs, self.config = graphs, config
        self.photos_at_a_time = at_a_time(config.view_size)
        self.sentences_at_a_time = at_a_time(config.view_size, FULL_VIEW_SENTENCES)

    def get_image_embeddings(self, pixel_values: np.ndarray) -> list[np.ndarray]:
        """SAM's views (B, 3, S, S) -> one (B, D, h, w), or for SAM-2 three, fine to coarse."""
        chunks = [
            list(self.graphs["photo"]({"pixel_values": pixel_values[rows]}).values())
            for rows in slices(len(pixel_values), self.photos_at_a_time)
        ]
        return [np.concatenate(level) for level in zip(*chunks, strict=True)]

    def get_prompt_embeddings(
        self, multimodal_pixel_values: np.ndarray | None, input_ids: np.ndarray, attention_mask: np.ndarray
    ) -> np.ndarray:
        """Views (B, 3, s, s), tokens (B, P, L), their mask -> prompt tokens (B, P, D), zero for absent sentences."""
        present = np.asarray(attention_mask.any(-1))
        photo, ids, mask = present.nonzero()[0], input_ids[present], attention_mask[present]
        tokens = []
        for rows in slices(len(ids), self.sentences_at_a_time):
            length = mask[rows].any(0).sum()
            inputs = {"input_ids": ids[rows, :length], "attention_mask": mask[rows, :length]}
            if multimodal_pixel_values is not None:
                inputs["multimodal_pixel_values"] = multimodal_pixel_values[photo[rows]]
            tokens.append(self.graphs["sentence"](inputs)["prompt_embeds"])
        return _scatter(np.concatenate(tokens), present)

    def __call__(
        self,
        pixel_values: np.ndarray | None = None,
        multimodal_pixel_values: np.ndarray | None = None,
        input_ids: np.ndarray | None = None,
        attention_mask: np.ndarray | None = None,
        image_embeddings: list[np.ndarray] | None = None,
        prompt_embeds: np.ndarray | None = None,
        **prompts: Any,
    ) -> Arrays:
        """As `EvfSamModel.forward` on what `ExportedProcessor` prepared; what else that gives is not needed here."""
        assert input_ids is not None and attention_mask is not None
        if image_embeddings is None:
            assert pixel_values is not None
            image_embeddings = self.get_image_embeddings(pixel_values)
        if prompt_embeds is None:
            prompt_embeds = self.get_prompt_embeddings(multimodal_pixel_values, input_ids, attention_mask)
        present = np.asarray(attention_mask.any(-1))
        points = [prompts[name][present] if name in prompts else None for name in SPATIAL_PROMPTS]
        decoded = self._decode(image_embeddings, present.nonzero()[0], prompt_embeds[present], *points)
        if self.config.quality is not None:
            scores, ious = np.array(self.config.quality, dtype=np.float32).T
            decoded["quality"] = np.interp(decoded["iou_scores"], scores, ious).astype(np.float32)
        outputs = {name: _scatter(values, present) for name, values in decoded.items()}
        return Arrays(outputs, prompt_embeds=prompt_embeds, image_embeddings=image_embeddings)

    def _decode(
        self,
        levels: list[np.ndarray],
        photo: np.ndarray,
        prompt_embeds: np.ndarray,
        points: np.ndarray | None,
        labels: np.ndarray | None,
        boxes: np.ndarray | None,
    ) -> dict[str, np.ndarray]:
        """What becomes of N sentences; those with as many points and boxes are decoded together."""
        count = len(photo)
        points = np.empty((count, 0, 2), dtype=np.float32) if points is None else points
        labels = np.empty((count, 0), dtype=np.int64) if labels is None else labels
        boxes = np.full((count, 4), PADDING, dtype=np.float32) if boxes is None else boxes
        embeddings = {f"image_embeddings_{index}": level for index, level in enumerate(levels)}
        order, parts = [], []
        for rows, num_points, box in self._groups(labels, boxes):
            own = _points(points[rows, :num_points], labels[rows, :num_points], boxes[rows] if box else None)
            empty = EMPTY_POINTS[self.config.sam](num_points, box) if num_points or box else 0
            order.append(rows)
            parts.append(
                self.graphs["decode"](
                    {
                        **embeddings,
                        "photo": photo[rows],
                        "prompt_embeds": prompt_embeds[rows],
                        "points": np.pad(own[0], ((0, 0), (0, empty), (0, 0)), constant_values=NO_POINT),
                        "labels": np.pad(own[1], ((0, 0), (0, empty)), constant_values=NO_POINT),
                    }
                )
            )
        back = np.concatenate(order).argsort()
        return {name: np.concatenate([part[name] for part in parts])[back] for name in parts[0]}

    def _groups(self, labels: np.ndarray, boxes: np.ndarray) -> Iterator[tuple[np.ndarray, int, bool]]:
        """Numbers of sentences that have as many points, and a box or none; with both."""
        layouts = np.stack([(labels != PADDING).sum(1), (boxes != PADDING).any(1)], axis=1)
        for layout in np.unique(layouts, axis=0):
            rows = (layouts == layout).all(1).nonzero()[0]
            for part in slices(len(rows), self.sentences_at_a_time):
                yield rows[part], int(layout[0]), bool(layout[1])


def _points(points: np.ndarray, labels: np.ndarray, boxes: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, n, 2) and labels (N, n), behind which are the corners of boxes (N, 4)."""
    if boxes is None:
        return points, labels
    corners = np.broadcast_to(np.array(CORNERS), (len(boxes), 2))
    return np.concatenate([points, boxes.reshape(-1, 2, 2)], 1), np.concatenate([labels, corners], 1)


def _scatter(values: np.ndarray, present: np.ndarray) -> np.ndarray:
    """(N, ...) -> (B, P, ...), zero for absent sentences."""
    whole = np.zeros((*present.shape, *values.shape[1:]), dtype=values.dtype)
    whole[present] = values
    return whole
