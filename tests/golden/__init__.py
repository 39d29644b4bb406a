"""What the original code computes on tiny weights: sizes, weights, inputs, and, in files beside this one, outputs.

`SYSTEM.safetensors` holds, in float32, what each stage of the original gave for `golden_inputs(SYSTEM)` and weights by
`ruled_tensor`: `inference.*` for one photo and one sentence, `forward.*` for a batch with targets. Of the larger two
levels of SAM-2's image features it holds every fourth row and column.

`preprocessing.safetensors` holds views of `drawn_photo()`: every eighth row and column of the encoder's, every 32nd
of SAM's in either layout. They were written by this package when it equalled the original, bit by bit, on photos.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import pad

from modeling_evf_sam import EvfSamConfig, EvfSamModel
from modeling_evf_sam.originals.converting import original_state_dict

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


def original_tensors(config: EvfSamConfig) -> dict[str, Tensor]:
    """What a release of that size holds under the original names, its values by the rule."""
    tensors = original_state_dict(EvfSamModel(config).state_dict())
    return {key: ruled_tensor(key, tuple(tensor.shape)) for key, tensor in tensors.items()}


def golden_outputs(name: str) -> dict[str, Tensor]:
    """What the original computed, stage by stage."""
    return load_file(Path(__file__).with_name(f"{name}.safetensors"))


def golden_inputs(name: str) -> dict[str, Tensor]:
    """What the original was given: two photos, of which the first is also one of its own, and three sentences.

    Returns:
        For the first photo alone: `images` (1, 3, S, S), `images_evf` (1, 3, s, s), `input_ids` (1, L),
        `original_size` (2,) and `resize` (2,), the height and width before padding. For both: `fw.*` with one more
        row, `fw.input_ids` (3, L), padded, and their `fw.attention_masks`, the first two for the first photo;
        `fw.sizes` and `fw.resize` (2, 2), and the targets `fw.gt.0` (2, H, W) and `fw.gt.1` (1, H, W).
    """
    config = golden_config(**SYSTEMS[name])
    side, small_side = config.view_size, config.multimodal_view_size
    sizes = torch.tensor([[101, 67], [128, 135]] if name == "evf_sam2" else [[53, 35], [64, 71]])
    resize = torch.tensor([[side, side * 3 // 4], [side * 5 // 8, side]])

    generator = torch.Generator().manual_seed(1)  # the order of what is drawn matters
    alone = _draw_ids(8, generator)
    small = [_draw_view(small_side, generator).clamp(-1, 1)]
    large = [_draw_view(side, generator)]
    rows = [_draw_ids(length, generator) for length in (8, 5, 7)]
    large.append(_draw_view(side, generator))
    small.append(_draw_view(small_side, generator).clamp(-1, 1))
    targets = [torch.rand(count, *size, generator=generator) > 0.6 for count, size in zip((2, 1), sizes, strict=True)]

    if config.image_layout == "pad":
        large[0] = _blacken(large[0], *resize[0].tolist())
    ids = torch.stack([pad(row, (0, 8 - len(row)), value=config.multimodal_config.pad_token_id) for row in rows])
    return {
        "images": large[0][None],
        "images_evf": small[0][None],
        "input_ids": alone[None],
        "original_size": sizes[0],
        "resize": resize[0],
        "fw.images": torch.stack(large),
        "fw.images_evf": torch.stack(small),
        "fw.input_ids": ids,
        "fw.attention_masks": ids != config.multimodal_config.pad_token_id,
        "fw.offset": torch.tensor([0, 2, 3]),
        "fw.sizes": sizes,
        "fw.resize": resize,
        **{f"fw.gt.{photo}": target.float() for photo, target in enumerate(targets)},
    }


def _draw_ids(length: int, generator: torch.Generator) -> Tensor:
    ids = torch.randint(4, 120, (length,), generator=generator)
    ids[0], ids[-1] = 0, 2
    return ids


def _draw_view(side: int, generator: torch.Generator) -> Tensor:
    return torch.randn(3, side, side, generator=generator)


def _blacken(view: Tensor, height: int, width: int) -> Tensor:
    """Empties what lies below and to the right of the photo."""
    return pad(view[:, :height, :width], (0, view.shape[2] - width, 0, view.shape[1] - height))


def drawn_photo() -> np.ndarray:
    """A photo (427, 640, 3) with slopes and edges of every height."""
    rows, columns, channels = np.ogrid[:427, :640, :3]
    return ((rows * rows * 3 + columns * 5 + rows * columns + channels * 80) % 256).astype(np.uint8)
