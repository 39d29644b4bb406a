"""The SAM of each family, with fresh weights, what its decoder is asked at a time, and the head that reads its tokens.

SAM and SAM-2 are those of transformers, with quicker layers and the random codes of positions that SAM was trained on.

Each position has a Fourier code from a random matrix, drawn once and never trained.

Shapes: B photos, P sentences at the most for one photo, N sentences in all, n points, M masks per sentence.
"""

import copy
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, overload

import torch
from torch import Tensor, nn
from transformers import Sam2Config, Sam2Model, SamConfig, SamModel
from transformers import initialization as init
from transformers.models.sam.modeling_sam import SamPositionalEmbedding

from .configuration_evf_sam import EvfSamConfig
from .modeling_efficient_sam import EfficientSamModel
from .prompts_evf_sam import PADDING, slices
from .sam_attention import EvfSamVisionEncoder, without_layers
from .sam_families import sam_family
from .two_way_attention import EvfSam2TwoWayBlock, EvfSamTwoWayBlock, use_blocks

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
        use_blocks(self.mask_decoder, EvfSamTwoWayBlock)
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

    def __init__(self, config: Sam2Config):
        super().__init__(config)
        use_blocks(self.mask_decoder, EvfSam2TwoWayBlock)


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
        shift: what is added to them then, to the same end.
    """

    def __init__(self, num_tokens: int, width: int, *, hidden_size: int, temperature: float, shift: float = 0.0):
        super().__init__()
        self.num_tokens, self.temperature, self.shift = num_tokens, temperature, shift
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
        return self.fc2(self.fc1(features).relu())[:, 0] / self.temperature + self.shift


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


def present_sentences(per_sentence: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Which sentences are there: (B, P) bool, from any tensor (B, P, ...) and the mask (B, P, L) of their tokens."""
    if attention_mask is None:
        return torch.ones(per_sentence.shape[:2], dtype=torch.bool, device=per_sentence.device)
    return attention_mask.any(-1)


@overload
def scatter(values: Tensor, present: Tensor) -> Tensor: ...
@overload
def scatter(values: None, present: Tensor) -> None: ...
def scatter(values: Tensor | None, present: Tensor) -> Tensor | None:
    """Put (N, ...) values back to their sentences: (B, P, ...), zero elsewhere; None stays None."""
    if values is None:
        return None
    if present.all():
        return values.view(*present.shape, *values.shape[1:])
    out = values.new_zeros(present.numel(), *values.shape[1:])
    rows = present.flatten().nonzero()[:, 0]
    return out.index_copy(0, rows, values).view(*present.shape, *values.shape[1:])


def decode_in_groups(
    decode: Callable[[list[Tensor], Tensor, dict[str, Tensor]], DecodedPrompts],
    levels: list[Tensor],
    photo: Tensor,
    prompt_embeds: Tensor,
    prompts: dict[str, Tensor],
    size: int,
) -> DecodedPrompts:
    """What becomes of N sentences, of which those with as many points and boxes are decoded together.

    Args:
        decode: what decodes prompts that are alike, such as `EvfSamModel.decode_prompts`.
        levels: the embeddings of the photos, (B, D, h, w).
        photo: (N,) which photo each sentence is about.
        prompt_embeds: (N, D).
        prompts: as `groups_of_equal_prompts` takes them.
        size: sentences that are decoded at a time, at the most.
    """
    groups = list(groups_of_equal_prompts(prompts, len(photo), photo.device, size))
    decoded = [decode([level[photo[rows]] for level in levels], prompt_embeds[rows], group) for rows, group in groups]
    back = torch.cat([rows for rows, _ in groups]).argsort()
    joined = (None if parts[0] is None else torch.cat(parts)[back] for parts in zip(*decoded, strict=True))
    return DecodedPrompts(*joined)  # type: ignore[arg-type]


def groups_of_equal_prompts(
    prompts: dict[str, Tensor], count: int, device: torch.device, size: int
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Part sentences into groups that have as many points and boxes as each other.

    Sentences with different numbers of points cannot share a sequence: SAM has no mask over prompt tokens.

    Args:
        prompts: points (N, n, 2), labels (N, n), boxes (N, 4) and masks (N, 1, h, w), where there are any.
        count: N, as there may be no prompts.
        device: of what is yielded.
        size: sentences in a group at the most.

    Yields:
        Numbers of sentences, and their prompts without padding. At least one group, which may be empty.
    """
    for rows, group in _groups(prompts, count, device):
        for part in slices(len(rows), size):
            yield rows[part], {name: prompt[part] for name, prompt in group.items()}


def _groups(
    prompts: dict[str, Tensor], count: int, device: torch.device
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    if "points" not in prompts and "boxes" not in prompts:
        yield torch.arange(count, device=device), prompts
        return
    none = torch.zeros(count, dtype=torch.long, device=device)
    num_points = (prompts["labels"] != PADDING).sum(1) if "points" in prompts else none
    num_boxes = (prompts["boxes"] != PADDING).any(1).long() if "boxes" in prompts else none
    layouts, group_of_row = torch.stack([num_points, num_boxes], dim=1).unique(dim=0, return_inverse=True)
    for index, (points, boxes) in enumerate(layouts.tolist()):
        rows = (group_of_row == index).nonzero()[:, 0]
        group = {name: prompt[rows] for name, prompt in prompts.items()}
        if "points" in group:
            group["points"], group["labels"] = group["points"][:, :points], group["labels"][:, :points]
        absent = ([] if points else ["points", "labels"]) + ([] if boxes else ["boxes"])
        yield rows, {name: prompt for name, prompt in group.items() if name not in absent}
