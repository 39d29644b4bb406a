"""The layers of SAM's image encoder without a bias of T x T and without work for padding.

SAM adds to every attention score a bias that is the sum of two: one for how far the key's row is from the query's,
one for the columns (decomposed relative positions). transformers' layers write the sum out for all pairs of T tokens,
and pass the padding of incomplete windows through the linear layers around the attention. The layers here have the
same weights under the same names, and give the same numbers.

Shapes: B photos, R x C tokens in a window or a photo, T = R * C, N windows times heads, D width of a head.
"""

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import SamVisionConfig
from transformers.models.sam.modeling_sam import SamVisionEncoder, SamVisionLayer

BLOCK = 1 << 22  # bytes of scores computed at a time: few enough to stay in the cache of a CPU
WINDOW_TOKENS = 1024  # at most, of what counts as a window

Kernel = Callable[..., Tensor]  # what `attend` computes, for a block of it


class EvfSamVisionLayer(SamVisionLayer):
    """A layer of SAM's image encoder."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(B, rows, columns, width) -> the same."""
        hidden_states = hidden_states.contiguous()  # which patches, as a convolution leaves them, are not
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
        attended = attended[:, :rows, :columns].contiguous()  # or it would be a product for each row of tokens
        return self.attn.proj(attended)

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


def attend(query: Tensor, key: Tensor, value: Tensor, *positions: Tensor) -> Tensor:
    """Attention with a bias for the key's row and one for its column: softmax(q k' / sqrt(D) + bias) v.

    Args:
        query: (N, T, D).
        key: (N, T, D), its T = R * C tokens row by row.
        value: (N, T, D).
        positions: nothing, or the bias of each query for all keys of a row, (N, T, R), and of a column, (N, T, C).

    Returns:
        (N, T, D).
    """
    # Blocks are the faster way on a CPU. They are many: too many to compile, or to keep for a backward pass.
    if query.is_cuda or query.requires_grad or torch.compiler.is_compiling():
        if positions:
            return attend_with_wide_heads(query, key, value, *positions)
        return scaled_dot_product_attention(query[None], key[None], value[None])[0]
    of_windows, of_photos = FASTEST_ON_CPU.get(query.dtype, (fused, fused))
    kernel = of_windows if positions and query.shape[1] <= WINDOW_TOKENS else of_photos
    return attend_in_blocks(kernel, query, key, value, *positions)


def attend_in_blocks(kernel: Kernel, query: Tensor, key: Tensor, value: Tensor, *positions: Tensor) -> Tensor:
    """`attend` for a few queries at a time, with the scores of these alone."""
    attended = torch.empty_like(query)
    if kernel is added:
        key = key.transpose(1, 2).contiguous().transpose(1, 2)  # as it reads them
    for heads, queries in _blocks(query.shape[0], query.shape[1], BLOCK // query.itemsize):
        biases = [one[heads, queries] for one in positions]
        attended[heads, queries] = kernel(query[heads, queries], key[heads], value[heads], *biases)
    return attended


def fused(query: Tensor, key: Tensor, value: Tensor, *positions: Tensor) -> Tensor:
    """Torch's own attention, with the bias written out: (n, t, D) for t of the queries of n heads."""
    bias = _bias(*positions)[None] if positions else None
    return scaled_dot_product_attention(query[None], key[None], value[None], attn_mask=bias)[0]


def added(query: Tensor, key: Tensor, value: Tensor, *positions: Tensor) -> Tensor:
    """Two matrix products, the first of which is added to the bias; twice as fast where keys lie as columns."""
    query, keys = query * query.shape[-1] ** -0.5, key.transpose(1, 2)
    if positions:
        scores = _bias(*positions)  # (n, t, T)
        torch.baddbmm(scores, query, keys, out=scores)
    else:
        scores = torch.bmm(query, keys)
    return torch.bmm(scores.softmax(-1), value)


def folded(query: Tensor, key: Tensor, value: Tensor, *positions: Tensor) -> Tensor:
    """Two matrix products, the first of which adds the bias: of wide queries and keys, as below."""
    query, key = _widened(query, key, *positions)
    return torch.bmm(torch.bmm(query, key.transpose(1, 2)).softmax(-1), value)


def _bias(rows: Tensor, columns: Tensor) -> Tensor:
    """The bias of n heads' queries for all keys, (n, t, T)."""
    return (rows[..., :, None] + columns[..., None, :]).flatten(2)


# For windows with positions, and for all else. docs/performance/compare_choices.py compares the kernels: torch's own
# is the fastest in float32, and far from it in bfloat16.
FASTEST_ON_CPU: dict[torch.dtype, tuple[Kernel, Kernel]] = {torch.bfloat16: (folded, added)}


def attend_with_wide_heads(
    query: Tensor, key: Tensor, value: Tensor, row_scores: Tensor, column_scores: Tensor
) -> Tensor:
    """`attend` without a bias: queries carry their scores for rows and columns, keys tell where they are.

    torch's kernels without a bias want heads of one width, so that the values are filled up with zeros.
    """
    width = query.shape[-1]
    query, key = _widened(query, key, row_scores, column_scores)
    value = pad(value, (0, query.shape[-1] - width))
    return scaled_dot_product_attention(query[None], key[None], value[None], scale=1.0)[0, ..., :width]


def _widened(query: Tensor, key: Tensor, row_scores: Tensor, column_scores: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and keys whose products have the scale and the bias in them: (n, t, D + R + C), (n, T, D + R + C)."""
    places = _places(row_scores.shape[-1], column_scores.shape[-1], key)  # (T, R + C)
    query = torch.cat([query * query.shape[-1] ** -0.5, row_scores, column_scores], dim=-1)
    return query, torch.cat([key, places.expand(key.shape[0], -1, -1)], dim=-1)


def _places(rows: int, columns: int, like: Tensor) -> Tensor:
    """(rows * columns, rows + columns): for every token a one at its row, and a one at its column."""
    row = torch.eye(rows, dtype=like.dtype, device=like.device).repeat_interleave(columns, dim=0)
    column = torch.eye(columns, dtype=like.dtype, device=like.device).repeat(rows, 1)
    return torch.cat([row, column], dim=1)


def _blocks(num_heads: int, num_tokens: int, size: int) -> Iterator[tuple[slice, slice]]:
    """Slices of heads and of queries that cut (num_heads, num_tokens, num_tokens) into blocks of `size` scores."""
    queries = min(num_tokens, max(1, size // num_tokens))
    heads = max(1, size // (queries * num_tokens))
    for head in range(0, num_heads, heads):
        for query in range(0, num_tokens, queries):
            yield slice(head, head + heads), slice(query, query + queries)
