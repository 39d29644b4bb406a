"""The SAM of each family, with fresh weights.

SAM and SAM-2 are those of transformers, with quicker layers and the random codes of positions that SAM was trained on.

Each position has a Fourier code from a random matrix, drawn once and never trained.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import Sam2Model, SamConfig, SamModel
from transformers import initialization as init
from transformers.models.sam.modeling_sam import SamPositionalEmbedding

from .modeling_efficient_sam import EfficientSamModel
from .sam_attention import EvfSamVisionEncoder, without_layers


class EvfSamSam1Model(SamModel):
    """SAM with the image encoder of `sam_attention`, and codes from N(0, 1)."""

    def __init__(self, config: SamConfig):
        others = copy.copy(config)
        others.vision_config = without_layers(config.vision_config)  # rather than to build them twice
        super().__init__(others)
        config._attn_implementation = others._attn_implementation  # as the library chose
        self.config = config
        self.vision_encoder = EvfSamVisionEncoder(config.vision_config)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, SamPositionalEmbedding):
            # The library's deviation of hidden_size / 2 gives neighbouring points unrelated codes, and fresh weights
            # never learn to place a prompt.
            init.normal_(module.positional_embedding)


class SameCodesMixin:
    """The same codes for the photo and for the points in it, where the library draws them twice for SAM-2."""

    prompt_encoder: nn.Module
    shared_image_embedding: nn.Module

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)  # type: ignore[misc]
        if module is self.prompt_encoder.shared_embedding:  # the second one
            init.copy_(module.positional_embedding, self.shared_image_embedding.positional_embedding)


class EvfSamSam2Model(SameCodesMixin, Sam2Model):
    """SAM-2 for photos."""


def _build_sam2(sam_config: Any, mask_selection: str) -> EvfSamSam2Model:
    sam = EvfSamSam2Model(sam_config)
    sam.mask_decoder.dynamic_multimask_via_stability = mask_selection == "stability"
    return sam


# By the `model_type` of its configuration: (`sam_config`, `EvfSamConfig.mask_selection`) -> the model.
SAM_MODELS: dict[str, Callable[[Any, str], Any]] = {
    "sam": lambda sam_config, mask_selection: EvfSamSam1Model(sam_config),
    "sam2": _build_sam2,
    "efficient_sam": lambda sam_config, mask_selection: EfficientSamModel(sam_config),
}
