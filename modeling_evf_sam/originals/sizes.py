"""What sizes a file of EVF-SAM or of one of its parts has: told by the names and shapes of its tensors.

Works for whole EVF-SAM releases and for single SAM, SAM-2, SAM-2.1, EfficientSAM and BEIT-3 files, on any device.
"""

import math
from collections.abc import Mapping
from copy import deepcopy
from functools import partial
from typing import Any

from torch import Tensor

from modeling_evf_sam.configuration_evf_sam import EvfSamConfig
from modeling_evf_sam.originals.names import family_of, release_name
from modeling_evf_sam.originals.settings import habits
from modeling_evf_sam.presets import SAM2_BASE_PLUS, SAM2_LARGE, SAM2_SMALL, SAM2_TINY


def detect_config(
    state_dict: Mapping[str, Tensor], *, multitask: bool = False, image_size: int = 1024
) -> EvfSamConfig:
    """The configuration of a whole EVF-SAM release: `detect_arguments` as an `EvfSamConfig`."""
    return EvfSamConfig(**detect_arguments(state_dict, multitask=multitask, image_size=image_size))


def detect_arguments(
    state_dict: Mapping[str, Tensor], *, multitask: bool = False, image_size: int = 1024
) -> dict[str, Any]:
    """The arguments of `EvfSamConfig` for a whole EVF-SAM release, from the names and shapes of its tensors.

    Args:
        state_dict: original name -> tensor, on any device.
        multitask: whether the release was trained on [semantic] prompts too. Its tensors do not tell; SAM-2's
            multitask release also reads photos and chooses masks in another way.
        image_size: side of SAM's view, where the file does not tell (EfficientSAM).

    Raises:
        ValueError: for names that are missing, tensors of a wrong rank, and an unknown SAM-2.
    """
    sam = detect_sam(state_dict, image_size=image_size)
    return {
        "multimodal_config": detect_encoder(state_dict),
        "sam_config": sam,
        **habits(sam["model_type"], multitask=multitask),
    }


def detect_encoder(state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of `Beit3Config` for a BEIT-3 file or a release; heads are 64 wide, but at least four."""
    tensors = {release_name(name): tensor for name, tensor in state_dict.items()}
    shape = partial(shape_of, tensors)
    beit3 = "mm_extractor.beit3"
    vocabulary, width = shape(f"{beit3}.text_embed.weight", 2)
    patch = shape(f"{beit3}.vision_embed.proj.weight", 4)[-1]
    positions = shape(f"{beit3}.encoder.embed_positions.A.weight", 2)[0]
    return {
        "model_type": "beit3",
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_hidden_layers": _depth(tensors, f"{beit3}.encoder.layers."),
        "num_attention_heads": max(width // 64, 4),
        "intermediate_size": shape(f"{beit3}.encoder.layers.0.ffn.A.fc1.weight", 2)[0],
        "image_size": math.isqrt(positions - 3) * patch,  # two rows that are never used, and [CLS]
        "patch_size": patch,
        "max_position_embeddings": shape(f"{beit3}.encoder.embed_positions.B.weight", 2)[0],
    }


def detect_sam(state_dict: Mapping[str, Tensor], *, image_size: int = 1024) -> dict[str, Any]:
    """The arguments of `SamConfig`, `Sam2Config` or `EfficientSamConfig`, and `model_type`, for a file or a release.

    Args:
        state_dict: original name -> tensor, on any device.
        image_size: side of SAM's view, where the file does not tell (EfficientSAM).
    """
    tensors = {release_name(name): tensor for name, tensor in state_dict.items()}
    family = family_of(tensors)
    if family == "sam2":
        return _detect_sam2(tensors)
    return _detect_sam(tensors) if family == "sam" else _detect_efficient_sam(tensors, image_size)


def _detect_sam(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """SAM-1, known from shapes: the tables of relative positions tell heads, windows and global layers."""
    shape = partial(shape_of, tensors)
    vision = _detect_vit(tensors, mlp="lin1")
    side = shape("visual_model.image_encoder.pos_embed", 4)[1]
    tables = [
        shape(f"visual_model.image_encoder.blocks.{index}.attn.rel_pos_h", 2)
        for index in range(vision["num_hidden_layers"])
    ]
    windows = [(rows + 1) // 2 for rows, _ in tables]
    vision |= {
        "num_attention_heads": vision["hidden_size"] // tables[0][1],
        "image_size": side * vision["patch_size"],
        "window_size": min(windows),
        "global_attn_indexes": [index for index, window in enumerate(windows) if window == side],
    }
    width = shape("visual_model.prompt_encoder.no_mask_embed.weight", 2)[1]
    return {
        "model_type": "sam",
        "vision_config": vision,
        "prompt_encoder_config": {
            "hidden_size": width,
            "image_size": vision["image_size"],
            "patch_size": vision["patch_size"],
            "mask_input_channels": shape("visual_model.prompt_encoder.mask_downscaling.3.weight", 4)[0],
        },
        "mask_decoder_config": _detect_decoder(tensors, mlp="lin1", head="layers.0"),
    }


def _detect_efficient_sam(tensors: Mapping[str, Tensor], image_size: int) -> dict[str, Any]:
    """EfficientSAM: heads are 64 wide, but at least three."""
    shape = partial(shape_of, tensors)
    vision = _detect_vit(tensors, mlp="fc1")
    vision |= {"num_attention_heads": max(vision["hidden_size"] // 64, 3), "image_size": image_size}
    upscaling = "visual_model.mask_decoder.final_output_upscaling_layers"
    decoder = _detect_decoder(tensors, mlp="layers.0.0", head="layers.0.0")
    decoder["upscaling_channels"] = [shape(f"{upscaling}.{conv}.0.weight", 4)[1] for conv in range(2)]
    return {"model_type": "efficient_sam", "vision_config": vision, "mask_decoder_config": decoder}


def _detect_sam2(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """SAM-2: shapes do not tell heads, windows and global blocks, but the four published sizes are known."""
    trunk = "visual_model.image_encoder.trunk"
    found = (shape_of(tensors, f"{trunk}.pos_embed", 4)[1], _depth(tensors, f"{trunk}.blocks."))
    for preset in (SAM2_TINY, SAM2_SMALL, SAM2_BASE_PLUS, SAM2_LARGE):
        backbone = preset["vision_config"]["backbone_config"]
        if found == (backbone["hidden_size"], sum(backbone["blocks_per_stage"])):
            return deepcopy(preset)
    raise ValueError(f"no published SAM-2 has width {found[0]} and {found[1]} blocks: pass config= with its sizes")


def _detect_vit(tensors: Mapping[str, Tensor], *, mlp: str) -> dict[str, Any]:
    """What the image encoders of SAM-1 and EfficientSAM have in common; `mlp` is the first layer's name."""
    shape = partial(shape_of, tensors)
    encoder = "visual_model.image_encoder"
    width, _, _, patch = shape(f"{encoder}.patch_embed.proj.weight", 4)
    return {
        "hidden_size": width,
        "num_hidden_layers": _depth(tensors, f"{encoder}.blocks."),
        "patch_size": patch,
        "mlp_dim": shape(f"{encoder}.blocks.0.mlp.{mlp}.weight", 2)[0],
        "output_channels": shape(f"{encoder}.neck.0.weight", 4)[0],
        "num_pos_feats": shape("visual_model.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", 2)[1],
        "initializer_range": 0.02,
    }


def _detect_decoder(tensors: Mapping[str, Tensor], *, mlp: str, head: str) -> dict[str, Any]:
    """A mask decoder; heads are 32 wide, but at least four. `mlp` and `head` name first layers."""
    shape = partial(shape_of, tensors)
    decoder = "visual_model.mask_decoder"
    tokens, width = shape(f"{decoder}.mask_tokens.weight", 2)
    inner = shape(f"{decoder}.transformer.final_attn_token_to_image.q_proj.weight", 2)[0]
    return {
        "hidden_size": width,
        "num_hidden_layers": _depth(tensors, f"{decoder}.transformer.layers."),
        "num_attention_heads": max(width // 32, 4),
        "attention_downsample_rate": width // inner,
        "mlp_dim": shape(f"{decoder}.transformer.layers.0.mlp.{mlp}.weight", 2)[0],
        "num_multimask_outputs": tokens - 1,
        "iou_head_hidden_dim": shape(f"{decoder}.iou_prediction_head.{head}.weight", 2)[0],
        "layer_norm_eps": 1e-5,  # as the original; transformers' SAM has 1e-6
    }


def _depth(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """How many layers have tensors below `prefix`."""
    return len({name.removeprefix(prefix).split(".")[0] for name in tensors if name.startswith(prefix)})


def shape_of(tensors: Mapping[str, Tensor], name: str, rank: int) -> tuple[int, ...]:
    """The shape of one tensor, with an error that names it if it is missing or of another rank."""
    if name not in tensors:
        raise ValueError(f"tensor {name} is missing: this is not a whole file of a known family")
    shape = tuple(tensors[name].shape)
    if len(shape) != rank:
        raise ValueError(f"tensor {name} has shape {shape}, but needs {rank} dimensions")
    return shape
