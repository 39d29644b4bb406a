"""EfficientSAM: SAM with a plain, small image encoder (paper "EfficientSAM"; yformer/EfficientSAM).

The image encoder is transformers' `SamVisionEncoder` without windows and relative positions. The decoder is not SAM's:
its self-attention always has a residual and carries the tokens' positions, its activations are GELU, it normalises
over whole feature maps, and there are no dense prompts.

Shapes: B images, P prompts per image, n points, T tokens, D prompt width, M masks, h and w the sides of the image
embeddings.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, pad
from transformers import SamPreTrainedModel
from transformers.activations import ACT2FN
from transformers.models.sam.modeling_sam import (
    SamFeedForward,
    SamImageSegmentationOutput,
    SamPositionalEmbedding,
    SamTwoWayAttentionBlock,
    SamTwoWayTransformer,
    SamVisionEncoder,
)

from .configuration_evf_sam import EfficientSamConfig, EfficientSamMaskDecoderConfig
from .pretrained_evf_sam import StrictLoadingMixin
from .two_way_attention import TwoWayMixin

PROMPT_SLOTS = 6  # points of every prompt of the original; a box is two of them, its corners
NO_POINT = -1  # coordinates and label of an empty slot
CORNERS = (2, 3)  # labels of a box's top left and bottom right corner; 1 is a point on the object, 0 one beside it


class EfficientSamPositionalEmbedding(SamPositionalEmbedding):
    """SAM's random Fourier codes of positions; the matrix is a constant here, not a parameter."""

    positional_embedding: Tensor  # (2, D / 2)

    def __init__(self, config: Any):
        super().__init__(config)
        matrix = self.positional_embedding.detach()
        del self.positional_embedding
        self.positional_embedding = nn.Buffer(matrix)


class EfficientSamPromptEncoder(nn.Module):
    """Turns points and boxes into tokens: a code of the position plus an embedding of the kind."""

    def __init__(self, config: EfficientSamConfig):
        super().__init__()
        self.image_size = config.vision_config.image_size
        self.shared_embedding = EfficientSamPositionalEmbedding(config.vision_config)
        width = config.mask_decoder_config.hidden_size
        self.point_embed = nn.Embedding(1, width)
        self.not_a_point_embed = nn.Embedding(1, width)
        self.bbox_top_left_embed = nn.Embedding(1, width)
        self.bbox_bottom_right_embed = nn.Embedding(1, width)

    def forward(
        self,
        input_points: Tensor | None = None,
        input_labels: Tensor | None = None,
        input_boxes: Tensor | None = None,
        input_masks: Tensor | None = None,
    ) -> tuple[Tensor | None, Tensor]:
        """Embed the prompts, in the order points, boxes, empty slots.

        Args:
            input_points: (B, P, n, 2) points (x, y) in pixels of the view.
            input_labels: (B, P, n) 1 on the object, 0 beside it (the position alone: EfficientSAM has no embedding
                for such points), negative: no point.
            input_boxes: (B, P, 4) boxes x0, y0, x1, y1 in pixels of the view.
            input_masks: not supported; here so that all SAMs are called alike.

        Returns:
            Tokens (B, P, 6, D), None without points and boxes, and the dense embedding, which is zero.

        Raises:
            ValueError: for mask prompts, points without labels, or more points than there are slots.
        """
        if input_masks is not None:
            raise ValueError("EfficientSAM has no mask prompts: leave out input_masks, or use a SAM or SAM-2 model")
        if (input_points is None) != (input_labels is None):
            raise ValueError("give input_points and input_labels together")
        dense = self.point_embed.weight.new_zeros(1, 1, 1, 1)
        points, labels = [], []
        if input_points is not None and input_labels is not None:
            points.append(input_points)
            labels.append(input_labels.long())
        if input_boxes is not None:
            points.append(input_boxes.unflatten(-1, (2, 2)))  # (B, P, 4) -> (B, P, 2, 2)
            labels.append(torch.tensor(CORNERS, device=input_boxes.device).expand(points[-1].shape[:-1]))
        if not points:
            return None, dense
        return self._embed_points(torch.cat(points, dim=2), torch.cat(labels, dim=2)), dense

    def _embed_points(self, points: Tensor, labels: Tensor) -> Tensor:
        """Tokens (B, P, 6, D) of points (B, P, n, 2) with labels (B, P, n)."""
        empty = PROMPT_SLOTS - labels.shape[2]
        if empty < 0:
            raise ValueError(
                f"EfficientSAM reads at most {PROMPT_SLOTS} points, where a box counts as two: got {labels.shape[2]}"
            )
        labels = pad(labels.clamp(min=NO_POINT), (0, empty), value=NO_POINT)
        points = pad(points, (0, 0, 0, empty)).masked_fill(labels[..., None] == NO_POINT, NO_POINT)
        codes = self.shared_embedding(points + 0.5, (self.image_size, self.image_size))  # centres of pixels
        kinds = torch.cat(  # a row for each label from -1 to 3
            [
                self.not_a_point_embed.weight,
                torch.zeros_like(self.point_embed.weight),
                self.point_embed.weight,
                self.bbox_top_left_embed.weight,
                self.bbox_bottom_right_embed.weight,
            ]
        )
        return codes + embedding(labels - NO_POINT, kinds)


class EfficientSamTwoWayAttentionBlock(TwoWayMixin, SamTwoWayAttentionBlock):
    """SAM's block with another self-attention: always residual, over queries that carry their positions for good."""

    def _attend_to_each_other(self, queries: Tensor, positions: Tensor) -> Tensor:
        if not self.skip_first_layer_pe:
            queries = queries + positions
        return queries + self.self_attn(query=queries, key=queries, value=queries)[0]


class EfficientSamTwoWayTransformer(SamTwoWayTransformer):
    """SAM's transformer over prompt tokens and image, of EfficientSAM's blocks."""

    def __init__(self, config: EfficientSamMaskDecoderConfig):
        super().__init__(config)
        self.layers = nn.ModuleList(
            EfficientSamTwoWayAttentionBlock(config, skip_first_layer_pe=index == 0)
            for index in range(config.num_hidden_layers)
        )


def _feed_forward(config: EfficientSamMaskDecoderConfig, hidden_size: int, output_size: int, depth: int) -> nn.Module:
    """`depth` linear layers with the decoder's activation between them: (..., D) -> (..., output_size)."""
    mlp = SamFeedForward(config.hidden_size, hidden_size, output_size, depth)
    mlp.activation = ACT2FN[config.hidden_act]
    return mlp


class EfficientSamMaskDecoder(nn.Module):
    """Turns image embeddings and prompt tokens into masks and the IoUs that it expects of them."""

    def __init__(self, config: EfficientSamMaskDecoderConfig):
        super().__init__()
        width, num_masks = config.hidden_size, config.num_multimask_outputs + 1
        middle, last = config.upscaling_channels
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(num_masks, width)
        self.transformer = EfficientSamTwoWayTransformer(config)
        self.upscale_conv1 = nn.ConvTranspose2d(width, middle, kernel_size=2, stride=2)
        self.upscale_norm = nn.GroupNorm(1, middle)
        self.upscale_conv2 = nn.ConvTranspose2d(middle, last, kernel_size=2, stride=2)
        self.activation = ACT2FN[config.hidden_act]
        self.output_hypernetworks_mlps = nn.ModuleList(
            _feed_forward(config, width, last, depth=3) for _ in range(num_masks)
        )
        self.iou_prediction_head = _feed_forward(
            config, config.iou_head_hidden_dim, num_masks, depth=config.iou_head_depth
        )

    def forward(
        self,
        image_embeddings: Tensor,
        image_positional_embeddings: Tensor,
        sparse_prompt_embeddings: Tensor | None,
        dense_prompt_embeddings: Tensor,
        multimask_output: bool,
    ) -> tuple[Tensor, Tensor]:
        """Decode every prompt of every image.

        Args:
            image_embeddings: (B, D, h, w).
            image_positional_embeddings: (B, D, h, w).
            sparse_prompt_embeddings: (B, P, n, D) tokens, or None: one prompt per image that says nothing.
            dense_prompt_embeddings: added to the image embeddings.
            multimask_output: return the three masks for ambiguous prompts instead of the single one.

        Returns:
            Mask logits (B, P, M, 4h, 4w) and IoU scores (B, P, M).
        """
        # 1. Learned output tokens, then the prompt's.
        output_tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])  # (1 + masks, D)
        batch, prompts = image_embeddings.shape[0], 1
        if sparse_prompt_embeddings is not None:
            prompts = sparse_prompt_embeddings.shape[1]
        tokens = output_tokens.expand(batch, prompts, -1, -1)
        if sparse_prompt_embeddings is not None:
            tokens = torch.cat([tokens, sparse_prompt_embeddings.to(tokens.dtype)], dim=2)  # (B, P, T, D)

        # 2. Tokens and image look at each other.
        image = image_embeddings + dense_prompt_embeddings
        tokens, features = self.transformer(
            point_embeddings=tokens,
            image_embeddings=image.repeat_interleave(prompts, dim=0),
            image_positional_embeddings=image_positional_embeddings.repeat_interleave(prompts, dim=0),
            attention_similarity=None,
        )
        features = features.squeeze(1).transpose(1, 2).unflatten(2, image.shape[-2:])  # (B * P, D, h, w)

        # 3. Each mask is a product of its token with the upscaled image.
        features = self.activation(self.upscale_norm(self.upscale_conv1(features)))
        features = self.activation(self.upscale_conv2(features)).unflatten(0, (batch, prompts))  # (B, P, C, 4h, 4w)
        filters = [mlp(tokens[:, :, 1 + index]) for index, mlp in enumerate(self.output_hypernetworks_mlps)]
        masks = torch.einsum("bpmc,bpchw->bpmhw", torch.stack(filters, dim=2), features)
        scores = self.iou_prediction_head(tokens[:, :, 0])

        # 4. The single mask comes first, the three for ambiguous prompts after it.
        chosen = slice(1, None) if multimask_output else slice(0, 1)
        return masks[:, :, chosen], scores[:, :, chosen]


class EfficientSamModel(StrictLoadingMixin, SamPreTrainedModel):
    """EfficientSAM, whose parts are called as those of transformers' `SamModel` are."""

    config: EfficientSamConfig
    base_model_prefix = "efficient_sam"

    def __init__(self, config: EfficientSamConfig):
        super().__init__(config)
        self.vision_encoder = SamVisionEncoder(config.vision_config)
        self.prompt_encoder = EfficientSamPromptEncoder(config)
        # The decoder is a plain module, so that transformers does not choose its attention.
        config.mask_decoder_config._attn_implementation = config._attn_implementation
        self.mask_decoder = EfficientSamMaskDecoder(config.mask_decoder_config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The projection of patches."""
        return self.vision_encoder.get_input_embeddings()

    def get_image_wide_positional_embeddings(self) -> Tensor:
        """Codes of the centres of all patches: (1, D, h, w)."""
        positions = self.prompt_encoder.shared_embedding
        side = self.config.vision_config.image_size // self.config.vision_config.patch_size
        matrix = positions.positional_embedding
        centres = (torch.arange(side, device=matrix.device, dtype=matrix.dtype) + 0.5) / side
        grid = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), dim=-1)  # (h, w, 2) of x, y
        return positions(grid).permute(2, 0, 1)[None]

    def forward(
        self,
        pixel_values: Tensor | None = None,
        input_points: Tensor | None = None,
        input_labels: Tensor | None = None,
        input_boxes: Tensor | None = None,
        image_embeddings: Tensor | None = None,
        multimask_output: bool = True,
    ) -> SamImageSegmentationOutput:
        """Segment what points and boxes show.

        Args:
            pixel_values: (B, 3, S, S) normalised views.
            input_points: (B, P, n, 2) points (x, y) in pixels of the view.
            input_labels: (B, P, n) 1 on the object, 0 beside it, negative: no point.
            input_boxes: (B, P, 4) boxes x0, y0, x1, y1 in pixels of the view.
            image_embeddings: (B, D, h, w) what the vision encoder returned, instead of `pixel_values`.
            multimask_output: return three masks instead of one.

        Returns:
            `pred_masks` (B, P, M, 4h, 4w) logits and `iou_scores` (B, P, M).

        Raises:
            ValueError: if not exactly one of `pixel_values` and `image_embeddings` is given, or for bad prompts.
        """
        if (pixel_values is None) == (image_embeddings is None):
            raise ValueError("give exactly one of pixel_values and image_embeddings")
        if image_embeddings is None:
            image_embeddings = self.vision_encoder(pixel_values).last_hidden_state
        sparse, dense = self.prompt_encoder(input_points, input_labels, input_boxes)
        masks, scores = self.mask_decoder(
            image_embeddings=image_embeddings,
            image_positional_embeddings=self.get_image_wide_positional_embeddings().expand_as(image_embeddings),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask_output,
        )
        return SamImageSegmentationOutput(iou_scores=scores, pred_masks=masks)


__all__ = ["EfficientSamModel"]
