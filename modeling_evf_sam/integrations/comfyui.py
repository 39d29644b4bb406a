"""A node of ComfyUI: a folder in custom_nodes whose __init__.py imports the two mappings from here.

`from modeling_evf_sam.integrations.comfyui import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS`
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from modeling_evf_sam.integrations.labeller import Labeller, read_sentences

load = lru_cache(maxsize=1)(Labeller)


class EvfSamSegment:
    """Finds what a text names in images."""

    CATEGORY = "mask"
    FUNCTION = "segment"
    RETURN_TYPES = ("MASK",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """The node's fields."""
        return {
            "required": {
                "image": ("IMAGE",),
                "text": ("STRING", {"multiline": True, "default": "the red cup"}),
                "model": ("STRING", {"default": "rendered_scenes"}),
            }
        }

    def segment(self, image: Tensor, text: str, model: str) -> tuple[Tensor]:
        """Images (B, H, W, 3) from 0 to 1 -> masks (B, H, W), 1 on what any of the sentences names."""
        labeller, sentences = load(model), read_sentences(text)
        masks = torch.zeros(image.shape[:3])
        for mask, photo in zip(masks, image.clamp(0, 1), strict=True):  # filters overshoot
            for found in labeller(photo.permute(2, 0, 1), sentences):
                mask[torch.from_numpy(found.mask)] = 1
        return (masks,)


NODE_CLASS_MAPPINGS = {"EvfSamSegment": EvfSamSegment}
NODE_DISPLAY_NAME_MAPPINGS = {"EvfSamSegment": "EVF-SAM: segment by text"}
