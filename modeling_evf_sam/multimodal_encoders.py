"""What reads a sentence, with or without its photo: BEIT-3, CLIP and ViLT behind one method (paper, Tables 3 and 5).

Each class is its library model with two additions: `feature_size`, and `get_prompt_features`, which turns N views and
sentences into the (N, feature_size) features that the projector reads. How it reads is set by `EvfSamConfig.fusion`,
what it returns by `EvfSamConfig.prompt_feature`. Its further arguments, `output_hidden_states` and
`output_attentions`, tell BEIT-3 that `EvfSamModel.forward` records them.

Shapes: N sentences, L tokens, P patches, D width, s side of the view.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPModel, CLIPTextModel, ViltModel
from transformers.masking_utils import create_bidirectional_mask

from .configuration_evf_sam import EvfSamConfig
from .modeling_beit3 import Beit3Model

# From the image's tokens (N, 1 + P, D), [CLS] first, and the sentence's (N, L, D), [CLS] or <s> first.
FEATURES: dict[str | None, Callable[[Tensor, Tensor], Tensor]] = {
    "image_cls": lambda image, text: image[:, 0],
    "text_cls": lambda image, text: text[:, 0],
    "image_mean": lambda image, text: image[:, 1:].mean(dim=1),
    "concat": lambda image, text: torch.cat([image[:, 0], text[:, 0]], dim=-1),
}
# Those that are made of first tokens: whose.
FIRST_TOKENS: dict[str | None, tuple[str, ...]] = {
    "image_cls": ("image",),
    "text_cls": ("text",),
    "concat": ("image", "text"),
}


class EvfSamProjector(nn.Module):
    """Turns a feature of the multimodal encoder into a prompt token: (..., D_encoder) -> (..., D)."""

    def __init__(self, input_size: int, output_size: int):
        super().__init__()
        self.fc1 = nn.Linear(input_size, input_size)
        self.fc2 = nn.Linear(input_size, output_size)

    def forward(self, features: Tensor) -> Tensor:
        """(..., D_encoder) -> (..., D)."""
        return self.fc2(self.fc1(features).relu())


def _feature_size(config: EvfSamConfig, width: int) -> int:
    return 2 * width if config.prompt_feature == "concat" else width


class EvfSamBeit3Encoder(Beit3Model):
    """BEIT-3 with fusion in all layers, in the first few, in none ("late"), or without its weights for images."""

    def __init__(self, config: EvfSamConfig):
        super().__init__(config.multimodal_config)
        self.feature_size = _feature_size(config, config.multimodal_config.hidden_size)
        self.prompt_feature = FEATURES[config.prompt_feature]
        self.first_tokens = FIRST_TOKENS.get(config.prompt_feature)
        self.num_fusion_layers = 0 if config.fusion == "late" else config.num_fusion_layers
        if config.fusion == "text":
            self.drop_vision()

    def get_prompt_features(
        self,
        multimodal_pixel_values: Tensor | None,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """(N, 3, s, s) views, or None for text alone, and (N, L) tokens -> (N, feature_size)."""
        # Training computes all tokens of the last layer: processes that share gradients want all weights in use. And
        # flash attention takes as many queries as keys in a padded batch. And what is recorded is recorded whole.
        every = torch.is_grad_enabled() or self.config._attn_implementation not in ("eager", "sdpa") or kwargs
        first_tokens = None if every else self.first_tokens
        tokens = self.encode(
            pixel_values=multimodal_pixel_values,
            input_ids=input_ids,
            attention_mask=attention_mask,
            num_fusion_layers=self.num_fusion_layers,
            first_tokens=first_tokens,
            **kwargs,
        )
        if first_tokens is not None:
            return tokens.flatten(1)
        split = tokens.shape[1] - input_ids.shape[1]
        return self.prompt_feature(tokens[:, :split], tokens[:, split:])


class EvfSamViltEncoder(ViltModel):
    """ViLT, whose one set of weights reads words and patches together ("early"), apart ("late"), or words alone.

    Its views are squares of the size of its position table, so that neither masks nor interpolated positions are
    needed. The library's own forward draws the order of the patches at random; here they come row by row.
    """

    def __init__(self, config: EvfSamConfig):
        super().__init__(config.multimodal_config, add_pooling_layer=False)
        self.feature_size = _feature_size(config, config.multimodal_config.hidden_size)
        self.prompt_feature = FEATURES[config.prompt_feature]
        self.fused = config.fusion == "early"
        if config.fusion == "text":
            for name in ("patch_embeddings", "cls_token", "position_embeddings"):
                delattr(self.embeddings, name)

    def get_prompt_features(
        self,
        multimodal_pixel_values: Tensor | None,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """(N, 3, s, s) views, or None for text alone, and (N, L) tokens -> (N, feature_size)."""
        return self.prompt_feature(*self.encode(multimodal_pixel_values, input_ids, attention_mask))

    def encode(
        self, pixel_values: Tensor | None, input_ids: Tensor, attention_mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """(N, 3, s, s) views, or None, and (N, L) ids -> image tokens (N, 1 + P, D), sentence tokens (N, L, D)."""
        text = self._embed_text(input_ids)
        if pixel_values is None:
            return text[:, :0], self._encode(text, attention_mask)
        image = self._embed_image(pixel_values)
        if not self.fused:
            return self._encode(image, None), self._encode(text, attention_mask)
        if attention_mask is not None:
            attention_mask = torch.cat([attention_mask, attention_mask.new_ones(image.shape[:2])], dim=1)
        text, image = self._encode(torch.cat([text, image], dim=1), attention_mask).split(
            [input_ids.shape[1], image.shape[1]], dim=1
        )
        return image, text

    def _embed_text(self, input_ids: Tensor) -> Tensor:
        """(N, L) -> (N, L, D)."""
        return self.embeddings.text_embeddings(input_ids) + self.embeddings.token_type_embeddings.weight[0]

    def _embed_image(self, pixel_values: Tensor) -> Tensor:
        """(N, 3, s, s) -> [CLS] and patches, row by row: (N, 1 + P, D)."""
        patches = self.embeddings.patch_embeddings(pixel_values).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.embeddings.cls_token.expand(patches.shape[0], -1, -1), patches], dim=1)
        tokens = self.embeddings.dropout(tokens + self.embeddings.position_embeddings)
        return tokens + self.embeddings.token_type_embeddings.weight[1]

    def _encode(self, tokens: Tensor, attention_mask: Tensor | None) -> Tensor:
        """(N, T, D) -> (N, T, D); the mask is (N, T), zero on padding."""
        mask = create_bidirectional_mask(config=self.config, inputs_embeds=tokens, attention_mask=attention_mask)
        return self.layernorm(self.encoder(tokens, attention_mask=mask).last_hidden_state)


class EvfSamClipEncoder(CLIPModel):
    """Both towers of CLIP, each with its projection: late fusion. CLIP's text feature is that of the last token."""

    def __init__(self, config: EvfSamConfig):
        super().__init__(config.multimodal_config)
        self.feature_size = 2 * config.multimodal_config.projection_dim

    def get_input_embeddings(self) -> nn.Module:
        """The table of words."""
        return self.text_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the table of words."""
        self.text_model.set_input_embeddings(value)

    def get_prompt_features(
        self,
        multimodal_pixel_values: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """(N, 3, s, s) views and (N, L) tokens -> (N, feature_size)."""
        image = self.get_image_features(multimodal_pixel_values).pooler_output
        text = self.get_text_features(input_ids, attention_mask).pooler_output
        return torch.cat([image, text], dim=-1)


class EvfSamClipTextEncoder(CLIPTextModel):
    """CLIP's text tower, without projection."""

    def __init__(self, config: EvfSamConfig):
        super().__init__(config.get_text_config())
        self.feature_size = self.config.hidden_size

    def get_prompt_features(
        self,
        multimodal_pixel_values: None,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """(N, L) tokens -> (N, feature_size)."""
        return self(input_ids=input_ids, attention_mask=attention_mask).pooler_output


ENCODERS: dict[tuple[str, str], Callable[[EvfSamConfig], Any]] = {
    **{("beit3", fusion): EvfSamBeit3Encoder for fusion in ("early", "late", "text")},
    **{("vilt", fusion): EvfSamViltEncoder for fusion in ("early", "late", "text")},
    ("clip", "late"): EvfSamClipEncoder,
    ("clip", "text"): EvfSamClipTextEncoder,
}


def multimodal_encoder(config: EvfSamConfig) -> Any:
    """The encoder of a configuration, with fresh weights."""
    return ENCODERS[config.multimodal_config.model_type, config.fusion](config)
