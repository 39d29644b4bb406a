"""Writes compare_choices.json: ways to compute the same thing, timed in turns on this machine's CPU."""

import json
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from torch.nn.functional import linear, scaled_dot_product_attention

from modeling_evf_sam import EvfSamModel
from modeling_evf_sam.bench.record import machine
from modeling_evf_sam.sam_attention import added, attend_in_blocks, attend_with_wide_heads, folded, fused

REPEATS = 7
GRIDS = {"a photo (64 x 64 tokens)": 64, "a window (14 x 14 tokens)": 14}
HEADS = {"ViT-B": (12, 64), "ViT-H": (16, 80)}
BEIT3 = {"BEIT-3 base": 768, "BEIT-3 large": 1024}
Ways = dict[str, Callable[[], object]]


def attend_with_bias(query: Tensor, key: Tensor, value: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The bias of all pairs of tokens written out, as transformers does it."""
    bias = (rows[..., :, None] + columns[..., None, :]).flatten(2)
    return scaled_dot_product_attention(query[None], key[None], value[None], attn_mask=bias[None])[0]


def attentions(heads: int, width: int, side: int, dtype: torch.dtype) -> Ways:
    """SAM's attention of one layer, on one photo or on the windows that make up one."""
    windows = math.ceil(64 / side) ** 2
    shapes = [(windows * heads, side * side, size) for size in (width, width, width, side, side)]
    ways: Ways = {"bias written out": attend_with_bias, "wide heads": attend_with_wide_heads}
    ways |= {f"blocks, {kernel.__name__}": partial(attend_in_blocks, kernel) for kernel in (fused, added, folded)}
    inputs = [torch.randn(shape).to(dtype) for shape in shapes]
    return {name: partial(way, *inputs) for name, way in ways.items()}


def projections(width: int, tokens: int) -> Ways:
    """Queries, keys and values of one layer of BEIT-3 for the tokens of a photo."""
    hidden, weights, biases = torch.randn(1, tokens, width), torch.randn(3, width, width), torch.randn(3, width)
    joined = weights.flatten(0, 1), biases.flatten()
    return {
        "three products": lambda: [linear(hidden, *pair) for pair in zip(weights, biases, strict=True)],
        "one product": lambda: linear(hidden, *joined).chunk(3, dim=-1),
    }


def compilations(count: int) -> dict[str, Ways]:
    """The two parts of evf-sam-vit-b that sentences pass through, with `count` sentences of 10 tokens."""
    model = EvfSamModel.from_preset("evf-sam-vit-b").eval().requires_grad_(False)
    words = torch.randint(5, 60_000, (count, 10))
    reading = torch.randn(count, 3, 224, 224), words, torch.ones_like(words)
    decoding = [torch.randn(count, 256, 64, 64)], torch.randn(count, 256), {}
    result = {}
    for name, part, inputs in (
        ("reading", model.read_sentences, reading),
        ("decoding", model.decode_prompts, decoding),
    ):
        ways: Ways = {"as it is": partial(part, *inputs), "compiled": partial(torch.compile(part), *inputs)}
        result[f"{name} {count} sentences"] = ways
    return result


def compare() -> dict[str, dict[str, float]]:
    """Median seconds of each way of each choice."""
    choices = {
        f"{model}, attention in {name}, {str(dtype)[6:]}": attentions(*shape, side, dtype)
        for model, shape in HEADS.items()
        for name, side in GRIDS.items()
        for dtype in (torch.float32, torch.bfloat16)
    }
    choices |= {f"{name}, q, k and v": projections(width, 197) for name, width in BEIT3.items()}
    choices |= compilations(8)
    return {choice: time_in_turns(ways) for choice, ways in choices.items()}


@torch.no_grad()
def time_in_turns(ways: Ways) -> dict[str, float]:
    """Median seconds of each, after a run that is not timed."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS + 1):
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: median(runs[1:]) for name, runs in seconds.items()}


if __name__ == "__main__":
    target = Path(__file__).with_suffix(".json")
    record = {"machine": machine(torch.device("cpu")), "seconds": compare()}
    target.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(target)
