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
@pytest.mark.parametrize("block", [1, 100, 1 << 20])
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


@pytest.mark.parametrize("sides", [(3, 5), (8, 8)])
def test_blocks_and_wide_heads_agree_with_the_bias_written_out(sides):
    tokens = sides[0] * sides[1]
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 6, tokens, 8, generator=generator, dtype=torch.float64)
    rows, columns = (torch.randn(6, tokens, side, generator=generator, dtype=torch.float64) for side in sides)
    bias = (rows[..., :, None] + columns[..., None, :]).flatten(2)
    expected = (query @ key.transpose(1, 2) / 8**0.5 + bias).softmax(-1) @ value
    for attend in (sam_attention.attend_in_blocks, sam_attention.attend_with_wide_heads):
        torch.testing.assert_close(attend(query, key, value, rows, columns), expected, atol=1e-12, rtol=0)


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
def test_no_more_work_and_memory_than_necessary(name):
    width, heads = VIT[name]
    config = SamVisionConfig(
        hidden_size=width, num_attention_heads=heads, num_hidden_layers=2, global_attn_indexes=[1]
    )
    config._attn_implementation = "sdpa"
    with torch.device("meta"):
        library, ours = SamVisionEncoder(config), EvfSamVisionEncoder(config)
        photo = torch.empty(1, 3, 1024, 1024)
    counts = {}
    for encoder in (library, ours):
        with FlopCounterMode(display=False) as flops, LargestTensor() as largest:
            encoder(photo)
        counts[encoder] = flops.get_total_flops(), largest.elements
    assert counts[ours][0] == pytest.approx(necessary(width), rel=1e-3)
    assert counts[ours][0] < counts[library][0]
    assert counts[ours][1] == 4096 * 4 * width  # inside the MLP
    assert counts[library][1] >= heads * 4096**2
