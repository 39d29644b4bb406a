"""The blocks of SAM's mask decoder, in which prompt tokens and the photo look at each other, with less to copy.

transformers' blocks add the photo's positions twice, and work on the photo as the image encoder left it, with the
tokens' channels far apart. The blocks here have the same weights under the same names, and give the same numbers.

Shapes: N prompts, T tokens of each, h and w the sides of the image embedding, D width.
"""

from typing import Any

from torch import Tensor, nn
from transformers.models.sam.modeling_sam import SamTwoWayAttentionBlock
from transformers.models.sam2.modeling_sam2 import Sam2TwoWayAttentionBlock


class TwoWayMixin:
    """What the blocks of all families compute."""

    self_attn: Any
    cross_attn_token_to_image: Any
    cross_attn_image_to_token: Any
    mlp: Any
    layer_norm1: Any
    layer_norm2: Any
    layer_norm3: Any
    layer_norm4: Any
    skip_first_layer_pe: bool

    def forward(
        self,
        queries: Tensor,
        keys: Tensor,
        query_point_embedding: Tensor,
        key_point_embedding: Tensor,
        attention_similarity: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Prompt tokens (N, 1, T, D) and the photo (N, 1, h * w, D) -> both, and how the photo changed.

        Args:
            queries: the tokens.
            keys: the photo.
            query_point_embedding: what the tokens were at first.
            key_point_embedding: the photo's positions, (1, 1, h * w, D) or one for each prompt.
            attention_similarity: added to the tokens' scores of the photo.
            **kwargs: not needed.
        """
        keys, positions = keys.contiguous(), key_point_embedding.contiguous()
        queries = self.layer_norm1(self._attend_to_each_other(queries, query_point_embedding))

        photo = keys + positions
        attended, _ = self.cross_attn_token_to_image(
            query=queries + query_point_embedding, key=photo, value=keys, attention_similarity=attention_similarity
        )
        queries = self.layer_norm2(queries + attended)
        queries = self.layer_norm3(queries + self.mlp(queries))

        attended, _ = self.cross_attn_image_to_token(query=photo, key=queries + query_point_embedding, value=queries)
        return queries, self.layer_norm4(keys + attended), attended

    def _attend_to_each_other(self, queries: Tensor, positions: Tensor) -> Tensor:
        """The tokens, (N, 1, T, D) -> the same."""
        if self.skip_first_layer_pe:
            return self.self_attn(query=queries, key=queries, value=queries)[0]
        placed = queries + positions
        return queries + self.self_attn(query=placed, key=placed, value=queries)[0]


class EvfSamTwoWayBlock(TwoWayMixin, SamTwoWayAttentionBlock):
    """A block of SAM's mask decoder."""


class EvfSam2TwoWayBlock(TwoWayMixin, Sam2TwoWayAttentionBlock):
    """A block of SAM-2's mask decoder."""


def use_blocks(mask_decoder: nn.Module, kind: type[nn.Module]) -> None:
    """Lets the blocks of a mask decoder, with the weights that they have, compute as those of this module."""
    transformer: Any = mask_decoder.transformer
    for block in transformer.layers:
        block.__class__ = kind
