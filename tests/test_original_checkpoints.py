import json

import pytest
import torch

from modeling_evf_sam import EvfSamConfig, EvfSamModel
from modeling_evf_sam.original_checkpoints import convert_state_dict
from modeling_evf_sam.presets import PRESETS

SAM_SIZES = {
    "huge": PRESETS["evf-sam"]["sam_config"]["vision_config"],
    "large": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "global_attn_indexes": [5, 11, 17, 23],
    },
    "base": {},
}


def meta_model(size: str) -> EvfSamModel:
    with torch.device("meta"):
        return EvfSamModel(
            EvfSamConfig(sam_config={"model_type": "sam", "vision_config": SAM_SIZES[size]}, multimodal_config={})
        )


def listed(shared, name: str) -> dict[str, torch.Tensor]:
    """Meta tensors with the names and shapes of an original file."""
    listing = json.loads((shared / "reference" / "keys" / f"{name}.json").read_text())
    return {key: torch.empty(shape, device="meta") for key, shape, _ in listing}


def test_the_release_maps_one_to_one(shared):
    """Every tensor of the full-size EVF-SAM has its place: same names, same shapes."""
    original = listed(shared, "evf_sam_full")
    converted = {name: tuple(tensor.shape) for name, tensor in convert_state_dict(original).items()}
    with torch.device("meta"):
        model = EvfSamModel.from_preset("evf-sam")
    assert converted == {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    fourier = original["visual_model.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"]  # a buffer there
    assert sum(tensor.numel() for tensor in original.values()) - fourier.numel() == 1_315_105_072


@pytest.mark.parametrize(("file", "size"), [("sam_vit_h", "huge"), ("sam_vit_l", "large"), ("sam_vit_b", "base")])
def test_a_sam_file_fills_the_sam(shared, file, size):
    converted = {name: tuple(tensor.shape) for name, tensor in convert_state_dict(listed(shared, file)).items()}
    sam = meta_model(size).sam.state_dict()
    assert converted == {f"sam.{name}": tuple(tensor.shape) for name, tensor in sam.items()}


def test_a_beit3_file_fills_the_encoder(shared):
    converted = {name: tuple(t.shape) for name, t in convert_state_dict(listed(shared, "beit3_large")).items()}
    encoder = meta_model("base").multimodal_encoder.state_dict()
    assert converted == {f"multimodal_encoder.{name}": tuple(tensor.shape) for name, tensor in encoder.items()}


def test_unknown_names_are_listed():
    with pytest.raises(ValueError, match="1 tensors have unknown names: visual_model"):
        convert_state_dict({"visual_model.memory_attention.norm.weight": torch.zeros(3)})


@pytest.mark.parametrize("name", ["mlm_head.weight", "logit_scale", "pixel_mean"])
def test_pretraining_heads_and_constants_are_left_out(name):
    assert convert_state_dict({name: torch.zeros(3)}) == {}
