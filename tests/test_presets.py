import json

import pytest
import torch

from modeling_evf_sam import EvfSamConfig, EvfSamModel
from modeling_evf_sam.multimodal_encoders import multimodal_encoder
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
OTHERS = {  # systems that the paper does not have, but SAM does: their parts are counted in tests of original files
    "evf-sam-vit-l": 986_357_552,
    "evf-sam-vit-b": 315_510_576,
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


ENCODERS = {  # encoder of each ablation: parameters here, and millions in the paper (Tables 3 and 6)
    "evf-sam-clip-text": (123_060_480, 123),
    "evf-sam-clip-late": (427_616_513, 428),
    "evf-sam-openclip-text": (352_984_064, 302),
    "evf-sam-openclip-late": (986_109_441, 986),
    "evf-sam-vilt-text": (108_532_224, 133),
    "evf-sam-vilt-late": (111_004_416, 136),
    "evf-sam-vilt-early": (111_004_416, 136),
    "evf-sam-beit3-text": (369_152_000, 370),
    "evf-sam-beit3-late": (672_702_464, 673),
    "evf-sam-beit3-early-12": (672_702_464, 673),
    "evf-sam-text-cls": (672_702_464, 673),
    "evf-sam-image-mean": (672_702_464, 673),
    "evf-sam-concat": (672_702_464, 673),
}
# ViLT's pooler and its head for masked words, whose output matrix is in truth the table of words.
VILT_HEADS = 2 * (768 * 768 + 768) + 2 * 768 + 30522 * 768 + 30522
NOT_IN_THE_PAPER = {  # the difference between what the paper seems to count and what a prompt needs
    "evf-sam-openclip-text": -(49408 * 1024 + 77 * 1024 + 2 * 1024),  # words, positions, final LayerNorm
    "evf-sam-vilt-text": VILT_HEADS + (144 + 2) * 768,  # positions and [CLS] of the image, not its patches' weights
    "evf-sam-vilt-late": VILT_HEADS,
    "evf-sam-vilt-early": VILT_HEADS,
    "evf-sam-beit3-text": (3 * 16 * 16 + 1 + 1 + 1 + 199) * 1024,  # patches, bias, [CLS], [MASK], positions
}


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_have_the_size_of_the_paper(name):
    with torch.device("meta"):
        encoder = multimodal_encoder(EvfSamConfig(**PRESETS[name]))
    count, millions = ENCODERS[name]
    assert sum(parameter.numel() for parameter in encoder.parameters()) == count
    assert round((count + NOT_IN_THE_PAPER.get(name, 0)) / 1e6) == millions


def test_every_preset_is_counted():
    assert set(PRESETS) == {*PAPER, *ENCODERS, *OTHERS}


@pytest.mark.parametrize("name", OTHERS)
def test_smaller_sams(name):
    with torch.device("meta"):
        model = EvfSamModel.from_preset(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == OTHERS[name]


@pytest.mark.parametrize("name", PAPER)
def test_presets_have_the_size_of_the_paper(name):
    with torch.device("meta"):
        model = EvfSamModel.from_preset(name)
    assert sum(parameter.numel() for parameter in model.parameters()) + difference(name) == PAPER[name]
    assert model.config.view_size == 1024


@pytest.mark.parametrize("name", [name for name in PAPER if "sam2" not in name])
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
