import pytest
import torch

from modeling_evf_sam.loss_evf_sam import bce_loss, dice_loss

TARGET = [[1.0, 0.0], [0.0, 0.0]]
EMPTY = [[0.0, 0.0], [0.0, 0.0]]
LOGITS = [[2.0, -1.0], [0.5, -3.0]]


# Computed with the original's code.
@pytest.mark.parametrize(
    ("logits", "target", "bce", "dice"),
    [
        (EMPTY, TARGET, 0.69314718, 0.66644454),
        (LOGITS, TARGET, 0.36571354, 0.37510484),
        (LOGITS, EMPTY, 0.86571354, 0.99945074),
    ],
)
def test_agrees_with_the_original(logits, target, bce, dice):
    logits, target = torch.tensor([logits]), torch.tensor([target])
    torch.testing.assert_close(bce_loss(logits, target), torch.tensor([bce]), atol=1e-7, rtol=0)
    torch.testing.assert_close(dice_loss(logits, target), torch.tensor([dice]), atol=1e-7, rtol=0)


@pytest.mark.parametrize("loss", [bce_loss, dice_loss])
def test_ignored_pixels_change_nothing(loss):
    logits, target = torch.randn(2, 4, 4), (torch.rand(2, 4, 4) > 0.5).float()
    wide_logits, wide_target = torch.randn(2, 4, 6), torch.full((2, 4, 6), -1.0)
    wide_logits[..., :4], wide_target[..., :4] = logits, target
    torch.testing.assert_close(loss(wide_logits, wide_target), loss(logits, target))


@pytest.mark.parametrize("loss", [bce_loss, dice_loss])
def test_a_mask_that_is_ignored_whole_gives_no_gradient(loss):
    logits = torch.randn(1, 4, 4, requires_grad=True)
    loss(logits, torch.full((1, 4, 4), -1.0)).sum().backward()
    assert not logits.grad.any()
