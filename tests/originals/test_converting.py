from functools import cache

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModel

from modeling_evf_sam import EvfSamModel
from modeling_evf_sam.modeling_efficient_sam import EfficientSamModel
from modeling_evf_sam.originals.converting import (
    convert_state_dict,
    ignored_names,
    original_state_dict,
    refuse_misfits,
    resize_vision_positions,
)
from tests.golden import GOLDEN_EFFICIENT_SAM, GOLDEN_SAM, GOLDEN_SAM2, golden_config, ruled_tensor
from tests.original_files import PARTS, RELEASES, expanded, listed

TINY = {
    "evf_sam": {"sam_config": GOLDEN_SAM},
    "evf_sam2": {"sam_config": GOLDEN_SAM2, "image_layout": "stretch", "mask_selection": "best_iou"},
    "evf_efficient_sam": {"sam_config": GOLDEN_EFFICIENT_SAM, "image_layout": "stretch"},
}
POSITIONS = "visual_model.image_encoder.pos_embed"
FOURIER = "sam.prompt_encoder.shared_embedding.positional_embedding"
IMAGE_FOURIER = "sam.shared_image_embedding.positional_embedding"


@cache
def meta_tensors(preset: str) -> dict[str, Tensor]:
    with torch.device("meta"):
        return EvfSamModel.from_preset(preset).state_dict()


@cache
def tiny_tensors(name: str) -> dict[str, Tensor]:
    tensors = dict(EvfSamModel(golden_config(**TINY[name])).state_dict())
    if name == "evf_sam2":  # fresh weights have two matrices, a trained SAM-2 one
        tensors[IMAGE_FOURIER] = tensors[FOURIER]
    return tensors


def assert_same_tensors(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


# --- Names ---


@pytest.mark.parametrize(("file", "preset", "count", "unused"), [(file, *rest) for file, rest in RELEASES.items()])
def test_a_release_maps_one_to_one(shared, file, preset, count, unused):
    original = listed(shared, file)
    refuse_misfits(convert_state_dict(original), meta_tensors(preset))
    assert (len(original), len(ignored_names(original))) == (count, unused)


@pytest.mark.parametrize("file", PARTS)
def test_a_single_file_fills_its_part(shared, file):
    config = expanded(PARTS[file])
    with torch.device("meta"):
        if config.model_type == "efficient_sam":
            part = EfficientSamModel(config).state_dict()
        else:
            part = AutoModel.from_config(config).state_dict()
    prefix = "multimodal_encoder." if config.model_type == "beit3" else "sam."
    refuse_misfits(convert_state_dict(listed(shared, file)), {prefix + name: part[name] for name in part})


@pytest.mark.parametrize(
    ("original", "ours"),
    [
        ("mm_extractor.beit3.encoder.embed_positions.B.weight", "multimodal_encoder.embeddings.text_positions.weight"),
        (
            "beit3.encoder.layers.11.self_attn.out_proj.A.bias",
            "multimodal_encoder.layers.11.attention.out_proj.vision.bias",
        ),
        (
            "beit3.encoder.layers.0.ffn.B.ffn_layernorm.weight",
            "multimodal_encoder.layers.0.mlp.text.layer_norm.weight",
        ),
        ("text_hidden_fcs.0.2.bias", "projector.fc2.bias"),
        ("visual_model.image_encoder.blocks.31.attn.rel_pos_h", "sam.vision_encoder.layers.31.attn.rel_pos_h"),
        ("image_encoder.neck.3.bias", "sam.vision_encoder.neck.layer_norm2.bias"),
        ("prompt_encoder.mask_downscaling.6.weight", "sam.prompt_encoder.mask_embed.conv3.weight"),
        (
            "mask_decoder.output_hypernetworks_mlps.3.layers.1.bias",
            "sam.mask_decoder.output_hypernetworks_mlps.3.layers.0.bias",
        ),
        (
            "image_encoder.trunk.blocks.2.mlp.layers.1.weight",
            "sam.vision_encoder.backbone.blocks.2.mlp.proj_out.weight",
        ),
        ("image_encoder.trunk.pos_embed_window", "sam.vision_encoder.backbone.pos_embed_window"),
        (
            "sam_mask_decoder.transformer.layers.1.self_attn.out_proj.bias",
            "sam.mask_decoder.transformer.layers.1.self_attn.o_proj.bias",
        ),
        ("sam_mask_decoder.pred_obj_score_head.layers.2.bias", "sam.mask_decoder.pred_obj_score_head.proj_out.bias"),
        ("image_encoder.blocks.0.mlp.fc1.bias", "sam.vision_encoder.layers.0.mlp.lin1.bias"),
    ],
)
def test_names(original, ours):
    assert list(convert_state_dict({original: torch.zeros(3)})) == [ours]


@pytest.mark.parametrize(
    ("original", "ours"),
    [
        ("visual_model.prompt_encoder.invalid_points.weight", "sam.prompt_encoder.not_a_point_embed.weight"),
        ("mask_decoder.transformer.layers.1.mlp.fc.weight", "sam.mask_decoder.transformer.layers.1.mlp.lin2.weight"),
        ("mask_decoder.final_output_upscaling_layers.0.1.bias", "sam.mask_decoder.upscale_norm.bias"),
        ("mask_decoder.iou_prediction_head.fc.bias", "sam.mask_decoder.iou_prediction_head.proj_out.bias"),
    ],
)
def test_names_of_efficient_sam(original, ours):
    sign = {"prompt_encoder.bbox_top_left_embeddings.weight": torch.zeros(1, 3)}
    assert ours in convert_state_dict({original: torch.zeros(3), **sign})


@pytest.mark.parametrize(("preset", "count"), [("evf-sam", 1569), ("evf-sam2", 1875 - 157)])
def test_every_tensor_of_a_full_size_model_has_an_original_name(preset, count):
    tensors = meta_tensors(preset)
    original = original_state_dict(tensors)
    assert len(original) == count
    refuse_misfits(convert_state_dict(original), tensors)


@pytest.mark.parametrize("name", TINY)
def test_our_tensors_survive_the_way_to_the_original_and_back(name):
    ours = tiny_tensors(name)
    back = convert_state_dict(original_state_dict(ours), image_size=128)
    if name == "evf_efficient_sam":
        positions = "sam.vision_encoder.pos_embed"
        torch.testing.assert_close(back.pop(positions), ours[positions])
        ours = {key: ours[key] for key in ours if key != positions}
    assert_same_tensors(back, ours)


@pytest.mark.parametrize("name", TINY)
def test_original_tensors_survive_the_way_to_ours_and_back(shared, name):
    original = load_file(shared / "golden" / name / "state_dict.safetensors")
    memory = original if name == "evf_sam2" else None
    back = original_state_dict(convert_state_dict(original, image_size=1024), memory)
    if name == "evf_efficient_sam":
        torch.testing.assert_close(back.pop(POSITIONS)[:, 1:], original.pop(POSITIONS)[:, 1:], atol=1e-5, rtol=0)
    assert_same_tensors(back, original)


def test_memory_comes_from_metas_file_too():
    """Meta's files have no prefix, and say gamma where the original EVF-SAM says weight."""
    ours = {"sam.mask_decoder.conv_s0.bias": torch.ones(32)}
    gamma = "memory_encoder.fuser.layers.1.gamma"
    meta = {gamma: torch.ones(3), "no_mem_embed": torch.zeros(3), "memory_attention.freqs_cis": torch.zeros(3)}
    original = original_state_dict(ours, memory=meta)
    assert_same_tensors(
        original,
        {
            "visual_model.sam_mask_decoder.conv_s0.bias": torch.ones(32),
            "visual_model.memory_encoder.fuser.layers.1.weight": torch.ones(3),
        },
    )


@pytest.mark.parametrize(
    ("ours", "memory"),
    [("sam.mask_decoder.conv_s0.bias", "no_mem_embed"), ("sam.mask_decoder.iou_token.weight", "no_obj_ptr")],
    ids=["no memory in it", "no SAM-2"],
)
def test_memory_that_does_not_belong_is_refused(ours, memory):
    with pytest.raises(ValueError, match="memory belongs to SAM-2"):
        original_state_dict({ours: torch.zeros(3)}, memory={memory: torch.zeros(3)})


@pytest.mark.parametrize(
    "name",
    [
        "memory_attention.layers.0.norm1.weight",
        "memory_encoder.fuser.layers.0.gamma",
        "memory_encoder.fuser.layers.0.weight",
        "no_mem_pos_enc",
        "no_obj_embed_spatial",
        "obj_ptr_tpos_proj.weight",
        "visual_model.obj_ptr_proj.layers.0.weight",
        "visual_model.memory_attention.layers.0.self_attn.freqs_cis",
    ],
)
def test_modules_for_videos_are_left_out_of_sam2_alone(name):
    sam2 = {"sam_mask_decoder.iou_token.weight": torch.zeros(1, 3), name: torch.zeros(3)}
    assert list(convert_state_dict(sam2)) == ["sam.mask_decoder.iou_token.weight"]
    assert ignored_names(sam2) == [name]


@pytest.mark.parametrize("name", ["mlm_head.weight", "mim_head.bias", "logit_scale", "pixel_mean"])
def test_pretraining_heads_and_constants_are_left_out(name):
    assert convert_state_dict({name: torch.zeros(3)}) == {}


def test_points_and_the_fourier_matrix_of_sam2():
    """transformers stacks the kinds of points, and keeps two copies of the matrix."""
    points = {f"sam_prompt_encoder.point_embeddings.{index}.weight": torch.full((1, 2), index) for index in range(4)}
    matrix = torch.ones(2, 3)
    fourier = {"sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix": matrix}
    sign = {"sam_mask_decoder.iou_token.weight": torch.zeros(1, 2)}
    converted = convert_state_dict(points | fourier | sign)
    assert converted["sam.prompt_encoder.point_embed.weight"].tolist() == [[0, 0], [1, 1], [2, 2], [3, 3]]
    assert torch.equal(converted[FOURIER], matrix)
    assert torch.equal(converted[IMAGE_FOURIER], matrix)
    assert original_state_dict({IMAGE_FOURIER: matrix}) == original_state_dict({FOURIER: matrix})  # saved once if tied
    with pytest.raises(ValueError, match="differ"):
        original_state_dict({FOURIER: matrix, IMAGE_FOURIER: 2 * matrix})


@pytest.mark.parametrize(
    ("convert", "name"),
    [
        (convert_state_dict, "visual_model.memory_attention.norm.weight"),  # no SAM-2 around it
        (convert_state_dict, "image_encoder.neck.4.weight"),
        (convert_state_dict, "image_encoder.blocks.x.norm1.weight"),
        (convert_state_dict, "sam.mask_decoder.iou_token.weight"),  # already ours
        (original_state_dict, "sam.mask_decoder.conv_s2.weight"),
        (original_state_dict, "visual_model.mask_decoder.iou_token.weight"),
    ],
)
def test_unknown_names_are_listed(convert, name):
    with pytest.raises(ValueError, match=f"1 tensors have unknown names: {name}"):
        convert({name: torch.zeros(3)})


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"a": torch.zeros(2)}, r"1 missing \(b\)$"),
        ({"a": torch.zeros(2), "b": torch.zeros(3), "c": torch.zeros(1)}, r"1 unknown \(c\)$"),
        ({"a": torch.zeros(2), "b": torch.zeros(1, 3)}, r"1 misshapen \(b \(1, 3\) instead of \(3,\)\)$"),
    ],
)
def test_tensors_that_do_not_fit_are_listed(tensors, message):
    with pytest.raises(ValueError, match=message):
        refuse_misfits(tensors, {"a": torch.zeros(2), "b": torch.zeros(3)})


# --- Positions ---


def test_positions_of_efficient_sam_are_stretched_once():
    table = torch.zeros(1, 197, 2)
    table[0, 1:, 0] = torch.arange(14).repeat(14)  # the column of each of the 14 x 14 patches
    table[0, 1:, 1] = torch.arange(14).repeat_interleave(14)
    file = {POSITIONS: table, "visual_model.image_encoder.patch_embed.proj.weight": torch.zeros(2, 3, 16, 16)}
    file["visual_model.image_encoder.blocks.0.mlp.fc1.bias"] = torch.zeros(8)
    positions = convert_state_dict(file, image_size=448)["sam.vision_encoder.pos_embed"]
    assert positions.shape == (1, 28, 28, 2)
    inner = (torch.arange(28) / 2 - 0.25)[4:24]  # centres of half patches; the borders bend
    torch.testing.assert_close(positions[0, 10, 4:24, 0], inner, atol=0.05, rtol=0)  # bicubic, so not quite linear
    torch.testing.assert_close(positions[0, 4:24, 10, 1], inner, atol=0.05, rtol=0)


def test_positions_that_were_trained_at_our_size_are_not_forced_into_the_originals_table():
    ours = {"sam.vision_encoder.pos_embed": ruled_tensor("positions", (1, 32, 32, 4))}
    ours["sam.prompt_encoder.bbox_top_left_embed.weight"] = torch.zeros(1, 4)
    with pytest.raises(ValueError, match=r"pos_embed was trained at 32 x 32"):
        original_state_dict(ours)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_positions_in_half_precision_go_back(dtype):
    table = ruled_tensor("positions", (1, 197, 4)).to(dtype)
    file = {POSITIONS: table, "visual_model.image_encoder.patch_embed.proj.weight": torch.zeros(4, 3, 16, 16)}
    file["visual_model.prompt_encoder.bbox_top_left_embeddings.weight"] = torch.zeros(1, 4)
    back = original_state_dict(convert_state_dict(file))[POSITIONS]
    assert back.dtype == dtype
    torch.testing.assert_close(back[:, 1:], table[:, 1:], atol=0.05, rtol=0)


def test_vision_positions_of_beit3_at_another_size():
    table = ruled_tensor("positions", (3 + 24 * 24, 4))
    resized = resize_vision_positions(table, 14 * 14)
    assert resized.shape == (3 + 14 * 14, 4)
    assert torch.equal(resized[:3], table[:3])
    assert torch.equal(resize_vision_positions(table, 24 * 24), table)
    flat = torch.cat([table[:3], torch.ones(24 * 24, 4)])
    torch.testing.assert_close(resize_vision_positions(flat, 30 * 30)[3:], torch.ones(30 * 30, 4))
