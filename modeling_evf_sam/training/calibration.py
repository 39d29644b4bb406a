"""What a model's presence and scores turn out to mean, measured on photos that it did not learn from."""

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from modeling_evf_sam.data.referring_sample import ReferringSample
from modeling_evf_sam.inference.segmenting import predict
from modeling_evf_sam.modeling_evf_sam import EvfSamModel
from modeling_evf_sam.processing_evf_sam import EvfSamProcessor

TEMPERATURES = (0.05, 20.0)  # the best one for logits without a fault would be zero


@torch.no_grad()
def calibrate(model: EvfSamModel, processor: EvfSamProcessor, samples: Iterable[ReferringSample]) -> None:
    """Sets a model's `quality` and, where it has a presence head, the head's temperature; the configuration has both.

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
        model.presence_head.temperature = fit_temperature(logits, there > 0)
        model.config.presence = {**model.config.presence, "temperature": model.presence_head.temperature}


def _measure(
    model: EvfSamModel, processor: EvfSamProcessor, sample: ReferringSample
) -> Iterator[tuple[float, float, float, float]]:
    """For each sentence of a photo: whether it is there, score, IoU, and the presence logit at a temperature of 1."""
    inputs = processor(images=[sample.photo], text=[sample.sentences], semantic=[sample.semantic])
    outputs, (result,) = predict(model, processor, inputs, present_threshold=0.0)  # masks stay as they are
    targets = torch.from_numpy(sample.masks)
    masks = result["masks"].cpu()
    intersections, unions = (masks & targets).sum((1, 2)), (masks | targets).sum((1, 2))
    logits = torch.zeros(len(masks))
    if model.presence_head is not None:
        logits = outputs.presence_logits[0].float() * model.presence_head.temperature
    there = targets.flatten(1).any(1).float()
    columns = (there, result["scores"], intersections / unions.clamp(min=1), logits)
    yield from zip(*(column.tolist() for column in columns), strict=True)


def fit_temperature(logits: Tensor, there: Tensor) -> float:
    """What to divide presence logits by, so that their binary cross-entropy is the least.

    Args:
        logits: (N,) of sentences.
        there: (N,) bool, whether what they name is in their photo.

    Returns:
        A temperature within `TEMPERATURES`.

    Raises:
        ValueError: all are there, or none is.
    """
    logits, there = logits.double(), there.bool()
    if there.all() or not there.any():
        raise ValueError(
            f"{int(there.sum())} of {len(there)} held-out sentences are there: a temperature needs both kinds, so add "
            "sentences that mean nothing in their photo, or set data.negatives"
        )
    low, high = (math.log(temperature) for temperature in TEMPERATURES)
    for _ in range(50):  # the loss is convex in 1 / temperature: bisect its slope
        middle = (low + high) / 2
        scaled = logits / math.exp(middle)
        too_sure = ((scaled.sigmoid() - there.double()) * logits).mean() > 0
        low, high = (middle, high) if too_sure else (low, middle)
    return math.exp((low + high) / 2)


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
