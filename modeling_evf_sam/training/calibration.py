"""What a model's presence and scores turn out to mean, measured on photos that it did not learn from."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from modeling_evf_sam.data.referring_sample import ReferringSample
from modeling_evf_sam.inference.segmenting import predict
from modeling_evf_sam.modeling_evf_sam import EvfSamModel
from modeling_evf_sam.processing_evf_sam import EvfSamProcessor

LEAST_SLOPE = 0.01  # of the presence's logit, for each standard deviation of what the head says


@torch.no_grad()
def calibrate(model: EvfSamModel, processor: EvfSamProcessor, samples: Iterable[ReferringSample]) -> None:
    """Sets a model's `quality` and, where it has a presence head, its temperature and shift; `config` has them all.

    Args:
        model: on any device; changed in place. It is set to evaluation mode for the time of the call.
        processor: the model's own.
        samples: held-out photos with sentences that are there and, for a presence head, such as are not.

    Raises:
        ValueError: there are too few sentences, or all are there, or none is. What could be set is set.
    """
    was_training = model.training
    model.eval()
    try:
        rows = [row for sample in samples if sample.sentences for row in _measure(model, processor, sample)]
    finally:
        model.train(was_training)
    there, scores, ious, logits = torch.tensor(rows).reshape(-1, 4).T
    model.config.quality = fit_quality(scores[there > 0], ious[there > 0])
    if model.config.presence is not None:
        head = model.presence_head
        head.temperature, head.shift = fit_presence(logits, there > 0)
        fitted = {"temperature": head.temperature, "shift": head.shift}
        model.config.presence = {**model.config.presence, **fitted}


def _measure(
    model: EvfSamModel, processor: EvfSamProcessor, sample: ReferringSample
) -> Iterator[tuple[float, float, float, float]]:
    """For each sentence of a photo: whether it is there, score, IoU, and the presence logit before any calibration."""
    inputs = processor(images=[sample.photo], text=[sample.sentences], semantic=[sample.semantic])
    outputs, (result,) = predict(model, processor, inputs, present_threshold=0.0)  # masks stay as they are
    targets = torch.from_numpy(sample.masks)
    masks = result["masks"].cpu()
    intersections, unions = (masks & targets).sum((1, 2)), (masks | targets).sum((1, 2))
    logits = torch.zeros(len(masks))
    if model.presence_head is not None:
        head = model.presence_head
        logits = (outputs.presence_logits[0].float() - head.shift) * head.temperature
    there = targets.flatten(1).any(1).float()
    columns = (there, result["scores"], intersections / unions.clamp(min=1), logits)
    yield from zip(*(column.tolist() for column in columns), strict=True)


def fit_presence(logits: Tensor, there: Tensor) -> tuple[float, float]:
    """What makes presence logits say the share that is there: sigmoid(logits / temperature + shift).

    Both are those of the least binary cross-entropy (Platt, 1999, with his targets, which keep it from being sure
    of all sentences beyond those that it has seen).

    Args:
        logits: (N,) of sentences.
        there: (N,) bool, whether what they name is in their photo.

    Returns:
        A temperature and a shift.

    Raises:
        ValueError: all are there, or none is.
    """
    logits, there = logits.double(), there.bool()
    if there.all() or not there.any():
        raise ValueError(
            f"{int(there.sum())} of {len(there)} held-out sentences are there: a temperature needs both kinds, so add "
            "sentences that mean nothing in their photo, or set data.negatives"
        )
    mean, spread = logits.mean().item(), logits.std().clamp(min=1e-6).item()
    targets = torch.where(there, 1 - 1 / (there.sum() + 2.0), 1 / ((~there).sum() + 2.0)).double()
    line = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)  # slope, and height at the mean
    settings: dict[str, Any] = {"max_iter": 100, "tolerance_grad": 1e-10, "tolerance_change": 1e-12}
    optimizer = torch.optim.LBFGS([line], line_search_fn="strong_wolfe", **settings)

    def loss() -> Tensor:
        optimizer.zero_grad()
        with torch.enable_grad():
            value = F.binary_cross_entropy_with_logits(line[0] * (logits - mean) / spread + line[1], targets)
        value.backward()
        return value

    optimizer.step(loss)
    slope, height = line.detach().tolist()
    if slope < LEAST_SLOPE:  # logits that say nothing, or the contrary: the share of all sentences, for each
        slope, height = LEAST_SLOPE, targets.mean().logit().item()
    temperature = spread / slope
    return temperature, height - mean / temperature


def fit_quality(scores: Tensor, ious: Tensor, points: int = 10) -> list[list[float]]:
    """A rising line through points [score, IoU]: the means of groups of equal size, falling neighbours pooled.

    Args:
        scores: (N,) SAM's own estimates.
        ious: (N,) what the masks turned out to be worth.
        points: how many, at the most.

    Returns:
        Points as `EvfSamConfig.quality` holds them.

    Raises:
        ValueError: there are fewer than two different scores.
    """
    groups: dict[float, list[Tensor]] = {}
    for rows in scores.double().argsort(stable=True).tensor_split(points):
        if len(rows):
            groups.setdefault(round(scores[rows].double().mean().item(), 6), []).append(ious[rows].double())
    if len(groups) < 2:
        raise ValueError(f"{len(scores)} held-out sentences are there, with {len(groups)} scores: give more of them")
    pooled: list[tuple[Tensor, int]] = []  # IoUs, and of how many points
    for parts in groups.values():
        values, width = torch.cat(parts), 1
        while pooled and pooled[-1][0].mean() > values.mean():
            before, more = pooled.pop()
            values, width = torch.cat([before, values]), width + more
        pooled.append((values, width))
    heights = [round(values.mean().item(), 6) for values, width in pooled for _ in range(width)]
    return [list(point) for point in zip(groups, heights, strict=True)]
