"""Points, their labels and boxes in photo pixels -> checked and padded tensors in pixels of SAM's view."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .configuration_evf_sam import PADDING
from .nesting import check_depth, stack, where

SPATIAL_PROMPTS = ("input_points", "input_labels", "input_boxes")


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
