"""The systems of the paper as data: name -> arguments of `EvfSamConfig`.

Sizes are those of the original's `sam_scale` and `mm_extractor_scale`. The two-way transformer of the original uses
a LayerNorm epsilon of 1e-5, where transformers' SAM has 1e-6. Masks come back to the photo as the image layout
says: through the padded view ("pad"), or straight.
"""

from typing import Any

Preset = dict[str, Any]


def _sam(**vision: Any) -> Preset:
    return {
        "model_type": "sam",
        "vision_config": {"initializer_range": 0.02, **vision},
        "mask_decoder_config": {"layer_norm_eps": 1e-5},
    }


def _sam2(width: int, heads: int, **backbone: Any) -> Preset:
    widths = [width, 2 * width, 4 * width, 8 * width]
    backbone |= {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": width,
        "num_attention_heads": heads,
        "embed_dim_per_stage": widths,
        "num_attention_heads_per_stage": [heads, 2 * heads, 4 * heads, 8 * heads],
    }
    return {
        "model_type": "sam2",
        "vision_config": {"backbone_config": backbone, "backbone_channel_list": widths[::-1]},
    }


def _efficient_sam(width: int, heads: int) -> Preset:
    return {
        "model_type": "efficient_sam",
        "vision_config": {"hidden_size": width, "num_attention_heads": heads, "initializer_range": 0.02},
    }


def _tower(width: int, layers: int, heads: int, **other: Any) -> Preset:
    sizes = {"hidden_size": width, "intermediate_size": 4 * width}
    return {**sizes, "num_hidden_layers": layers, "num_attention_heads": heads, **other}


def _clip(text: Preset, vision: Preset, projection: int) -> Preset:
    return {
        "model_type": "clip",
        "text_config": {**text, "projection_dim": projection},
        "vision_config": {**vision, "projection_dim": projection},
        "projection_dim": projection,
    }


SAM_BASE = _sam()
SAM_LARGE = _sam(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, global_attn_indexes=[5, 11, 17, 23])
SAM_HUGE = _sam(hidden_size=1280, num_hidden_layers=32, num_attention_heads=16, global_attn_indexes=[7, 15, 23, 31])

SAM2_TINY = _sam2(96, 1, blocks_per_stage=[1, 2, 7, 2], global_attention_blocks=[5, 7, 9])
SAM2_SMALL = _sam2(96, 1, blocks_per_stage=[1, 2, 11, 2], global_attention_blocks=[7, 10, 13])
SAM2_BASE_PLUS = _sam2(
    112,
    2,
    blocks_per_stage=[2, 3, 16, 3],
    global_attention_blocks=[12, 16, 20],
    window_positional_embedding_background_size=[14, 14],
)
SAM2_LARGE = _sam2(
    144,
    2,
    blocks_per_stage=[2, 6, 36, 4],
    global_attention_blocks=[23, 33, 43],
    window_size_per_stage=[8, 4, 16, 8],
)

EFFICIENT_SAM_TINY = _efficient_sam(192, 3)
EFFICIENT_SAM_SMALL = _efficient_sam(384, 6)

BEIT3_BASE: Preset = {
    "model_type": "beit3",
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}
BEIT3_LARGE: Preset = {"model_type": "beit3"}
VILT: Preset = {"model_type": "vilt"}
CLIP_LARGE = _clip(_tower(768, 12, 12), _tower(1024, 24, 16, patch_size=14), projection=768)
OPENCLIP_HUGE = _clip(
    _tower(1024, 24, 16, hidden_act="gelu"),
    _tower(1280, 32, 16, hidden_act="gelu", patch_size=14),
    projection=1024,
)


def _ablation(encoder: Preset, **reading: Any) -> Preset:
    return {"multimodal_config": encoder, "sam_config": SAM_HUGE, **reading}


PRESETS: dict[str, Preset] = {
    "evf-sam": {"multimodal_config": BEIT3_LARGE, "sam_config": SAM_HUGE},
    "evf-sam-multitask": {"multimodal_config": BEIT3_LARGE, "sam_config": SAM_HUGE, "semantic_prompts": True},
    "evf-sam-beit3-base": {"multimodal_config": BEIT3_BASE, "sam_config": SAM_HUGE},
    "evf-sam-vit-l": {"multimodal_config": BEIT3_LARGE, "sam_config": SAM_LARGE},  # no release has SAM's smaller ones
    "evf-sam-vit-b": {"multimodal_config": BEIT3_BASE, "sam_config": SAM_BASE},
    "evf-sam2": {
        "multimodal_config": BEIT3_LARGE,
        "sam_config": SAM2_LARGE,
        "image_layout": "pad_stretch",
        "mask_selection": "stability",
    },
    "evf-sam2-multitask": {
        "multimodal_config": BEIT3_LARGE,
        "sam_config": SAM2_LARGE,
        "image_layout": "stretch",
        "mask_selection": "best_iou",
        "semantic_prompts": True,
    },
    "evf-effi-sam-l": {
        "multimodal_config": BEIT3_LARGE,
        "sam_config": EFFICIENT_SAM_SMALL,
        "image_layout": "stretch",
    },
    "evf-effi-sam-b": {
        "multimodal_config": BEIT3_BASE,
        "sam_config": EFFICIENT_SAM_TINY,
        "image_layout": "stretch",
    },
    # Encoders and fusions of the paper's comparison (Tables 1 and 3); with all layers fused, BEIT-3 is "evf-sam".
    "evf-sam-clip-text": _ablation(CLIP_LARGE, fusion="text"),
    "evf-sam-clip-late": _ablation(CLIP_LARGE, fusion="late"),
    "evf-sam-openclip-text": _ablation(OPENCLIP_HUGE, fusion="text"),
    "evf-sam-openclip-late": _ablation(OPENCLIP_HUGE, fusion="late"),
    "evf-sam-vilt-text": _ablation(VILT, fusion="text"),
    "evf-sam-vilt-late": _ablation(VILT, fusion="late"),
    "evf-sam-vilt-early": _ablation(VILT, fusion="early"),
    "evf-sam-beit3-text": _ablation(BEIT3_LARGE, fusion="text"),
    "evf-sam-beit3-late": _ablation(BEIT3_LARGE, fusion="late"),
    "evf-sam-beit3-early-12": _ablation(BEIT3_LARGE, num_fusion_layers=12),
    # What of BEIT-3 becomes the prompt (Table 5); with the image's [CLS], it is "evf-sam".
    "evf-sam-text-cls": _ablation(BEIT3_LARGE, prompt_feature="text_cls"),
    "evf-sam-image-mean": _ablation(BEIT3_LARGE, prompt_feature="image_mean"),
    "evf-sam-concat": _ablation(BEIT3_LARGE, prompt_feature="concat"),
}
