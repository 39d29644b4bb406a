"""Names and shapes of the published files, and the presets that they are."""

import json

import torch
from torch import Tensor
from transformers import AutoConfig

from modeling_evf_sam import presets

# Whole releases: preset, tensors of the original, those among them that image inference never uses.
RELEASES = {
    "evf_sam_full": ("evf-sam", 1569, 0),
    "evf_sam2_full": ("evf-sam2", 1875, 157),
    "evf_effi_sam_l_full": ("evf-effi-sam-l", 1253, 0),
    "evf_effi_sam_b_full": ("evf-effi-sam-b", 773, 0),
}
PARTS = {
    "sam_vit_h": presets.SAM_HUGE,
    "sam_vit_l": presets.SAM_LARGE,
    "sam_vit_b": presets.SAM_BASE,
    "sam2_t": presets.SAM2_TINY,
    "sam2_s": presets.SAM2_SMALL,
    "sam2_b+": presets.SAM2_BASE_PLUS,
    "sam2_l": presets.SAM2_LARGE,
    "effisam_vitt": presets.EFFICIENT_SAM_TINY,
    "effisam_vits": presets.EFFICIENT_SAM_SMALL,
    "beit3_base": presets.BEIT3_BASE,
    "beit3_large": presets.BEIT3_LARGE,
}


def listed(shared, name: str) -> dict[str, Tensor]:
    """Meta tensors with the names and shapes of an original file."""
    listing = json.loads((shared / "reference" / "keys" / f"{name}.json").read_text())
    return {key: torch.empty(shape, device="meta") for key, shape, _ in listing}


def expanded(part: dict):
    """The configuration that the arguments of one part stand for."""
    sizes = {name: value for name, value in part.items() if name != "model_type"}
    return AutoConfig.for_model(part["model_type"], **sizes)
