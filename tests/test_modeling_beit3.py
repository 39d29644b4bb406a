import copy

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from modeling_evf_sam import Beit3Config, Beit3Model
from modeling_evf_sam.originals.converting import convert_state_dict
from tests.golden import GOLDEN_ENCODER, ruled_tensor

SIZES = {name: value for name, value in GOLDEN_ENCODER.items() if name != "model_type"}


@pytest.fixture(scope="module")
def model() -> Beit3Model:
    model = Beit3Model(Beit3Config(**SIZES)).eval()
    model.load_state_dict({name: ruled_tensor(name, tuple(value.shape)) for name, value in model.state_dict().items()})
    return model


@torch.no_grad()
def test_reads_an_image_a_sentence_or_both(model):
    image, ids = torch.randn(2, 3, 32, 32), torch.randint(4, 120, (2, 5))
    assert model(pixel_values=image).last_hidden_state.shape == (2, 17, 32)
    assert model(input_ids=ids).last_hidden_state.shape == (2, 5, 32)
    assert model(pixel_values=image, input_ids=ids).last_hidden_state.shape == (2, 22, 32)


@torch.no_grad()
def test_fusion_goes_both_ways(model):
    image, ids = torch.randn(1, 3, 32, 32), torch.randint(4, 120, (1, 5))
    both = model(pixel_values=image, input_ids=ids).last_hidden_state
    other_text = model(pixel_values=image, input_ids=ids.flip(1)).last_hidden_state
    other_image = model(pixel_values=-image, input_ids=ids).last_hidden_state
    assert (both[:, :17] - other_text[:, :17]).abs().max() > 1e-3
    assert (both[:, 17:] - other_image[:, 17:]).abs().max() > 1e-3


@torch.no_grad()
def test_padding_changes_nothing(model):
    image, ids = torch.randn(1, 3, 32, 32), torch.randint(4, 120, (1, 5))
    padded, mask = torch.nn.functional.pad(ids, (0, 4), value=1), torch.tensor([[1] * 5 + [0] * 4])
    expected = model(pixel_values=image, input_ids=ids).last_hidden_state
    found = model(pixel_values=image, input_ids=padded, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(found[:, :22], expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_attention_implementations_agree(model):
    eager = Beit3Model._from_config(model.config, attn_implementation="eager").eval()
    eager.load_state_dict(model.state_dict())
    image, ids, mask = (
        torch.randn(2, 3, 32, 32),
        torch.randint(4, 120, (2, 5)),
        torch.tensor([[1] * 5, [1, 1, 0, 0, 0]]),
    )
    outputs = eager(image, ids, mask, output_attentions=True, output_hidden_states=True)
    torch.testing.assert_close(
        outputs.last_hidden_state[:, :17], model(image, ids, mask).last_hidden_state[:, :17], atol=1e-5, rtol=0
    )
    assert [weights.shape for weights in outputs.attentions] == [(2, 4, 22, 22)] * 3
    assert not outputs.attentions[0][1, :, :, 19:].any()


@torch.no_grad()
def test_fusion_in_all_layers_or_in_none(model):
    image, ids, mask = (
        torch.randn(2, 3, 32, 32),
        torch.randint(4, 120, (2, 5)),
        torch.tensor([[1] * 5, [1, 1, 0, 0, 0]]),
    )
    whole = model(image, ids, mask).last_hidden_state
    assert torch.equal(model(image, ids, mask, num_fusion_layers=3).last_hidden_state, whole)
    apart = model(image, ids, mask, num_fusion_layers=0).last_hidden_state
    torch.testing.assert_close(apart[:, :17], model(pixel_values=image).last_hidden_state)
    text = model(input_ids=ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(apart[:, 17:][mask.bool()], text[mask.bool()])


@torch.no_grad()
@pytest.mark.parametrize("num_fusion_layers", [1, 2])
def test_fusion_in_the_first_layers(model, num_fusion_layers):
    image, ids = torch.randn(1, 3, 32, 32), torch.randint(4, 120, (1, 5))
    eager = Beit3Model._from_config(model.config, attn_implementation="eager").eval()
    eager.load_state_dict(model.state_dict())
    found = eager(image, ids, num_fusion_layers=num_fusion_layers, output_attentions=True)
    fused, later = found.attentions[:num_fusion_layers], found.attentions[num_fusion_layers:]
    assert {weights.shape[-1] for weights in fused} == {22}
    assert [weights.shape[-1] for weights in later] == [17, 5] * (3 - num_fusion_layers)

    state = model(image, ids).last_hidden_state
    other_text = model(image, ids.flip(1), num_fusion_layers=num_fusion_layers).last_hidden_state
    assert (found.last_hidden_state - state).abs().max() > 1e-3
    assert (found.last_hidden_state - other_text)[:, :17].abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("num_fusion_layers", [None, 0, 1, 3])
@pytest.mark.parametrize("first_tokens", [("image",), ("text",), ("image", "text")])
def test_first_tokens_are_those_of_the_whole(model, attention, num_fusion_layers, first_tokens):
    chosen = Beit3Model._from_config(model.config, attn_implementation=attention).eval()
    chosen.load_state_dict(model.state_dict())
    image, ids = torch.randn(2, 3, 32, 32), torch.randint(4, 120, (2, 5))
    for mask in (None, torch.tensor([[1] * 5, [1, 1, 0, 0, 0]])):
        whole = model(image, ids, mask, num_fusion_layers).last_hidden_state
        expected = whole[:, [{"image": 0, "text": 17}[name] for name in first_tokens]]
        found = chosen(image, ids, mask, num_fusion_layers, first_tokens=first_tokens).last_hidden_state
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_sentence_alone_has_a_first_token_too(model):
    ids = torch.randint(4, 120, (2, 5))
    found = model(input_ids=ids, first_tokens=("text",)).last_hidden_state
    torch.testing.assert_close(found, model(input_ids=ids).last_hidden_state[:, :1], atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_last_layer_is_computed_for_first_tokens_alone():
    """In FLOPs of the full size: of the last layer, keys and values remain."""
    with torch.device("meta"):
        model = Beit3Model(Beit3Config())
        image, ids = torch.empty(1, 3, 224, 224), torch.empty(1, 16, dtype=torch.long)
    counts = {}
    for first_tokens in (None, ("image",)):
        with FlopCounterMode(display=False) as flops:
            model(image, ids, first_tokens=first_tokens)
        counts[first_tokens] = flops.get_total_flops()
    tokens, width = 197 + 16, 1024
    saved = (tokens - 1) * (2 * 10 * width**2 + 4 * tokens * width)  # queries, output, MLP; attention
    assert counts[None] - counts["image",] == saved
    assert saved > 0.03 * counts[None]


def test_linear_layers_take_all_photos_at_once(model):
    """A slice of the tokens, as it lies in memory, would be multiplied photo by photo, with a copy of the weights."""
    frozen = copy.deepcopy(model).requires_grad_(False)
    with torch.profiler.profile() as profiled:
        frozen(torch.randn(3, 3, 32, 32), torch.full((3, 5), 7))
    assert "aten::bmm" not in {event.key for event in profiled.key_averages()}


def test_nothing_to_read(model):
    with pytest.raises(ValueError, match="give pixel_values, input_ids, or both"):
        model()


def test_parameters_of_the_released_sizes():
    """The counts of BEIT-3 large and base in the original (220,987,392 and 672,702,464)."""
    base = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
    for changes, count in (({}, 672_702_464), (base, 220_987_392)):
        with torch.device("meta"):
            model = Beit3Model(Beit3Config(**changes))
        assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_names_of_a_single_file():
    converted = convert_state_dict({"beit3.encoder.layers.0.ffn.A.ffn_layernorm.bias": torch.zeros(64)})
    assert list(converted) == ["multimodal_encoder.layers.0.mlp.vision.layer_norm.bias"]
