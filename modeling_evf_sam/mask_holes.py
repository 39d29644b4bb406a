"""Small holes in masks, filled on any device."""

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

FILLED = 0.1  # the logit of a filled pixel, as SAM-2 sets it


def fill_holes(logits: Tensor, max_area: int = 8) -> Tensor:
    """Make small islands of background part of the mask, as SAM-2 does with the masks of a video.

    Args:
        logits: (N, 1, h, w), above zero on the mask.
        max_area: pixels of the largest hole that is filled; pixels that touch at a corner belong together.

    Returns:
        The logits, `FILLED` in the holes.
    """
    background = logits <= 0
    numbers = torch.arange(1, background[0].numel() + 1, device=logits.device, dtype=torch.float32)
    labels = numbers.view(1, *logits.shape[1:]) * background  # (N, 1, h, w), zero on the mask
    # A hole of n pixels is no more than n - 1 steps long: by then all its pixels have the highest of their numbers.
    # In a larger one, each number has spread to too many pixels, or it touches a higher one.
    for _ in range(max_area):
        labels = _highest(labels) * background
    open_border = background & (_highest(labels) != labels)
    groups = labels.long().flatten(1)  # (N, h * w), the mask is group 0
    pixels = torch.zeros(len(logits), numbers.numel() + 1, device=logits.device)
    area = pixels.scatter_add(1, groups, torch.ones_like(labels).flatten(1))
    is_open = pixels.scatter_add(1, groups, open_border.flatten(1).float())
    small = (area <= max_area) & (is_open == 0)
    holes = small.gather(1, groups).view_as(background) & background
    return torch.where(holes, FILLED, logits)


def _highest(labels: Tensor) -> Tensor:
    """The highest label in the 3 x 3 pixels around each pixel."""
    return max_pool2d(labels, kernel_size=3, stride=1, padding=1)
