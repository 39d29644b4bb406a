"""Which sentences can be computed together.

Shapes: B photos, P sentences at the most for one photo, N sentences in all, n points.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from .configuration_evf_sam import PADDING


def present_sentences(per_sentence: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Which sentences are there: (B, P) bool, from any tensor (B, P, ...) and the mask (B, P, L) of their tokens."""
    if attention_mask is None:
        return torch.ones(per_sentence.shape[:2], dtype=torch.bool, device=per_sentence.device)
    return attention_mask.any(-1)


def scatter(values: Tensor, present: Tensor) -> Tensor:
    """Put (N, ...) values back to their sentences: (B, P, ...), zero elsewhere."""
    if present.all():
        return values.view(*present.shape, *values.shape[1:])
    out = values.new_zeros(present.numel(), *values.shape[1:])
    rows = present.flatten().nonzero()[:, 0]
    return out.index_copy(0, rows, values).view(*present.shape, *values.shape[1:])


def slices(count: int, size: int) -> list[slice]:
    """Slices of `size` that make up `count`; an empty one for nothing."""
    return [slice(start, start + size) for start in range(0, max(1, count), size)]


def groups_of_equal_prompts(
    prompts: dict[str, Tensor], count: int, device: torch.device, size: int
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Part sentences into groups that have as many points and boxes as each other.

    Sentences with different numbers of points cannot share a sequence: SAM has no mask over prompt tokens.

    Args:
        prompts: points (N, n, 2), labels (N, n), boxes (N, 4) and masks (N, 1, h, w), where there are any.
        count: N, as there may be no prompts.
        device: of what is yielded.
        size: sentences in a group at the most.

    Yields:
        Numbers of sentences, and their prompts without padding. At least one group, which may be empty.
    """
    for rows, group in _groups(prompts, count, device):
        for part in slices(len(rows), size):
            yield rows[part], {name: prompt[part] for name, prompt in group.items()}


def _groups(
    prompts: dict[str, Tensor], count: int, device: torch.device
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    if "points" not in prompts and "boxes" not in prompts:
        yield torch.arange(count, device=device), prompts
        return
    none = torch.zeros(count, dtype=torch.long, device=device)
    num_points = (prompts["labels"] != PADDING).sum(1) if "points" in prompts else none
    num_boxes = (prompts["boxes"] != PADDING).any(1).long() if "boxes" in prompts else none
    layouts, group_of_row = torch.stack([num_points, num_boxes], dim=1).unique(dim=0, return_inverse=True)
    for index, (points, boxes) in enumerate(layouts.tolist()):
        rows = (group_of_row == index).nonzero()[:, 0]
        group = {name: prompt[rows] for name, prompt in prompts.items()}
        if "points" in group:
            group["points"], group["labels"] = group["points"][:, :points], group["labels"][:, :points]
        absent = ([] if points else ["points", "labels"]) + ([] if boxes else ["boxes"])
        yield rows, {name: prompt for name, prompt in group.items() if name not in absent}
