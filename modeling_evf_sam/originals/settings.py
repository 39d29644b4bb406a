"""What the config.json of a release says: which of the original's models it is, by names; and the way back."""

from collections.abc import Mapping
from typing import Any

from modeling_evf_sam.configuration_evf_sam import EvfSamConfig
from modeling_evf_sam.presets import (
    BEIT3_BASE,
    BEIT3_LARGE,
    EFFICIENT_SAM_SMALL,
    EFFICIENT_SAM_TINY,
    SAM2_LARGE,
    SAM2_TINY,
    SAM_HUGE,
)

ORIGINAL_MODEL_TYPE = "evf"
# What the original code builds: its class and `sam_scale`, and its `mm_extractor_scale`.
ORIGINAL_SAMS = {
    ("EvfSamModel", "huge"): SAM_HUGE,
    ("EvfSam2Model", "large"): SAM2_LARGE,
    ("EvfSam2Model", "tiny"): SAM2_TINY,
    ("EvfEffiSamModel", "small"): EFFICIENT_SAM_SMALL,
    ("EvfEffiSamModel", "tiny"): EFFICIENT_SAM_TINY,
}
ORIGINAL_ENCODERS = {"large": BEIT3_LARGE, "base": BEIT3_BASE}
# Neither config.json nor the tensors tell these: SAM-2's multitask release was made by a later version of the code.
HABITS = {
    "sam": {"image_layout": "pad", "mask_selection": "first"},
    "sam2": {"image_layout": "pad_stretch", "mask_selection": "stability"},
    "sam2 multitask": {"image_layout": "stretch", "mask_selection": "best_iou"},
    "efficient_sam": {"image_layout": "stretch", "mask_selection": "first"},
}


def habits(sam: str, *, multitask: bool) -> dict[str, Any]:
    """How a release reads photos, chooses masks and takes prompts: arguments of `EvfSamConfig`.

    Args:
        sam: the `model_type` of its SAM.
        multitask: whether it was trained on [semantic] prompts too.
    """
    return {**((multitask and HABITS.get(f"{sam} multitask")) or HABITS[sam]), "semantic_prompts": multitask}


def named_config(settings: Mapping[str, Any], *, multitask: bool) -> dict[str, Any]:
    """The arguments of `EvfSamConfig` that a config.json of the original names.

    Args:
        settings: its `architectures`, `sam_scale` and `mm_extractor_scale` are read.
        multitask: whether the release was trained on [semantic] prompts too.

    Raises:
        ValueError: they are missing, or are none of the original's.
    """
    architectures, scale = settings.get("architectures"), settings.get("sam_scale")
    sams = [
        sizes
        for (architecture, name), sizes in ORIGINAL_SAMS.items()
        if (not architectures or architecture in architectures) and scale in (None, name)
    ]
    encoder = ORIGINAL_ENCODERS.get(str(settings.get("mm_extractor_scale")))
    if len(sams) != 1 or encoder is None:
        raise ValueError("architectures, sam_scale and mm_extractor_scale in its config.json name no sizes")
    return {"multimodal_config": encoder, "sam_config": sams[0], **habits(sams[0]["model_type"], multitask=multitask)}


def original_settings(config: EvfSamConfig) -> dict[str, Any]:
    """The original's config.json for a model of ours, but for its float type.

    Raises:
        ValueError: the original code builds no model of these sizes.
    """
    sam, encoder = _sam_size(config), _encoder_size(config)
    sams = {_sam_size(EvfSamConfig(sam_config=sizes)): names for names, sizes in ORIGINAL_SAMS.items()}
    encoders = {
        _encoder_size(EvfSamConfig(multimodal_config=sizes)): scale for scale, sizes in ORIGINAL_ENCODERS.items()
    }
    if sam not in sams or encoder not in encoders:
        raise ValueError(
            f"the original code builds no {sam[0]} of width {sam[1]}, {sam[2]} layers and {sam[3]} px "
            f"with a {encoder[0]} of width {encoder[1]}, {encoder[2]} layers and {encoder[3]} px"
        )
    architecture, scale = sams[sam]
    return {
        "model_type": ORIGINAL_MODEL_TYPE,
        "architectures": [architecture],
        "sam_scale": scale,
        "mm_extractor_scale": encoders[encoder],
        "hidden_size": config.multimodal_config.hidden_size,
        "out_dim": config.prompt_size,
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "tie_word_embeddings": False,
    }


def _sam_size(config: EvfSamConfig) -> tuple[str, int, int, int]:
    """Kind, width, layers, side of the view."""
    kind, vision = config.sam_config.model_type, config.sam_config.vision_config
    if kind == "sam2":
        backbone = vision.backbone_config
        return kind, backbone.hidden_size, sum(backbone.blocks_per_stage), config.view_size
    return kind, vision.hidden_size, vision.num_hidden_layers, config.view_size


def _encoder_size(config: EvfSamConfig) -> tuple[str, int, int, int]:
    """Kind, width, layers, side of the view."""
    text = config.get_text_config()
    kind = config.multimodal_config.model_type
    return kind, text.hidden_size, text.num_hidden_layers, config.multimodal_view_size
