"""Which words of a sentence moved its mask: each is left out once."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from modeling_evf_sam.inference.explanation_figure import explanation_figure
from modeling_evf_sam.inference.segmenting import segment
from modeling_evf_sam.photos import Photo
from modeling_evf_sam.prompts_evf_sam import PRESENT_THRESHOLD

if TYPE_CHECKING:
    from modeling_evf_sam.inference.backends import AnyModel, AnyProcessor


@dataclass(frozen=True, kw_only=True, eq=False)
class Explanation:
    """What a sentence's mask owes to each of its N words; H and W are the sides of the photo.

    Attributes:
        words: N of them, as they stand in the sentence between spaces.
        mask: (H, W) bool, of the whole sentence.
        masks_without: (N, H, W) bool, of the sentence without each word.
        weights: (N,) how far the mask moves without each word: 1 - IoU of both masks; 0 where both are empty.
        presence_changes: (N,) the presence of the whole sentence minus that without each word; or None, of a model
            without a presence head.
    """

    words: list[str]
    mask: np.ndarray
    masks_without: np.ndarray
    weights: np.ndarray
    presence_changes: np.ndarray | None = None

    def plot(self, photo: Image.Image) -> Image.Image:
        """The words shaded by weight, above the photo with the mask and with each mask without a word."""
        return explanation_figure(
            photo, self.words, self.mask, self.masks_without, self.weights, self.presence_changes
        )


def explain(
    model: "AnyModel",
    processor: "AnyProcessor",
    photo: Photo,
    sentence: str,
    *,
    semantic: bool = False,
    present_threshold: float = PRESENT_THRESHOLD,
) -> Explanation:
    """Segments a sentence and all that is left of it without one word, in one forward; the photo is encoded once.

    A word that is left out says what the model does without it, not what the word means: two words that say the same
    both have little weight. Nothing is left of a sentence of one word, and nothing names nothing: the mask without it
    is empty and its presence 0, so that this word has all the weight.

    Args:
        model: in evaluation mode, on any device.
        processor: the model's own.
        photo: of any size.
        sentence: N words between spaces.
        semantic: whether every pixel of a category is asked for, not one object.
        present_threshold: at less presence a mask is empty; 0 keeps all. Without a presence head it says nothing.

    Raises:
        ValueError: a bad photo or sentence.
    """
    words = sentence.split()
    shorter = [" ".join(words[:number] + words[number + 1 :]) for number in range(len(words))]
    asked = [sentence, *filter(None, shorter)]
    (found,) = segment(model, processor, [photo], [asked], semantic=semantic, present_threshold=present_threshold)
    masks, presence = found.masks, found.presence
    if len(words) == 1:
        masks = np.concatenate([masks, np.zeros_like(masks)])
        presence = None if presence is None else np.append(presence, 0)
    return Explanation(
        words=words,
        mask=masks[0],
        masks_without=masks[1:],
        weights=np.array([1 - _iou(masks[0], mask) for mask in masks[1:]]),
        presence_changes=None if presence is None else presence[0] - presence[1:],
    )


def _iou(mask: np.ndarray, other: np.ndarray) -> float:
    union = int((mask | other).sum())
    return int((mask & other).sum()) / union if union else 1.0


__all__ = ["Explanation", "explain"]
