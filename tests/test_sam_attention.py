"""SAM's image encoder: the numbers of transformers' layers, at no more than the necessary cost."""

import copy

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode
from transformers import SamVisionConfig
from transformers.models.sam.modeling_sam import SamVisionEncoder

from modeling_evf_sam import EvfSamModel, sam_attention
from modeling_evf_sam.sam_attention import EvfSamVisionEncoder, EvfSamVisionLayer
from tests.golden import golden_config, ruled_tensor

SIZES = {
    "hidden_size": 48,
    "output_channels": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 128,
    "patch_size": 16,
    "window_size": 3,  # of 8 x 8 tokens: the last windows are incomplete
    "global_attn_indexes": [1],
}
VIT = {"B": (768, 12), "L": (1024, 16), "H": (1280, 16)}  # width, heads
VARIANTS = {
    "incomplete windows": {},
    "whole windows": {"window_size": 4},
    "no windows": {"global_attn_indexes": [0, 1, 2]},
    "no relative positions": {"use_rel_pos": False},
    "no bias": {"qkv_bias": False},
}


def encoders(attention: str = "sdpa", **changes) -> tuple[SamVisionEncoder, SamVisionEncoder]:
    """The library's and ours, with the same weights."""
    config = SamVisionConfig(**{**SIZES, **changes})
    config._attn_implementation = attention
    library = SamVisionEncoder(config).eval()
    library.load_state_dict({name: ruled_tensor(name, tuple(t.shape)) for name, t in library.state_dict().items()})
    ours = EvfSamVisionEncoder(config).eval()
    ours.load_state_dict(library.state_dict())
    return library, ours


def photos(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 128, 128, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("block", [1, 400, 1 << 22])
def test_the_numbers_are_the_library_s(variant, block, monkeypatch):
    monkeypatch.setattr(sam_attention, "BLOCK", block)
    library, ours = encoders(**VARIANTS[variant])
    expected = library(photos()).last_hidden_state
    torch.testing.assert_close(ours(photos()).last_hidden_state, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("checkpoints", [False, True])
def test_the_gradients_are_the_library_s(variant, checkpoints):
    library, ours = encoders(**VARIANTS[variant])
    if checkpoints:
        ours.activation_checkpointing_enable()
    for encoder in (library, ours.train()):
        encoder(photos()).last_hidden_state.square().mean().backward()
    for (name, expected), found in zip(library.named_parameters(), ours.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad, atol=1e-5, rtol=1e-4, msg=name)


def drawn_heads(sides: tuple[int, int], dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    """Queries, keys, values, and the scores of rows and of columns, for six heads."""
    tokens = sides[0] * sides[1]
    generator = torch.Generator().manual_seed(0)
    shapes = [(6, tokens, width) for width in (8, 8, 8, *sides)]
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]


def attention(query, key, value, rows=None, columns=None):
    """As it is defined, with the bias written out."""
    bias = 0 if rows is None else (rows[..., :, None] + columns[..., None, :]).flatten(2)
    return (query @ key.transpose(1, 2) / query.shape[-1] ** 0.5 + bias).softmax(-1) @ value


@pytest.mark.parametrize("sides", [(3, 5), (8, 8)])
@pytest.mark.parametrize("positions", [True, False])
@pytest.mark.parametrize("kernel", [sam_attention.fused, sam_attention.added, sam_attention.folded])
@pytest.mark.parametrize("block", [1, 400, 1 << 22])
def test_kernels_agree_with_attention_as_it_is_defined(sides, positions, kernel, block, monkeypatch):
    if kernel is sam_attention.folded and not positions:
        return  # it has nothing to fold
    monkeypatch.setattr(sam_attention, "BLOCK", block)
    parts = drawn_heads(sides)[: 5 if positions else 3]
    found = sam_attention.attend_in_blocks(kernel, *parts)
    torch.testing.assert_close(found, attention(*parts), atol=1e-12, rtol=0)
    if positions:
        torch.testing.assert_close(sam_attention.attend_with_wide_heads(*parts), found, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("positions", [True, False])
@pytest.mark.parametrize("side", [4, 33])  # a window, and more than that
def test_each_precision_has_its_kernels(dtype, positions, side, monkeypatch):
    used = []

    def named(kernel):
        def run(*parts):
            used.append(kernel.__name__)
            return kernel(*parts)

        return run

    own = {key: tuple(map(named, kernels)) for key, kernels in sam_attention.FASTEST_ON_CPU.items()}
    monkeypatch.setattr(sam_attention, "FASTEST_ON_CPU", own)
    parts = drawn_heads((side, side), dtype)[: 5 if positions else 3]
    found = sam_attention.attend(*parts).double()
    expected = attention(*(part.double() for part in parts))
    error = (found - expected).norm() / expected.norm()
    assert error < (0.02 if dtype == torch.bfloat16 else 1e-6)
    kernel = "folded" if positions and side == 4 else "added"
    assert set(used) == ({kernel} if dtype == torch.bfloat16 else set())


def test_eager_attention_stays_the_library_s():
    _, ours = encoders(attention="eager")
    assert not any(isinstance(layer, EvfSamVisionLayer) for layer in ours.layers)


def test_a_model_has_the_layers_under_the_old_names():
    model = EvfSamModel(golden_config())
    assert all(type(layer) is EvfSamVisionLayer for layer in copy.deepcopy(model).sam.vision_encoder.layers)
    assert model.config.sam_config.vision_config.num_hidden_layers == len(model.sam.vision_encoder.layers) > 0
    assert model.sam.config is model.config.sam_config
    library = SamVisionEncoder(model.config.sam_config.vision_config)
    assert list(library.state_dict()) == list(model.sam.vision_encoder.state_dict())
    assert "EvfSamVisionLayer" in model._no_split_modules


class LargestTensor(TorchDispatchMode):
    """Keeps the number of elements of the largest tensor that an operation returned."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self.elements = max(self.elements, leaf.untyped_storage().nbytes() // leaf.element_size())
        return out


def necessary(width: int) -> int:
    """FLOPs of a layer with windows and one without, over 64 x 64 tokens, and of what is before and after them."""
    tokens, windows, in_window = 64**2, 25, 14**2
    linear = 2 * 2 * tokens * 12 * width**2  # 3 for queries, keys and values, 1 behind them, 8 for the MLP
    attention = 4 * width * (windows * in_window**2 + tokens**2)
    positions = 2 * width * (windows * in_window * (14 + 14) + tokens * (64 + 64))
    patches, neck = 2 * tokens * 768 * width, 2 * tokens * 256 * (width + 9 * 256)
    return linear + attention + positions + patches + neck


@torch.no_grad()
@pytest.mark.parametrize("name", VIT)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_more_work_and_memory_than_necessary(name, dtype):
    width, heads = VIT[name]
    config = SamVisionConfig(
        hidden_size=width, num_attention_heads=heads, num_hidden_layers=2, global_attn_indexes=[1]
    )
    config._attn_implementation = "sdpa"
    with torch.device("meta"):
        library, ours = SamVisionEncoder(config).to(dtype), EvfSamVisionEncoder(config).to(dtype)
        photo = torch.empty(1, 3, 1024, 1024, dtype=dtype)
    counts = {}
    for encoder in (library, ours):
        with FlopCounterMode(display=False) as flops, LargestTensor() as largest:
            encoder(photo)
        counts[encoder] = flops.get_total_flops(), largest.elements
    wider = 0 if dtype == torch.float32 else 2 * heads * 25 * 196**2 * (14 + 14)  # queries and keys of windows
    assert counts[ours][0] == pytest.approx(necessary(width) + wider, rel=1e-3)
    assert counts[ours][0] < counts[library][0]
    assert counts[ours][1] == 4096 * 4 * width  # inside the MLP
    assert counts[library][1] >= heads * 4096**2
