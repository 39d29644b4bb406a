"""The sizes of the golden checkpoints, and the rule that their weights follow from (see the golden README)."""

import hashlib

import torch
from torch import Tensor

from modeling_evf_sam import EvfSamConfig

GOLDEN_ENCODER = {
    "model_type": "beit3",
    "vocab_size": 120,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}
GOLDEN_SAM = {
    "model_type": "sam",
    "vision_config": {
        "hidden_size": 48,
        "output_channels": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": 128,
        "patch_size": 16,
        "window_size": 3,
        "global_attn_indexes": [1, 3],
        "num_pos_feats": 16,
        "initializer_range": 0.02,
    },
    "prompt_encoder_config": {"hidden_size": 32, "image_size": 128, "patch_size": 16},
    "mask_decoder_config": {
        "hidden_size": 32,
        "mlp_dim": 64,
        "num_attention_heads": 4,
        "iou_head_hidden_dim": 24,
        "layer_norm_eps": 1e-5,
    },
}
GOLDEN_SAM2 = {
    "model_type": "sam2",
    "vision_config": {
        "backbone_config": {
            "model_type": "sam2_hiera_det_model",
            "hidden_size": 16,
            "num_attention_heads": 1,
            "image_size": [256, 256],
            "blocks_per_stage": [1, 2, 3, 1],
            "embed_dim_per_stage": [16, 32, 64, 128],
            "num_attention_heads_per_stage": [1, 2, 4, 8],
            "window_size_per_stage": [8, 4, 14, 7],
            "global_attention_blocks": [4],
        },
        "backbone_channel_list": [128, 64, 32, 16],
        "backbone_feature_sizes": [[64, 64], [32, 32], [16, 16]],
    },
    "prompt_encoder_config": {"image_size": 256},
}
GOLDEN_EFFICIENT_SAM = {
    "model_type": "efficient_sam",
    "vision_config": {
        "hidden_size": 24,
        "output_channels": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "image_size": 128,
        "patch_size": 16,
    },
    "mask_decoder_config": {
        "hidden_size": 32,
        "mlp_dim": 64,
        "num_attention_heads": 4,
        "iou_head_hidden_dim": 24,
        "upscaling_channels": [16, 8],
    },
}

SYSTEMS: dict[str, dict] = {  # the changes of `golden_config` for each golden folder
    "evf_sam": {},
    "evf_sam2": {"sam_config": GOLDEN_SAM2, "image_layout": "stretch", "mask_selection": "best_iou"},
    "evf_efficient_sam": {"sam_config": GOLDEN_EFFICIENT_SAM, "image_layout": "stretch"},
}


def golden_config(**changes) -> EvfSamConfig:
    return EvfSamConfig(**{"multimodal_config": GOLDEN_ENCODER, "sam_config": GOLDEN_SAM, **changes})


def ruled_tensor(key: str, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """The value of the original tensor `key`, which depends on its name and shape alone."""
    digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    values = torch.randn(shape, generator=generator)
    if "gaussian_matrix" in key:
        return values
    if values.ndim >= 2:
        fan_in = values.shape[-1] if values.ndim == 2 and "embed" in key else values[0].numel()
        return values / fan_in**0.5
    return 1 + 0.1 * values if key.endswith("weight") else 0.05 * values
