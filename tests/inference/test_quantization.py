import copy

import pytest
import torch
from torch import nn

from modeling_evf_sam import DEFAULT_CHECKPOINT, EvfSamModel
from modeling_evf_sam.inference.quantization import quantize, quantize_linear_layers
from tests.golden import SYSTEMS, golden_config


@pytest.fixture(scope="module")
def whole() -> EvfSamModel:
    return EvfSamModel.from_pretrained(DEFAULT_CHECKPOINT).eval()


@torch.no_grad()
def test_masks_are_nearly_the_same(whole, recwarn):
    short = quantize(copy.deepcopy(whole))
    assert not recwarn
    view, small_view = whole.config.view_size, whole.config.multimodal_view_size
    noise = torch.Generator().manual_seed(0)
    batch = {
        "pixel_values": torch.randn(1, 3, view, view, generator=noise),
        "multimodal_pixel_values": torch.randn(1, 3, small_view, small_view, generator=noise),
        "input_ids": torch.tensor([[[0, 9, 2], [0, 11, 2]]]),
    }
    found, expected = short(**batch).pred_masks, whole(**batch).pred_masks
    assert not torch.equal(found, expected)
    assert (found - expected).abs().mean() < 0.05 * expected.abs().mean()


@torch.no_grad()
@pytest.mark.parametrize("name", SYSTEMS)
def test_every_sam(name):
    model = quantize(EvfSamModel(golden_config(**SYSTEMS[name])).eval())
    side = model.config.view_size
    views = {"pixel_values": torch.randn(1, 3, side, side), "multimodal_pixel_values": torch.randn(1, 3, 32, 32)}
    assert model(**views, input_ids=torch.full((1, 2, 6), 7)).pred_masks.isfinite().all()
    for encoder in (model.sam.vision_encoder, model.multimodal_encoder):
        assert not any(type(module) is nn.Linear for module in encoder.modules())


def test_both_encoders_and_nothing_else(whole):
    short = quantize(copy.deepcopy(whole))
    left = {name for name, module in short.named_modules() if type(module) is nn.Linear}
    assert left == {
        name
        for name, module in whole.named_modules()
        if type(module) is nn.Linear and not name.startswith(("sam.vision_encoder", "multimodal_encoder"))
    }
    assert left < {name for name, module in whole.named_modules() if type(module) is nn.Linear}


def test_a_quarter_of_the_memory(tmp_path):
    layers = nn.Sequential(nn.Linear(512, 512))
    torch.save(layers.state_dict(), tmp_path / "float32")
    quantize_linear_layers(layers)
    torch.save(layers.state_dict(), tmp_path / "int8")
    sizes = [(tmp_path / name).stat().st_size for name in ("int8", "float32")]
    assert sizes[0] < 0.27 * sizes[1]


def test_other_precisions_are_refused(whole):
    with pytest.raises(ValueError, match="int8 is for a model in float32 on the CPU, not for one in torch"):
        quantize(copy.deepcopy(whole).bfloat16())
