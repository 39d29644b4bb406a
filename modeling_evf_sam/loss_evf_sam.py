"""The loss of EVF-SAM: binary cross-entropy and dice, each averaged over masks (paper, section 3.4).

The constants are those of the original's `dice_loss` (scale 1000, smoothing 1e-6), inherited from LISA.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .image_processing_evf_sam import resize_mask_logits

IGNORE = -1.0
DICE_SCALE = 1000.0
DICE_SMOOTHING = 1e-6


def bce_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of each mask, averaged over its pixels: (N, H, W), (N, H, W) -> (N,).

    Pixels whose target is -1 do not count.
    """
    valid = (targets != IGNORE).to(logits.dtype)
    loss = F.binary_cross_entropy_with_logits(logits, targets.clamp(min=0), reduction="none")
    return (loss * valid).sum((1, 2)) / valid.sum((1, 2)).clamp(min=1)


def dice_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """One minus the dice overlap of each mask: (N, H, W), (N, H, W) -> (N,).

    Pixels whose target is -1 do not count.
    """
    valid = (targets != IGNORE).to(logits.dtype)
    probabilities = logits.sigmoid() * valid / DICE_SCALE
    targets = targets * valid
    overlap = 2 * (probabilities * targets).sum((1, 2))
    total = probabilities.sum((1, 2)) + (targets / DICE_SCALE).sum((1, 2))
    return 1 - (overlap + DICE_SMOOTHING) / (total + DICE_SMOOTHING)


def mask_losses(
    logits: Tensor,
    present: Tensor,
    labels: Tensor | list[Tensor],
    *,
    view_size: int,
    image_layout: str,
    reshaped_sizes: Tensor | None = None,
    presence_logits: Tensor | None = None,
) -> dict[str, Tensor]:
    """Mean losses over all masks of B photos with P sentences at the most.

    Args:
        logits: (B, P, h, w) mask logits of SAM's view.
        present: (B, P) bool: which sentences are there.
        labels: target masks: a list of B tensors (P_i, H_i, W_i) at the size of the photos, or one tensor
            (B, P, H, W) on SAM's view at any resolution, where -1 does not count.
        view_size: side of SAM's view, for labels at the size of the photos, as the next two.
        image_layout: how the photos became that view.
        reshaped_sizes: (B, 2) height and width that each photo takes up in a padded view.
        presence_logits: (B, P) of a model that says whether a target is there. It learns that, and its masks are
            compared with those targets alone that have a pixel.

    Returns:
        Scalars "bce" and "dice", and "presence" where there are logits for it.
    """
    if isinstance(labels, Tensor):
        logits = F.interpolate(logits[present][:, None].float(), labels.shape[-2:], mode="bilinear")[:, 0]
        pairs = [(logits, labels[present].float())]
    else:
        sizes = [None] * len(labels) if reshaped_sizes is None else reshaped_sizes.tolist()
        pairs = [
            (resize_mask_logits(rows[there], target.shape[-2:], view_size, image_layout, size), target.float())
            for rows, there, target, size in zip(logits, present, labels, sizes, strict=True)
        ]
    losses = {}
    if presence_logits is not None:
        named = [(target > 0).flatten(1).any(1) for _, target in pairs]
        logits = presence_logits[present].float()
        losses["presence"] = F.binary_cross_entropy_with_logits(logits, torch.cat(named).to(logits))
        pairs = [(rows[kept], target[kept]) for (rows, target), kept in zip(pairs, named, strict=True)]
    for name, loss_of_masks in (("bce", bce_loss), ("dice", dice_loss)):
        values = torch.cat([loss_of_masks(*pair) for pair in pairs])
        losses[name] = values.mean() if len(values) else values.sum()
    return losses
