"""Scores a model on referring samples: every photo is encoded once for all its sentences."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch

from modeling_evf_sam.data.referring_sample import ReferringSample
from modeling_evf_sam.evaluation.metrics import summarize

if TYPE_CHECKING:
    from modeling_evf_sam.modeling_evf_sam import EvfSamModel
    from modeling_evf_sam.processing_evf_sam import EvfSamProcessor


@dataclass(kw_only=True)
class EvaluationResult:
    """Pixels and kind of each scored sentence, in the order of the samples.

    Attributes:
        intersections: N pixel counts.
        unions: N pixel counts.
        targets: N pixel counts of the target masks.
        kinds: N names; empty where a sentence belongs to no kind.
    """

    intersections: list[int] = field(default_factory=list)
    unions: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)

    @property
    def overall(self) -> dict[str, float]:
        """The figures of all sentences, as `summarize` names them."""
        return summarize(self.intersections, self.unions, targets=self.targets)

    @property
    def by_kind(self) -> dict[str, dict[str, float]]:
        """The figures of each named kind, in alphabetical order."""
        pixels = np.array([self.intersections, self.unions, self.targets])  # (3, sentences)
        kinds = np.array(self.kinds)
        return {str(kind): _figures(pixels[:, kinds == kind]) for kind in np.unique(kinds) if kind}

    def to_dict(self) -> dict[str, object]:
        """The overall figures with `by_kind` beside them, ready for JSON."""
        return {**self.overall, "by_kind": self.by_kind}


def _figures(pixels: np.ndarray) -> dict[str, float]:
    intersections, unions, targets = pixels
    return summarize(intersections, unions, targets=targets)


@torch.no_grad()
def evaluate_model(
    model: "EvfSamModel",
    processor: "EvfSamProcessor",
    samples: Iterable[ReferringSample],
    *,
    batch_size: int = 8,
    progress: Callable[[Iterable[ReferringSample]], Iterable[ReferringSample]] = iter,
) -> EvaluationResult:
    """Segments every sentence of the samples and counts pixels at the photos' own sizes.

    Args:
        model: used as it is, on its device; set to evaluation mode for the time of the call.
        processor: the model's own.
        samples: photos with sentences and masks; those without a sentence are passed over.
        batch_size: photos per forward.
        progress: wraps the samples, to show how far it is (`tqdm`, for example).

    Raises:
        ValueError: a batch size below 1, or a sample whose masks do not fit its photo or its sentences.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    result = EvaluationResult()
    was_training = model.training
    model.eval()
    try:
        for batch in _batches((s for s in progress(samples) if s.sentences), batch_size):
            for sample, masks in zip(batch, _predict(model, processor, batch), strict=True):
                _count_pixels(result, sample, masks)
    finally:
        model.train(was_training)
    return result


def _batches(samples: Iterable[ReferringSample], size: int) -> Iterator[list[ReferringSample]]:
    iterator = iter(samples)
    while batch := list(islice(iterator, size)):
        yield batch


def _predict(model: "EvfSamModel", processor: "EvfSamProcessor", batch: list[ReferringSample]) -> list[np.ndarray]:
    inputs = processor(
        images=[sample.photo for sample in batch],
        text=[sample.sentences for sample in batch],
        semantic=[sample.semantic for sample in batch],
        return_tensors="pt",
    ).to(model.device)
    results = processor.post_process_referring_segmentation(model(**inputs), inputs)
    return [result["masks"].cpu().numpy() for result in results]


def _count_pixels(result: EvaluationResult, sample: ReferringSample, masks: np.ndarray) -> None:
    if masks.shape != sample.masks.shape:
        raise ValueError(
            f"'{sample.sentences[0]}': predicted masks are {masks.shape} (sentences, height, width), "
            f"the sample's masks {sample.masks.shape}; masks must have the size of their photo"
        )
    # (sentences, height, width) -> (sentences,)
    result.intersections += (masks & sample.masks).sum(axis=(1, 2)).tolist()
    result.unions += (masks | sample.masks).sum(axis=(1, 2)).tolist()
    result.targets += sample.masks.sum(axis=(1, 2)).tolist()
    result.kinds += sample.kinds or [""] * len(sample.sentences)
