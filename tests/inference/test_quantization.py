import copy

import pytest
import torch
from torch import Tensor, nn

from modeling_evf_sam import DEFAULT_CHECKPOINT, EvfSamModel, EvfSamProcessor
from modeling_evf_sam.inference.quantization import quantize, quantize_linear_layers
from modeling_evf_sam.originals.converting import convert_state_dict
from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes
from tests.golden import SYSTEMS, golden_config, golden_inputs, original_tensors


@pytest.fixture(scope="module")
def whole() -> EvfSamModel:
    return EvfSamModel.from_pretrained(DEFAULT_CHECKPOINT).eval()


def segment(model: EvfSamModel) -> list[Tensor]:
    """One mask for each sentence on a few scenes."""
    processor = EvfSamProcessor.from_pretrained(DEFAULT_CHECKPOINT)
    masks: list[Tensor] = []
    for scene in RenderedScenes("test", 4):
        inputs = processor(images=[scene.photo], text=[scene.sentences], semantic=[scene.semantic])
        (result,) = processor.post_process_referring_segmentation(model(**inputs), inputs, present_threshold=0.0)
        masks += result["masks"]
    return masks


@torch.no_grad()
def test_masks_are_nearly_the_same(whole, recwarn):
    short = quantize(copy.deepcopy(whole))
    assert not recwarn
    pairs = list(zip(segment(short), segment(whole), strict=True))
    ious = [((found & expected).sum() / (found | expected).sum()).item() for found, expected in pairs]
    assert 0.97 < sum(ious) / len(ious) < 1


@torch.no_grad()
@pytest.mark.parametrize("name", SYSTEMS)
def test_every_sam_is_computed_in_int8_and_nearly_the_same(name):
    config, inputs = golden_config(**SYSTEMS[name]), golden_inputs(name)
    model = EvfSamModel(config).eval()
    model.load_state_dict(convert_state_dict(original_tensors(config), image_size=config.view_size))
    batch = {
        "pixel_values": inputs["images"],
        "multimodal_pixel_values": inputs["images_evf"],
        "input_ids": inputs["input_ids"][:, None],
    }
    expected = model(**batch).pred_masks
    difference = quantize(model)(**batch).pred_masks - expected
    assert 0 < difference.norm() < 0.06 * expected.norm()
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
    assert any(name.startswith("projector") for name in left)


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
