"""The loss of EVF-SAM: binary cross-entropy and dice, each averaged over masks (paper, section 3.4).

The constants are those of the original's `dice_loss` (scale 1000, smoothing 1e-6), inherited from LISA.
"""

import torch.nn.functional as F
from torch import Tensor

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
