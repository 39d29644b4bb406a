"""Prompts of photos and their sentences: from what a user gives to padded tensors, and on to groups without padding.

Shapes: B photos, P sentences at the most for one photo, N sentences in all, L tokens, n points.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from .configuration_evf_sam import PADDING

SPATIAL_PROMPTS = ("input_points", "input_labels", "input_boxes")


def where(photo: int, sentence: int) -> str:
    """How messages call a sentence."""
    return f"photo {photo}, sentence {sentence}"


def nesting(images: Any, text: Any) -> Callable[[str, Any], list[list[Any]]]:
    """A function of a name and values that brings values of the same nesting as `text` into [photo][sentence].

    Raises:
        ValueError: `text` is neither a sentence nor a list; or, from the function, there are not as many values.
    """
    if not isinstance(text, (str, list, tuple)):
        raise ValueError(f"text must be a string or a list of them, not {type(text).__name__}")
    nested = isinstance(images, (list, tuple)) or any(isinstance(entry, (list, tuple)) for entry in text)

    def nest(name: str, values: Any) -> list[list[Any]]:
        if isinstance(text, str):
            return [[values]]
        if not nested:
            return [entries(name, values, len(text), "sentence")]
        rows = zip(entries(name, values, len(text), "photo"), text, strict=True)
        return [
            entries(f"{name}, photo {photo}", row, len(sentences), "sentence")
            if isinstance(sentences, (list, tuple))
            else [row]
            for photo, (row, sentences) in enumerate(rows)
        ]

    return nest


def entries(name: str, values: Any, count: int, unit: str) -> list[Any]:
    """`values` as a list of `count`; None stands for none of them.

    Raises:
        ValueError: they are not as many.
    """
    if values is None:
        return [None] * count
    if not hasattr(values, "__len__") or len(values) != count:
        raise ValueError(f"{name}: give one entry for each {unit}, {count} in all")
    return list(values)


def refuse(missing: str, values: dict[str, Any]) -> None:
    """Refuse values that mean nothing without what is missing; None is no value."""
    given = [name for name, value in values.items() if value is not None]
    if given:
        raise ValueError(f"{', '.join(given)} need {missing} as well")


def check_counts(sentences: list[list[str]], num_photos: int | None) -> None:
    """Refuse sentences [photo][sentence] of another number of photos, and none at all."""
    if num_photos is not None and len(sentences) != num_photos:
        raise ValueError(
            f"text has entries for {len(sentences)} photos, but there are {num_photos}: "
            "for a list of photos give a list with one sentence, or one list of sentences, for each"
        )
    if not any(sentences):
        raise ValueError("text has no sentences: give at least one")


def check_depth(name: str, values: Any, form: str, depth: int) -> None:
    """Refuse lists in too many lists, or in too few.

    Args:
        name: what messages call the values.
        values: numbers in nested lists, arrays or tensors.
        form: how they should look.
        depth: how many lists are in each other.
    """
    found = _depth(values)
    if found != depth:
        levels = abs(found - depth)
        excess = f"{levels} level{'s'[: levels - 1]} too {'many' if found > depth else 'few'}"
        raise ValueError(f"{name} for one sentence is {form}, got {_described(values)}: {excess}")


def _depth(values: Any) -> int:
    if hasattr(values, "ndim"):
        return values.ndim
    if not isinstance(values, (list, tuple)):
        return 0
    return 1 + max(map(_depth, values), default=0)


def _described(values: Any) -> str:
    if hasattr(values, "shape"):
        return f"an array of shape {tuple(values.shape)}"
    text = repr(values)
    return text if len(text) <= 60 else f"{text[:57]}..."


def stack(rows: list[list[Tensor]], fill: int, least: int = 0) -> Tensor:
    """(B, P, *largest size) from the values of P_i sentences of B photos, filled up with `fill`.

    Args:
        rows: [photo][sentence], tensors of as many dimensions as each other.
        fill: the value of absent sentences and of what is short.
        least: what the first size is at the least.
    """
    values = [value for row in rows for value in row]
    size = [max(sides) for sides in zip(*(value.shape for value in values), strict=True)]
    size[0] = max(size[0], least)
    stacked = torch.full((len(rows), max(map(len, rows)), *size), fill, dtype=values[0].dtype)
    for photo, row in enumerate(rows):
        for index, value in enumerate(row):
            stacked[photo, index][tuple(slice(side) for side in value.shape)] = value
    return stacked


def spatial_prompts(prompts: Mapping[str, list[list[Any]]], sizes: Tensor, view_sizes: Tensor) -> dict[str, Tensor]:
    """Scale the prompts of B photos with P sentences at the most.

    Args:
        prompts: for each name in `SPATIAL_PROMPTS`, what was given, [photo][sentence]; None for nothing.
        sizes: (B, 2) height and width of the photos.
        view_sizes: (B, 2) height and width that they take up in SAM's view.

    Returns:
        input_points (B, P, n, 2), input_labels (B, P, n) and input_boxes (B, P, 4), -10 where absent; those that
        there are.

    Raises:
        ValueError: bad values; the message names the photo and sentence.
    """
    rows = []
    for photo, (size, view_size) in enumerate(zip(sizes.flip(1), view_sizes.flip(1), strict=True)):
        values = zip(*(prompts[name][photo] for name in SPATIAL_PROMPTS), strict=True)
        rows.append(
            [
                _spatial_prompt(*value, size=size, view_size=view_size, name=where(photo, index))
                for index, value in enumerate(values)
            ]
        )
    stacked = {name: stack([[value[name] for value in row] for row in rows], PADDING) for name in SPATIAL_PROMPTS}
    return {name: values for name, values in stacked.items() if not torch.all(values == PADDING)}


def _spatial_prompt(
    points: Any, labels: Any, box: Any, *, size: Tensor, view_size: Tensor, name: str
) -> dict[str, Tensor]:
    """Checked and scaled points (n, 2), labels (n,) and box (4,) of one sentence; sizes are (width, height)."""
    xy = _points(points, size, name)
    corners = _corners(box, size, name) * view_size / size if box is not None else torch.full((4,), PADDING)
    return {
        "input_points": (xy * view_size / size).float(),
        "input_labels": _point_labels(labels, len(xy), name),
        "input_boxes": corners.float().flatten(),
    }


def _points(values: Any, size: Tensor, name: str) -> Tensor:
    """(n, 2) coordinates inside a photo of `size` (width, height), float64."""
    if values is None or (hasattr(values, "__len__") and len(values) == 0):
        return torch.zeros(0, 2, dtype=torch.float64)
    check_depth(f"{name}: input_points", values, "[[x, y], ...]", 2)
    return _inside(values, size, f"{name}: points")


def _inside(values: Any, size: Tensor, name: str) -> Tensor:
    try:
        points = torch.as_tensor(np.asarray(values, dtype=np.float64))
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a list of [x, y], both numbers") from None
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"{name} must be a list of [x, y], not of shape {tuple(points.shape)}")
    outside = ~((points >= 0) & (points <= size)).all(dim=1)  # NaN is outside as well
    if outside.any():
        width, height = size.tolist()
        raise ValueError(f"{name}: {points[outside][0].tolist()} is outside the photo, which is {width} x {height}")
    return points


def _corners(box: Any, size: Tensor, name: str) -> Tensor:
    """(2, 2) corners of a box, top left and bottom right."""
    check_depth(f"{name}: input_boxes", box, "[x0, y0, x1, y1]", 1)
    if len(box) != 4:
        raise ValueError(f"{name}: a box must be [x0, y0, x1, y1], got {len(box)} numbers")
    corners = _inside([list(box[:2]), list(box[2:])], size, f"{name}: box corners")
    if not (corners[0] < corners[1]).all():
        raise ValueError(f"{name}: box {corners.flatten().tolist()} needs x0 < x1 and y0 < y1")
    return corners


def _point_labels(values: Any, count: int, name: str) -> Tensor:
    if values is None:
        return torch.ones(count, dtype=torch.long)
    check_depth(f"{name}: input_labels", values, "[1 or 0 for each point]", 1)
    labels = np.asarray(values)
    if labels.shape != (count,) or not np.isin(labels, (0, 1)).all():
        raise ValueError(f"{name}: labels must be 1 or 0 for each of its {count} points")
    return torch.as_tensor(labels.astype(np.int64))


def checked_masks(masks: Any, input_ids: Tensor) -> Tensor:
    """Masks for the decoder to start from, (B, P, 1, h, w), for sentences (B, P, L).

    Raises:
        ValueError: their shape is another one.
    """
    masks = torch.as_tensor(masks)
    if masks.ndim != 5 or masks.shape[:2] != input_ids.shape[:2] or masks.shape[2] != 1:
        photos, sentences = input_ids.shape[:2]
        raise ValueError(f"input_masks {tuple(masks.shape)} must have the shape ({photos}, {sentences}, 1, h, w)")
    return masks


def target_masks(labels: Any, sentences: list[list[str]], sizes: Tensor) -> list[Tensor]:
    """Target masks (P, H, W) bool of each photo, from arrays or tensors that are above zero on the object.

    Raises:
        ValueError: they are not one for each sentence, or not of the photo's size.
    """
    targets = []
    rows = zip(entries("labels", labels, len(sentences), "photo"), sentences, sizes.tolist(), strict=True)
    for photo, (masks, row, size) in enumerate(rows):
        target = torch.zeros(len(row), *size, dtype=torch.bool)
        for index, mask in enumerate(entries(f"labels, photo {photo}", masks, len(row), "sentence")):
            mask = np.asarray(mask)
            if mask.shape != tuple(size):
                raise ValueError(f"{where(photo, index)}: label {mask.shape} must have the photo's size {tuple(size)}")
            target[index] = torch.from_numpy(mask > 0)
        targets.append(target)
    return targets


def present_sentences(per_sentence: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Which sentences are there: (B, P) bool, from any tensor (B, P, ...) and the mask (B, P, L) of their tokens."""
    if attention_mask is None:
        return torch.ones(per_sentence.shape[:2], dtype=torch.bool, device=per_sentence.device)
    return attention_mask.any(-1)


@overload
def scatter(values: Tensor, present: Tensor) -> Tensor: ...
@overload
def scatter(values: None, present: Tensor) -> None: ...
def scatter(values: Tensor | None, present: Tensor) -> Tensor | None:
    """Put (N, ...) values back to their sentences: (B, P, ...), zero elsewhere; None stays None."""
    if values is None:
        return None
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
