"""The SAM of each family, with fresh weights, and the head that reads its decoder's tokens.

SAM and SAM-2 are those of transformers, with quicker layers and the random codes of positions that SAM was trained on.

Each position has a Fourier code from a random matrix, drawn once and never trained.
"""

import copy
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import Sam2Model, SamConfig, SamModel
from transformers import initialization as init
from transformers.models.sam.modeling_sam import SamPositionalEmbedding

from .configuration_evf_sam import EvfSamConfig
from .modeling_efficient_sam import EfficientSamModel
from .sam_attention import EvfSamVisionEncoder, without_layers
from .sam_families import sam_family

# SAM-2's memory of earlier frames, by the names that it has in a model.
MEMORY_TENSORS = [
    r"^sam\.(memory_|no_memory_positional_encoding$|mask_downsample\.|no_object_pointer$|object_pointer_proj\.)",
    r"^sam\.(occlusion_spatial_embedding_parameter$|temporal_positional_encoding_projection_layer\.)",  # SAM-2.1
]


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


class DecodedPrompts(NamedTuple):
    """What the mask decoder makes of N prompts, M masks each; None for what the model does not say."""

    masks: Tensor  # (N, M, h, w) logits
    scores: Tensor  # (N, M)
    quality: Tensor | None  # (N, M)
    presence_logits: Tensor | None  # (N,)
    object_score_logits: Tensor | None  # (N,)


class _Kept(threading.local):
    """The tokens that this thread decoded last; the library's decoders do not return them all."""

    tokens: Tensor | None = None


_KEPT = _Kept()


def _keep_tokens(transformer: nn.Module, inputs: tuple, outputs: tuple[Tensor, Tensor]) -> None:
    _KEPT.tokens = outputs[0]  # (N, 1, T, D)


class EvfSamPresenceHead(nn.Module):
    """Says whether what a sentence names is in the photo, by its prompt token and the mask decoder's own tokens.

    Args:
        num_tokens: of the decoder's own, which stand before those of the prompt.
        width: D of every token.
        hidden_size: of the layer between.
        temperature: what logits are divided by, so that their sigmoid is the share that is there.
    """

    def __init__(self, num_tokens: int, width: int, *, hidden_size: int, temperature: float):
        super().__init__()
        self.num_tokens, self.temperature = num_tokens, temperature
        self.fc1 = nn.Linear((1 + num_tokens) * width, hidden_size)
        self.fc2 = nn.Linear(hidden_size, 1)

    def read_tokens_of(self, mask_decoder: nn.Module) -> None:
        """Let `forward` read what a decoder made last, in the same thread."""
        mask_decoder.transformer.register_forward_hook(_keep_tokens)  # type: ignore[union-attr]

    def forward(self, prompt_embeds: Tensor) -> Tensor:
        """(N, D) prompt tokens that were just decoded -> (N,) logits; above zero it is there."""
        tokens, _KEPT.tokens = _KEPT.tokens, None
        assert tokens is not None
        features = torch.cat([prompt_embeds[:, None], tokens[:, 0, : self.num_tokens]], dim=1).flatten(1)
        return self.fc2(self.fc1(features).relu())[:, 0] / self.temperature


def presence_head(config: EvfSamConfig, mask_decoder: nn.Module) -> Any:
    """The head of a configuration, with fresh weights, over the SAM's mask decoder; None without `presence`."""
    if config.presence is None:
        return None
    masks = config.sam_config.mask_decoder_config.num_multimask_outputs + 1
    head = EvfSamPresenceHead(
        sam_family(config.sam_config).score_tokens + masks, config.prompt_size, **config.presence
    )
    head.read_tokens_of(mask_decoder)
    return head


def expected_ious(scores: Tensor, points: list[list[float | int]]) -> Tensor:
    """The IoUs (...) that SAM's scores (...) mean, on a line through points [score, IoU]; flat before and after."""
    known, ious = scores.new_tensor(points, dtype=torch.float32).T.contiguous()
    scores = scores.float().clamp(known[0], known[-1])
    right = torch.searchsorted(known, scores).clamp(1, len(known) - 1)
    share = (scores - known[right - 1]) / (known[right] - known[right - 1])
    return ious[right - 1] + share * (ious[right] - ious[right - 1])
