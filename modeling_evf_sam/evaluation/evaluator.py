"""Scores a model on referring samples: every photo is encoded once for all its sentences."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from modeling_evf_sam.data.referring_sample import ReferringSample
from modeling_evf_sam.evaluation.calibration import Reliability, reliability
from modeling_evf_sam.evaluation.metrics import summarize
from modeling_evf_sam.inference.segmentation import Segmentation
from modeling_evf_sam.inference.segmenting import segment
from modeling_evf_sam.modeling_evf_sam import EvfSamModel
from modeling_evf_sam.processing_evf_sam import EvfSamProcessor


@dataclass(frozen=True, kw_only=True)
class SentenceResult:
    """One scored sentence.

    Attributes:
        index: which of the samples its photo is.
        number: which of the photo's sentences it is.
        photo: the photo's name.
        sentence: without the `[semantic]` prefix.
        kind: the group that it is scored in, or "".
        semantic: whether every pixel of a category is meant.
        intersection: pixels in both the predicted and the target mask.
        union: pixels in either of them.
        target: pixels in the target mask.
        score: the model's own estimate of the IoU.
        presence: the probability that the target mask has a pixel, or None where the model has no presence head.
        quality: the calibrated estimate of the IoU, or None where the checkpoint has no calibration.
        rle: the predicted mask, as COCO's run lengths {"size": [height, width], "counts": text}.
    """

    index: int
    number: int
    photo: str
    sentence: str
    kind: str
    semantic: bool
    intersection: int
    union: int
    target: int
    score: float
    presence: float | None
    quality: float | None
    rle: dict[str, Any]

    @property
    def iou(self) -> float:
        """1 where both masks are empty."""
        return self.intersection / self.union if self.union else 1.0

    @property
    def found(self) -> int:
        """Pixels in the predicted mask."""
        return self.union - self.target + self.intersection


@dataclass(frozen=True)
class EvaluationResult:
    """All scored sentences, in the order of the samples."""

    sentences: list[SentenceResult]

    @property
    def overall(self) -> dict[str, float]:
        """The figures of all sentences, as `summarize` names them; `presence_ece` and `quality_ece` where known."""
        return _figures(self.sentences)

    @property
    def reliability(self) -> dict[str, Reliability]:
        """How presence and quality compare with the targets, where the model gives them."""
        return _reliability(self.sentences)

    @property
    def by_kind(self) -> dict[str, dict[str, float]]:
        """The figures of each named kind, in alphabetical order."""
        groups: dict[str, list[SentenceResult]] = {}
        for sentence in self.sentences:
            groups.setdefault(sentence.kind, []).append(sentence)
        return {kind: _figures(groups[kind]) for kind in sorted(groups) if kind}

    def to_dict(self) -> dict[str, object]:
        """The overall figures with `by_kind` beside them, ready for JSON."""
        return {**self.overall, "by_kind": self.by_kind}


def _figures(sentences: Sequence[SentenceResult]) -> dict[str, float]:
    pixels = np.array([(s.intersection, s.union, s.target) for s in sentences], dtype=np.int64).reshape(-1, 3)
    figures = summarize(pixels[:, 0], pixels[:, 1], targets=pixels[:, 2])
    return figures | {f"{name}_ece": diagram.error for name, diagram in _reliability(sentences).items()}


def _reliability(sentences: Sequence[SentenceResult]) -> dict[str, Reliability]:
    """Quality speaks of a mask of something that is there: sentences without a target or a mask say nothing of it."""
    pairs = {
        "presence": [(s.presence, s.target > 0) for s in sentences if s.presence is not None],
        "quality": [(s.quality, s.iou) for s in sentences if s.quality is not None and s.target and s.found],
    }
    return {name: reliability(*np.array(values, dtype=float).T) for name, values in pairs.items() if values}


@torch.no_grad()
def evaluate_model(
    model: EvfSamModel,
    processor: EvfSamProcessor,
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
    numbered = ((index, sample) for index, sample in enumerate(progress(samples)) if sample.sentences)
    results: list[SentenceResult] = []
    was_training = model.training
    model.eval()
    try:
        for batch in _batches(numbered, batch_size):
            for (index, sample), found in zip(batch, _segment(model, processor, batch), strict=True):
                results += _score(index, sample, found)
    finally:
        model.train(was_training)
    return EvaluationResult(results)


def _batches(samples: Iterable[tuple[int, ReferringSample]], size: int) -> Iterator[list[tuple[int, ReferringSample]]]:
    iterator = iter(samples)
    while batch := list(islice(iterator, size)):
        yield batch


def _segment(
    model: EvfSamModel, processor: EvfSamProcessor, batch: list[tuple[int, ReferringSample]]
) -> list[Segmentation]:
    samples = [sample for _, sample in batch]
    photos, sentences = [sample.photo for sample in samples], [sample.sentences for sample in samples]
    return segment(model, processor, photos, sentences, semantic=[sample.semantic for sample in samples])


def _score(index: int, sample: ReferringSample, found: Segmentation) -> Iterator[SentenceResult]:
    if found.masks.shape != sample.masks.shape:
        raise ValueError(
            f"'{sample.sentences[0]}': predicted masks are {found.masks.shape} (sentences, height, width), "
            f"the sample's masks {sample.masks.shape}; masks must have the size of their photo"
        )
    estimates = (
        [None] * len(found.scores) if values is None else values.tolist()
        for values in (found.scores, found.presence, found.quality)
    )
    columns = (found.masks, sample.masks, *estimates, found.rle())
    for number, (mask, target, score, presence, quality, rle) in enumerate(zip(*columns, strict=True)):
        yield SentenceResult(
            index=index,
            number=number,
            photo=sample.name,
            sentence=sample.sentences[number],
            kind=sample.kinds[number] if sample.kinds else "",
            semantic=sample.semantic[number],
            intersection=int((mask & target).sum()),
            union=int((mask | target).sum()),
            target=int(target.sum()),
            score=score,
            presence=presence,
            quality=quality,
            rle=rle,
        )
