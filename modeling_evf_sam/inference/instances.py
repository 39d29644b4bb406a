"""The objects of an answer one by one, by the same encoding of the photo.

Connected parts of the answer's mask become boxes for SAM alone, without a sentence. H and W are the photo's sides.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from modeling_evf_sam.data.segmentations import run_lengths
from modeling_evf_sam.inference.components import label_components, pixel_edges
from modeling_evf_sam.inference.known_limits import check_whole

if TYPE_CHECKING:
    from torch import Tensor

    from modeling_evf_sam.inference.backends import AnyModel, AnyProcessor

# docs/answers/measure.py says what these are worth on scenes whose objects are known.
MIN_PIXELS = 16  # of a part
MIN_SHARE = 0.05  # of a part, of the largest one's pixels
AGREEMENT = 0.9  # least IoU with the part at which SAM's mask takes its place
OVERLAP = 0.5  # masks with more IoU are the same object

DecodeBoxes = Callable[[Sequence[Sequence[float]]], tuple[np.ndarray, list[float]]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Instance:
    """One object of an answer.

    Attributes:
        mask: (H, W) bool.
        box: the mask's pixel edges x0, y0, x1, y1, the last two exclusive.
        score: SAM's own estimate of the IoU of what it drew into the object's box; where that does not agree with the
            answer, the mask is a part of the answer, and the score is the answer's.
    """

    mask: np.ndarray
    box: tuple[int, int, int, int]
    score: float

    def record(self) -> dict[str, Any]:
        """Score, box, area in pixels, and COCO's run lengths, ready for JSON."""
        area = int(self.mask.sum())
        return {"score": self.score, "box": list(self.box), "area": area, "rle": run_lengths(self.mask)}


def instance_map(instances: Sequence[Instance], photo_size: tuple[int, int]) -> np.ndarray:
    """(H, W) numbers of instances, counted from 1, the last one's where some overlap; 0 outside."""
    numbers = np.zeros(photo_size, dtype=np.int32)
    for number, instance in enumerate(instances, start=1):
        numbers[instance.mask] = number
    return numbers


def find_instances(
    model: "AnyModel",
    processor: "AnyProcessor",
    inputs: Mapping[str, Any],
    image_embeddings: "Tensor | list[Tensor]",
    results: Sequence[Mapping[str, Any]],
) -> list[list[list[Instance]]]:
    """Parts the answers about B photos into objects.

    Args:
        model: in evaluation mode, on any device.
        processor: the model's own.
        inputs: what the processor returned; its sizes are used.
        image_embeddings: of the B photos, as `EvfSamModel.get_image_embeddings` returns them.
        results: for each photo a dict, as `EvfSamProcessor.post_process_referring_segmentation` returns them.

    Returns:
        For each photo and each of its sentences the instances, those with the largest masks first.

    Raises:
        ValueError: the model is an exported one.
    """
    check_whole(model, "instances")
    from modeling_evf_sam.data.box_segmenter import BoxSegmenter  # needs torch

    views = processor.image_processor
    segmenter = BoxSegmenter(model, image_size=views.image_size, image_layout=views.image_layout)
    found = []
    for index, result in enumerate(results):
        sizes = inputs["original_sizes"][index], inputs["reshaped_input_sizes"][index]
        decode = partial(segmenter.decode, _of_photo(image_embeddings, index), *sizes)
        answers = zip(result["masks"].cpu().numpy(), result["scores"].tolist(), strict=True)
        found.append([split_mask(mask, score, decode) for mask, score in answers])
    return found


def split_mask(mask: np.ndarray, score: float, decode_boxes: DecodeBoxes) -> list[Instance]:
    """Parts one mask into objects; what touches stays one.

    Args:
        mask: (H, W) bool.
        score: of the whole mask.
        decode_boxes: N boxes x0, y0, x1, y1 in pixels of the photo -> masks (N, H, W), and N scores.

    Returns:
        The instances, those with the largest masks first.
    """
    parts = _large_parts(mask)
    if not parts:
        return []
    drawn = zip(*decode_boxes([pixel_edges(part) for part in parts]), strict=True)
    chosen = [
        (redrawn, own_score) if _iou(redrawn, part) >= AGREEMENT else (part, score)
        for part, (redrawn, own_score) in zip(parts, drawn, strict=True)
    ]
    return [Instance(mask=mask, box=pixel_edges(mask), score=score) for mask, score in _different(chosen)]


def _large_parts(mask: np.ndarray) -> list[np.ndarray]:
    """The connected parts of a mask, without crumbs."""
    labels = label_components(mask)
    areas = np.bincount(labels.ravel())[1:]
    least = max(MIN_PIXELS, MIN_SHARE * areas.max(initial=0))
    return [labels == number for number in np.flatnonzero(areas >= least) + 1]


def _different(masks: Sequence[tuple[np.ndarray, float]]) -> list[tuple[np.ndarray, float]]:
    """Masks with their scores, of those that overlap the one with the highest score; the largest first."""
    kept: list[tuple[np.ndarray, float]] = []
    for mask, score in sorted(masks, key=lambda entry: -entry[1]):
        if all(_iou(mask, other) <= OVERLAP for other, _ in kept):
            kept.append((mask, score))
    return sorted(kept, key=lambda entry: -int(entry[0].sum()))


def _iou(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / max(1, (first | second).sum()))


def _of_photo(image_embeddings: "Tensor | list[Tensor]", index: int) -> "Tensor | list[Tensor]":
    if isinstance(image_embeddings, list):
        return [level[index : index + 1] for level in image_embeddings]
    return image_embeddings[index : index + 1]
