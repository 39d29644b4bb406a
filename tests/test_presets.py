import json

import pytest
import torch

from modeling_evf_sam import EvfSamModel
from modeling_evf_sam.presets import PRESETS

PAPER = {  # parameters of each system (EVF-SAM paper, Table 6 and the authors' README; the code gives the units)
    "evf-sam": 1_315_105_072,
    "evf-sam-multitask": 1_315_105_072,
    "evf-sam-beit3-base": 862_865_456,
    "evf-sam2": 898_444_594,
    "evf-sam2-multitask": 898_444_594,
    "evf-effi-sam-l": 700_427_492,
    "evf-effi-sam-b": 231_998_052,
}
# SAM-2's modules for video, which the original counts and an image model has no use for.
VIDEO_PARAMETERS = {
    "memory_attention": 5_922_304,
    "memory_encoder": 1_384_608,
    "obj_ptr_proj": 197_376,
    "maskmem_tpos_enc": 7 * 64,
    "no_mem_pos_enc": 256,
    "no_obj_ptr": 256,
    "mask_downsample": 4 * 4 + 1,
}


def difference(name: str) -> int:
    """Parameters that the original counts, minus those that this package counts, each with its reason."""
    sam = PRESETS[name]["sam_config"]
    if sam["model_type"] == "sam2":
        return sum(VIDEO_PARAMETERS.values())
    if sam["model_type"] == "sam":
        return -2 * 128  # the Fourier matrix is a parameter here, a buffer in the original
    width = sam["vision_config"]["hidden_size"]  # positions: 14 x 14 and a [CLS] there, interpolated once here
    return (14 * 14 + 1 - 64 * 64) * width


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_the_size_of_the_paper(name):
    with torch.device("meta"):
        model = EvfSamModel.from_preset(name)
    assert sum(parameter.numel() for parameter in model.parameters()) + difference(name) == PAPER[name]
    assert model.config.view_size == 1024


@pytest.mark.parametrize("name", [name for name in PRESETS if "sam2" not in name])
def test_two_way_transformers_have_the_epsilon_of_the_original(name):
    with torch.device("meta"):
        model = EvfSamModel.from_preset(name)
    assert model.sam.mask_decoder.transformer.layers[0].layer_norm1.eps == 1e-5


def test_video_parameters_are_those_of_the_file(shared):
    listing = json.loads((shared / "reference" / "keys" / "sam2_l.json").read_text())
    for module, count in VIDEO_PARAMETERS.items():
        sizes = [torch.Size(shape).numel() for key, shape, _ in listing if key.split(".")[0] == module]
        assert sum(sizes) == count


def test_unknown_preset():
    with pytest.raises(ValueError, match="no preset 'evf-sam3': choose one of evf-sam"):
        EvfSamModel.from_preset("evf-sam3")
