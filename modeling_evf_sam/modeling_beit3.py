"""BEIT-3: one transformer that reads an image and a sentence together, with separate weights for each.

Every weighted operation except the attention itself exists twice, once for vision tokens and once for text tokens
(microsoft/unilm `beit3` over torchscale's multiway `Encoder`). Layers are pre-norm with the sub-layer norms of
Magneto: one more LayerNorm before the attention's output projection and one inside the feed-forward network.

Shapes: B batch, P patches, L text tokens, T = 1 + P + L tokens, D width, H heads.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_evf_sam import Beit3Config
from .pretrained_evf_sam import StrictLoadingMixin

POSITION_OFFSET = 2  # rows 0 and 1 of both position tables are never used, as in fairseq


class Multiway(nn.Module):
    """One module for the vision tokens, a second one of the same sizes for the text tokens."""

    def __init__(self, build: Callable[[], nn.Module]):
        super().__init__()
        self.vision = build()
        self.text = build()

    def forward(self, hidden_states: Tensor, split: int) -> Tensor:
        """Apply `vision` to the first `split` tokens of (B, T, D) and `text` to the rest."""
        if split == hidden_states.shape[1]:
            return self.vision(hidden_states)
        if split == 0:
            return self.text(hidden_states)
        parts = hidden_states[:, :split], hidden_states[:, split:]
        vision, text = (part.contiguous() for part in parts)  # a linear layer would copy its weights for each photo
        return torch.cat([self.vision(vision), self.text(text)], dim=1)


def eager_attention(
    module: "Beit3Attention", query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, Tensor]:
    """Attention of (B, H, T, D/H) tensors, written out; returns (B, T, H, D/H) and the weights (B, H, T, T)."""
    scores = (query * module.scaling) @ key.transpose(2, 3)
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class Beit3Attention(nn.Module):
    """Self-attention over vision and text tokens together."""

    def __init__(self, config: Beit3Config):
        super().__init__()
        self.config = config
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.is_causal = False

        def linear() -> nn.Module:
            return nn.Linear(config.hidden_size, config.hidden_size)

        self.q_proj = Multiway(linear)
        self.k_proj = Multiway(linear)
        self.v_proj = Multiway(linear)
        self.inner_layer_norm = Multiway(lambda: nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps))
        self.out_proj = Multiway(linear)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None,
        split: int,
        kept: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend over all T tokens: (B, T, D) -> (B, T, D), and the weights where they are computed.

        With K positions in `kept`, only these tokens ask: (B, T, D) -> (B, K, D).
        """
        queries, query_split = _keep(hidden_states, split, kept)
        if attention_mask is not None and kept is not None:
            attention_mask = attention_mask[:, :, : len(kept)]  # (B, 1, T, T), where all rows are alike
        query, key, value = (  # (B, H, T, D/H)
            projection(tokens, vision).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for projection, tokens, vision in (
                (self.q_proj, queries, query_split),
                (self.k_proj, hidden_states, split),
                (self.v_proj, hidden_states, split),
            )
        )
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention)
        attended, weights = attend(self, query, key, value, attention_mask, scaling=self.scaling, **kwargs)
        attended = attended.reshape(queries.shape)  # (B, T, H, D/H) -> (B, T, D)
        return self.out_proj(self.inner_layer_norm(attended, query_split), query_split), weights


def _keep(tokens: Tensor, split: int, kept: Sequence[int] | None) -> tuple[Tensor, int]:
    """The tokens (B, K, D) at the positions `kept`, all for None; and how many of them are vision tokens."""
    if kept is None:
        return tokens, split
    chosen = torch.cat([tokens[:, position : position + 1] for position in kept], dim=1)
    return chosen, sum(position < split for position in kept)


class Beit3MLP(nn.Module):
    """Feed-forward network of one modality."""

    def __init__(self, config: Beit3Config):
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACT2FN[config.hidden_act]
        self.layer_norm = nn.LayerNorm(config.intermediate_size, eps=config.layer_norm_eps)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        return self.fc2(self.layer_norm(self.activation(self.fc1(hidden_states))))


class Beit3Layer(GradientCheckpointingLayer):
    """Attention over all tokens, then the feed-forward network of each modality."""

    def __init__(self, config: Beit3Config):
        super().__init__()

        def norm() -> nn.Module:
            return nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

        self.attention_layer_norm = Multiway(norm)
        self.attention = Beit3Attention(config)
        self.mlp_layer_norm = Multiway(norm)
        self.mlp = Multiway(lambda: Beit3MLP(config))

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None,
        split: int,
        kept: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """(B, T, D) -> (B, T, D), or (B, K, D) for the K tokens `kept`; the first `split` tokens are vision tokens."""
        normed = self.attention_layer_norm(hidden_states, split)
        attended, _ = self.attention(normed, attention_mask, split, kept, **kwargs)
        hidden_states, split = _keep(hidden_states, split, kept)
        hidden_states = hidden_states + attended
        return hidden_states + self.mlp(self.mlp_layer_norm(hidden_states, split), split)


class Beit3Embeddings(nn.Module):
    """Patches and words with their positions."""

    def __init__(self, config: Beit3Config):
        super().__init__()
        width, patch = config.hidden_size, config.patch_size
        self.patch_projection = nn.Conv2d(config.num_channels, width, kernel_size=patch, stride=patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        # Read only by BEIT-3's masked-image pretraining; here so that its files map onto ours one to one.
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.vision_positions = nn.Embedding(POSITION_OFFSET + 1 + config.num_patches, width)
        self.word_embeddings = nn.Embedding(config.vocab_size, width)
        self.text_positions = nn.Embedding(config.max_position_embeddings, width)

    def embed_image(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, s, s) -> [CLS] and patches, row by row: (B, 1 + P, D)."""
        patches = self.patch_projection(pixel_values.to(self.patch_projection.weight.dtype)).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(patches.shape[0], -1, -1), patches], dim=1)
        return tokens + self.vision_positions.weight[POSITION_OFFSET:]

    def embed_text(self, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        """(B, L) ids -> (B, L, D), zero where the mask is zero."""
        positions = self.text_positions.weight[POSITION_OFFSET : POSITION_OFFSET + input_ids.shape[1]]
        tokens = self.word_embeddings(input_ids) + positions
        return tokens if attention_mask is None else tokens * attention_mask[..., None].to(tokens.dtype)


class Beit3PreTrainedModel(StrictLoadingMixin, PreTrainedModel):
    """Weight initialisation and the abilities that transformers asks about."""

    config: Beit3Config
    base_model_prefix = "beit3"
    main_input_name = "pixel_values"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    _no_split_modules = ["Beit3Layer"]  # noqa: RUF012
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _can_record_outputs = {"hidden_states": Beit3Layer, "attentions": Beit3Attention}  # noqa: RUF012

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, Beit3Embeddings):
            for token in (module.cls_token, module.mask_token):
                if token is not None:
                    init.zeros_(token)
            # Words and positions at equal strength, so that fresh weights tell both apart from the first step.
            for table in (module.word_embeddings, module.vision_positions, module.text_positions):
                if table is not None:
                    init.normal_(table.weight, std=table.embedding_dim**-0.5)


class Beit3Model(Beit3PreTrainedModel):
    """The multiway encoder. Reads an image, a sentence, or both."""

    def __init__(self, config: Beit3Config):
        super().__init__(config)
        self.embeddings = Beit3Embeddings(config)
        self.layers = nn.ModuleList(Beit3Layer(config) for _ in range(config.num_hidden_layers))
        self.layer_norm = Multiway(lambda: nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps))
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The table of words."""
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the table of words."""
        self.embeddings.word_embeddings = value

    def drop_vision(self) -> None:
        """Give up all weights for images, nearly half of the model; what is left reads sentences alone."""
        for name in ("patch_projection", "cls_token", "mask_token", "vision_positions"):
            setattr(self.embeddings, name, None)
        for module in self.modules():
            if isinstance(module, Multiway):
                module.register_module("vision", None)

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        pixel_values: Tensor | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        num_fusion_layers: int | None = None,
        first_tokens: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> BaseModelOutput:
        """Encode an image, a sentence, or both.

        Args:
            pixel_values: (B, 3, s, s) normalised view.
            input_ids: (B, L) tokens of one sentence per image.
            attention_mask: (B, L), zero on padding. Padding changes nothing for the other tokens.
            num_fusion_layers: in how many of the first layers image and sentence attend to each other, default in
                all; in the later ones each attends to itself. With 0 they are read as if each were given alone.
            first_tokens: "image", "text" or both, in this order: return the first token of these alone, at less cost.
            **kwargs: `output_attentions` and `output_hidden_states`, as everywhere in transformers.

        Returns:
            `last_hidden_state` of shape (B, T, D): the image's [CLS], its patches row by row, then the text; with K
            `first_tokens` (B, K, D). Where asked for, a layer without fusion gives two hidden states and attentions,
            the image's and the text's.

        Raises:
            ValueError: if neither image nor sentence is given, or a sentence is longer than the position table.
        """
        tokens = self.encode(pixel_values, input_ids, attention_mask, num_fusion_layers, first_tokens, **kwargs)
        return BaseModelOutput(last_hidden_state=tokens)

    def encode(
        self,
        pixel_values: Tensor | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        num_fusion_layers: int | None = None,
        first_tokens: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """The `last_hidden_state` of `forward`, for a model around this one that records hidden states itself."""
        if pixel_values is None and input_ids is None:
            raise ValueError("give pixel_values, input_ids, or both")
        limit = self.config.max_position_embeddings - POSITION_OFFSET
        if input_ids is not None and input_ids.shape[1] > limit:
            raise ValueError(f"a sentence has {input_ids.shape[1]} tokens, the limit is {limit}: shorten it")

        parts = []
        if pixel_values is not None:
            parts.append(self.embeddings.embed_image(pixel_values))
        split = parts[0].shape[1] if parts else 0
        if input_ids is not None:
            parts.append(self.embeddings.embed_text(input_ids, attention_mask))
        hidden_states = torch.cat(parts, dim=1)

        mask = self._attention_mask(hidden_states, attention_mask)
        fused = len(self.layers) if num_fusion_layers is None or len(parts) == 1 else num_fusion_layers
        kept = None if first_tokens is None else [{"image": 0, "text": split}[name] for name in first_tokens]
        for layer in self.layers[:fused]:
            last = layer is self.layers[-1]
            hidden_states = layer(hidden_states, mask, split, kept if last else None, **kwargs)
        if fused < len(self.layers):
            later = self.layers[fused:]
            hidden_states = self._read_apart(hidden_states, attention_mask, split, later, first_tokens, **kwargs)
        if kept is not None:
            split = sum(position < split for position in kept)
        return self.layer_norm(hidden_states, split)

    def _read_apart(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None,
        split: int,
        layers: nn.ModuleList,
        first_tokens: Sequence[str] | None,
        **kwargs: Any,
    ) -> Tensor:
        """Pass the image's tokens and the sentence's through `layers` as two sequences: (B, T, D) -> (B, T, D)."""
        image, text = hidden_states[:, :split], hidden_states[:, split:]
        masks = {"image": None, "text": self._attention_mask(text, attention_mask)}
        splits = {"image": split, "text": 0}
        tokens = {name: {"image": image, "text": text}[name] for name in first_tokens or ("image", "text")}
        for layer in layers:
            kept = [0] if first_tokens is not None and layer is layers[-1] else None
            for name in tokens:
                tokens[name] = layer(tokens[name], masks[name], splits[name], kept, **kwargs)
        return torch.cat(list(tokens.values()), dim=1)

    def _attention_mask(self, hidden_states: Tensor, attention_mask: Tensor | None) -> Tensor | None:
        """Let every token attend to all vision tokens and to the words that are not padding."""
        if attention_mask is None:
            return None
        vision = attention_mask.new_ones(attention_mask.shape[0], hidden_states.shape[1] - attention_mask.shape[1])
        return create_bidirectional_mask(
            config=self.config,
            inputs_embeds=hidden_states,
            attention_mask=torch.cat([vision, attention_mask], dim=1),
        )
