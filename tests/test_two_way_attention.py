import copy

import pytest
import torch
from transformers.models.sam.modeling_sam import SamTwoWayAttentionBlock
from transformers.models.sam2.modeling_sam2 import Sam2TwoWayAttentionBlock

from modeling_evf_sam import EvfSamModel
from modeling_evf_sam.two_way_attention import use_blocks
from tests.golden import SYSTEMS, golden_config

LIBRARY = {"evf_sam": SamTwoWayAttentionBlock, "evf_sam2": Sam2TwoWayAttentionBlock}


@pytest.fixture(params=LIBRARY)
def models(request):
    """A model, and one with the library's blocks and the same weights."""
    torch.manual_seed(0)
    model = EvfSamModel(golden_config(**SYSTEMS[request.param])).eval()
    plain = copy.deepcopy(model)
    use_blocks(plain.sam.mask_decoder, LIBRARY[request.param])
    return model, plain


def inputs(model, dtype=torch.float32):
    side = model.config.view_size
    embeddings = model.get_image_embeddings(torch.randn(2, 3, side, side, dtype=dtype))
    return {"image_embeddings": embeddings, "prompt_embeds": torch.randn(2, 3, model.config.prompt_size, dtype=dtype)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_masks_are_those_of_the_library(models, dtype):
    model, plain = (each.to(dtype) for each in models)
    with torch.no_grad():
        given = inputs(model, dtype)
        found, expected = model(**given), plain(**given)
    # Rows of a matrix that lie otherwise in memory may be summed in another order.
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 5e-2}[dtype]
    torch.testing.assert_close(found.pred_masks, expected.pred_masks, atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(found.iou_scores, expected.iou_scores, atol=tolerance, rtol=tolerance)


def test_gradients_are_those_of_the_library(models):
    model, plain = models
    with torch.no_grad():
        given = inputs(model)
    for each in models:
        each(**given).pred_masks.square().mean().backward()
    expected = dict(plain.sam.mask_decoder.named_parameters())
    for name, value in model.sam.mask_decoder.named_parameters():
        if value.grad is not None:
            torch.testing.assert_close(value.grad, expected[name].grad, msg=name)


def test_the_photo_is_copied_once(models):
    """Not for each linear layer that reads it; and its positions are added once in each block."""

    def counted(model, name):
        with torch.no_grad(), torch.profiler.profile(record_shapes=True) as profile:
            model(**given)
        photo = given["image_embeddings"]
        photo = photo[-1] if isinstance(photo, list) else photo
        size = photo[0].numel() * given["prompt_embeds"].shape[:2].numel()
        return sum(
            event.name == name and bool(event.input_shapes) and torch.Size(event.input_shapes[0]).numel() == size
            for event in profile.events()
        )

    model, plain = models
    with torch.no_grad():
        given = inputs(model)
    blocks = len(model.sam.mask_decoder.transformer.layers)
    assert counted(plain, "aten::add") - counted(model, "aten::add") == blocks
    assert counted(model, "aten::copy_") < counted(plain, "aten::copy_")
