from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from modeling_evf_sam import EvfSamConfig, EvfSamModel
from modeling_evf_sam.inference.attention_maps import attention_maps
from tests.golden import GOLDEN_ENCODER, GOLDEN_SAM
from tests.tiny_encoders import CLIP, VILT

PATCHES = (GOLDEN_ENCODER["image_size"] // GOLDEN_ENCODER["patch_size"]) ** 2


def build(**changes):
    torch.manual_seed(0)
    arguments = {"multimodal_config": GOLDEN_ENCODER, "sam_config": GOLDEN_SAM, **changes}
    return EvfSamModel(EvfSamConfig(**arguments)).eval()


def inputs(*lengths):
    """Two photos; `lengths` are those of the first photo's sentences, the second has one sentence of five tokens."""
    generator = torch.Generator().manual_seed(1)
    attention_mask = torch.zeros(2, len(lengths), 7, dtype=torch.long)
    for row, length in enumerate(lengths):
        attention_mask[0, row, :length] = 1
    attention_mask[1, 0, :5] = 1
    side = GOLDEN_ENCODER["image_size"]
    return {
        "multimodal_pixel_values": torch.randn(2, 3, side, side, generator=generator),
        "input_ids": torch.randint(4, 100, (2, len(lengths), 7), generator=generator),
        "attention_mask": attention_mask,
    }


def by_hand(model, given, query):
    """Attention of the first sentence from the tokens before the last layer."""
    encoder = model.multimodal_encoder
    captured = {}
    layer = encoder.layers[-1]
    handle = layer.attention_layer_norm.register_forward_hook(lambda *call: captured.update(tokens=call[2]))
    encoder(
        pixel_values=given["multimodal_pixel_values"][:1],
        input_ids=given["input_ids"][0, :1],
        attention_mask=given["attention_mask"][0, :1],
        output_attentions=True,
    )
    handle.remove()
    attention, tokens, split = layer.attention, captured["tokens"], 1 + PATCHES
    query_row = attention.q_proj(tokens, split)[0, query].view(-1, attention.head_dim)  # (H, D/H)
    keys = attention.k_proj(tokens, split)[0].view(tokens.shape[1], -1, attention.head_dim)  # (T, H, D/H)
    scores = torch.einsum("hd,thd->ht", query_row, keys) * attention.scaling
    there = torch.cat([torch.ones(split), given["attention_mask"][0, 0]]).bool()
    weights = scores.masked_fill(~there, float("-inf")).softmax(-1)
    return weights[:, 1:split].sum(0).view(2 * [round(PATCHES**0.5)])


@pytest.mark.parametrize(("feature", "query"), [("image_cls", 0), ("text_cls", 1 + PATCHES)])
def test_the_map_is_the_attention_of_the_prompting_token(feature, query):
    model, given = build(prompt_feature=feature), inputs(4, 7)
    with torch.no_grad():
        expected = by_hand(model, given, query)
    torch.testing.assert_close(attention_maps(model, given)[0, 0], expected, atol=1e-6, rtol=1e-5)


def test_shapes_absent_sentences_and_the_model_stays_as_it_was():
    model, given = build(), inputs(4, 7)
    maps = attention_maps(model, given)
    assert maps.shape == (2, 2, *2 * [round(PATCHES**0.5)])
    assert (maps[1, 1] == 0).all()
    assert (maps[0] > 0).all()
    assert maps.flatten(2).sum(-1).max() <= GOLDEN_ENCODER["num_attention_heads"]
    assert model.multimodal_encoder.config._attn_implementation == "sdpa"


def test_no_other_thread_sees_it(monkeypatch):
    model, given = build(), inputs(4, 7)
    encoder, seen = model.multimodal_encoder, []
    forward = type(encoder).forward

    def spied(self, *args, **kwargs):
        """Between the start and the end of the call, what another thread that predicts would meet."""
        seen.append((self is encoder, encoder.config._attn_implementation))
        assert {id(tensor) for tensor in self.parameters()} == {id(tensor) for tensor in encoder.parameters()}
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(type(encoder), "forward", spied)
    attention_maps(model, given)
    assert seen == [(False, "sdpa")]


def test_predictions_of_threads_beside_it_stay_equal_bit_for_bit():
    model, given = build(), inputs(4, 7)
    tokens = {"input_ids": given["input_ids"][:, 0], "attention_mask": given["attention_mask"][:, 0]}

    def predict(_):
        with torch.no_grad():
            return model.multimodal_encoder(pixel_values=given["multimodal_pixel_values"], **tokens)[0]

    expected = predict(0)
    with ThreadPoolExecutor(2) as pool:
        maps = [pool.submit(attention_maps, model, given) for _ in range(20)]
        predictions = list(map(predict, range(40)))
        assert all(each.result().shape[:2] == (2, 2) for each in maps)
    assert all(torch.equal(each, expected) for each in predictions)


def test_with_fusion_in_the_first_layers_the_map_follows_the_sentence_through_them():
    model, given = build(num_fusion_layers=1), inputs(4)
    other = {**given, "input_ids": given["input_ids"] + 3}
    assert not torch.allclose(attention_maps(model, given)[0], attention_maps(model, other)[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fusion": "late"}, "use one of BEIT-3"),
        ({"fusion": "text"}, "use one of BEIT-3"),
        ({"multimodal_config": VILT}, "use one of BEIT-3"),
        ({"multimodal_config": CLIP, "fusion": "late"}, "use one of BEIT-3"),
        ({"num_fusion_layers": 1, "prompt_feature": "text_cls"}, "does not attend to the photo"),
    ],
)
def test_models_without_such_attention(changes, message):
    with pytest.raises(ValueError, match=message):
        attention_maps(build(**changes), inputs(4))
