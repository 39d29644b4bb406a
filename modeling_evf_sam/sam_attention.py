"""The layers of SAM's image encoder without a bias of T x T and without work for padding.

SAM adds to every attention score a bias that is the sum of two: one for how far the key's row is from the query's,
one for the columns (decomposed relative positions). transformers' layers write the sum out for all pairs of T tokens,
and pass the padding of incomplete windows through the linear layers around the attention. The layers here have the
same weights under the same names, and give the same numbers.

Shapes: B photos, R x C tokens in a window or a photo, T = R * C, N windows times heads, D width of a head.
"""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import SamVisionConfig
from transformers.models.sam.modeling_sam import SamVisionEncoder, SamVisionLayer

BLOCK = 1 << 20  # scores computed at a time: few enough for their bias to stay in the cache of a CPU


class EvfSamVisionLayer(SamVisionLayer):
    """A layer of SAM's image encoder."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(B, rows, columns, width) -> the same."""
        hidden_states = hidden_states + self._attend(self.layer_norm1(hidden_states))
        return hidden_states + self.mlp(self.layer_norm2(hidden_states))

    def _attend(self, hidden_states: Tensor) -> Tensor:
        batch, rows, columns, width = hidden_states.shape
        qkv = self.attn.qkv(hidden_states)  # (B, rows, columns, 3 * width)
        side = (self.window_size, self.window_size) if self.window_size else (rows, columns)
        down, right = -(-rows // side[0]), -(-columns // side[1])  # windows, the incomplete ones included
        if (down * side[0], right * side[1]) != (rows, columns):
            # What a token of zeros becomes, as padding takes part in the attention.
            empty = self.attn.qkv(hidden_states.new_zeros(1, width))
            padded = empty.expand(batch, down * side[0], right * side[1], -1).clone()
            padded[:, :rows, :columns] = qkv
            qkv = padded
        heads = self.attn.num_attention_heads
        qkv = qkv.view(batch, down, side[0], right, side[1], 3, heads, -1).permute(5, 0, 1, 3, 6, 2, 4, 7)
        query, key, value = qkv.reshape(3, batch * down * right * heads, side[0] * side[1], -1).unbind(0)  # (N, T, D)
        attended = attend(query, key, value, *self._position_scores(query, side))
        attended = attended.view(batch, down, right, heads, *side, -1).permute(0, 1, 4, 2, 5, 3, 6)
        attended = attended.reshape(batch, down * side[0], right * side[1], width)
        return self.attn.proj(attended[:, :rows, :columns])

    def _position_scores(self, query: Tensor, side: tuple[int, int]) -> tuple[Tensor, Tensor] | tuple[()]:
        """How much each query (N, T, D) likes each row of keys, (N, T, R), and each column, (N, T, C)."""
        if not self.attn.use_rel_pos:
            return ()
        query = query.unflatten(1, side)  # (N, R, C, D)
        to_rows, to_columns = (
            self.attn.get_rel_pos(size, size, table)  # (size, size, D)
            for size, table in zip(side, (self.attn.rel_pos_h, self.attn.rel_pos_w), strict=True)
        )
        row_scores = query @ to_rows.transpose(1, 2)
        column_scores = (query.transpose(1, 2) @ to_columns.transpose(1, 2)).transpose(1, 2)
        return row_scores.flatten(1, 2), column_scores.flatten(1, 2)


class EvfSamVisionEncoder(SamVisionEncoder):
    """SAM's image encoder of these layers; of the library's for its eager attention, which returns weights."""

    config: SamVisionConfig

    def __init__(self, config: SamVisionConfig):
        super().__init__(without_layers(config))
        config._attn_implementation = self.config._attn_implementation  # as the library chose
        self.config = config
        layer = SamVisionLayer if config._attn_implementation == "eager" else EvfSamVisionLayer
        self.layers.extend(
            layer(config, window_size=0 if index in config.global_attn_indexes else config.window_size)
            for index in range(config.num_hidden_layers)
        )
        self.post_init()


def without_layers(config: SamVisionConfig) -> SamVisionConfig:
    """A configuration of the library's image encoder for all but its layers, which are built apart."""
    config = copy.copy(config)
    config.num_hidden_layers = 0
    return config


def attend(
    query: Tensor, key: Tensor, value: Tensor, row_scores: Tensor | None = None, column_scores: Tensor | None = None
) -> Tensor:
    """Attention with a bias for the key's row and one for its column: softmax(q k' / sqrt(D) + bias) v.

    Args:
        query: (N, T, D).
        key: (N, T, D), its T = R * C tokens row by row.
        value: (N, T, D).
        row_scores: (N, T, R) bias of each query for all keys of a row.
        column_scores: (N, T, C) bias of each query for all keys of a column.

    Returns:
        (N, T, D).
    """
    if row_scores is None or column_scores is None:
        return scaled_dot_product_attention(query[None], key[None], value[None])[0]
    # Blocks are the faster way on a CPU. They are many: too many to compile, or to keep for a backward pass.
    if query.is_cuda or query.requires_grad or torch.compiler.is_compiling():
        return attend_with_wide_heads(query, key, value, row_scores, column_scores)
    return attend_in_blocks(query, key, value, row_scores, column_scores)


def attend_in_blocks(query: Tensor, key: Tensor, value: Tensor, row_scores: Tensor, column_scores: Tensor) -> Tensor:
    """`attend` for a few queries at a time, with the bias of these alone."""
    attended = torch.empty_like(query)
    for heads, queries in _blocks(*query.shape[:2]):
        rows, columns = row_scores[heads, queries], column_scores[heads, queries]
        bias = (rows[..., :, None] + columns[..., None, :]).flatten(2)  # (n, t, R, C) -> (n, t, T)
        attended[heads, queries] = scaled_dot_product_attention(
            query[None, heads, queries], key[None, heads], value[None, heads], attn_mask=bias[None]
        )[0]
    return attended


def attend_with_wide_heads(
    query: Tensor, key: Tensor, value: Tensor, row_scores: Tensor, column_scores: Tensor
) -> Tensor:
    """`attend` without a bias: queries carry their scores for rows and columns, keys tell where they are.

    The kernels without a bias want heads of one width, so that the values are filled up with zeros.
    """
    places = _places(row_scores.shape[-1], column_scores.shape[-1], key)  # (T, R + C)
    width = query.shape[-1]
    query = torch.cat([query * width**-0.5, row_scores, column_scores], dim=-1)  # (N, T, D + R + C)
    key = torch.cat([key, places.expand(key.shape[0], -1, -1)], dim=-1)
    value = pad(value, (0, places.shape[-1]))
    return scaled_dot_product_attention(query[None], key[None], value[None], scale=1.0)[0, ..., :width]


def _places(rows: int, columns: int, like: Tensor) -> Tensor:
    """(rows * columns, rows + columns): for every token a one at its row, and a one at its column."""
    row = torch.eye(rows, dtype=like.dtype, device=like.device).repeat_interleave(columns, dim=0)
    column = torch.eye(columns, dtype=like.dtype, device=like.device).repeat(rows, 1)
    return torch.cat([row, column], dim=1)


def _blocks(num_heads: int, num_tokens: int) -> Iterator[tuple[slice, slice]]:
    """Slices of heads and of queries that cut (num_heads, num_tokens, num_tokens) into blocks of `BLOCK` scores."""
    queries = min(num_tokens, max(1, BLOCK // num_tokens))
    heads = max(1, BLOCK // (queries * num_tokens))
    for head in range(0, num_heads, heads):
        for query in range(0, num_tokens, queries):
            yield slice(head, head + heads), slice(query, query + queries)
