"""The gate for speed: FLOPs and bytes, which are the same on every machine, instead of seconds."""

import pytest
import torch

from modeling_evf_sam import EvfSamModel
from modeling_evf_sam.bench.measuring import count_flops
from modeling_evf_sam.bench.stages import largest_product, matrix_product, transformers_encoder
from tests.golden import SYSTEMS, golden_config
from tests.live_bytes import peak_bytes


@pytest.fixture(scope="module", params=SYSTEMS)
def model(request) -> EvfSamModel:
    return EvfSamModel(golden_config(**SYSTEMS[request.param])).requires_grad_(False).eval()


@pytest.fixture(scope="module")
def call(model):
    """A function that makes a call with K sentences of 6 tokens on one photo."""
    side = model.config.view_size
    views = {"pixel_values": torch.randn(1, 3, side, side), "multimodal_pixel_values": torch.randn(1, 3, 32, 32)}
    return lambda count: lambda: model(**views, input_ids=torch.full((1, count, 6), 7))


@torch.no_grad()
def test_sentences_cost_one_encoding_and_a_prompt_each(model, call):
    side = model.config.view_size
    pixels, view = torch.randn(1, 3, side, side), torch.randn(1, 3, 32, 32)
    words = torch.full((1, 1, 6), 7)
    embeddings, prompt = model.get_image_embeddings(pixels), model.get_prompt_embeddings(view, words)
    encode = count_flops(lambda: model.get_image_embeddings(pixels))
    read = count_flops(lambda: model.get_prompt_embeddings(view, words))
    decode = count_flops(lambda: model(image_embeddings=embeddings, prompt_embeds=prompt))
    one, five, nine = (count_flops(call(count)) for count in (1, 5, 9))
    assert min(encode, read, decode) > 0
    assert one == encode + read + decode
    assert nine - five == five - one
    assert nine - five <= 4 * (read + decode)


def test_memory_grows_no_faster_than_the_sentences(call):
    five, nine, thirteen = (peak_bytes(call(count)) for count in (5, 9, 13))
    assert 0 < thirteen - nine <= nine - five


@torch.no_grad()
def test_encoder_needs_no_more_than_that_of_transformers(model):
    encoder = transformers_encoder(model)
    if model.config.sam_config.model_type != "sam":
        assert encoder is None
        return
    pixels = torch.randn(1, 3, 128, 128)
    torch.testing.assert_close(
        encoder(pixels).last_hidden_state, model.get_image_embeddings(pixels), atol=1e-5, rtol=0
    )
    assert peak_bytes(lambda: model.get_image_embeddings(pixels)) <= peak_bytes(lambda: encoder(pixels))


@torch.no_grad()
def test_the_peak_is_that_of_the_largest_linear_layer():
    model = EvfSamModel(golden_config())
    vision = model.config.sam_config.vision_config
    tokens = (vision.image_size // vision.patch_size) ** 2
    sizes = largest_product(model, torch.randn(1, 3, vision.image_size, vision.image_size))
    assert (sizes[0], sorted(sizes[1:])) == (tokens, sorted((vision.hidden_size, vision.mlp_dim)))
    action = matrix_product(sizes, torch.device("cpu"), "float32")
    assert count_flops(action.run) == 2 * tokens * vision.hidden_size * vision.mlp_dim


def test_attention_is_counted_whatever_kernel_computes_it():
    query, key = torch.randn(1, 2, 30, 8), torch.randn(1, 2, 50, 8)
    attention = torch.nn.functional.scaled_dot_product_attention
    assert count_flops(lambda: attention(query, key, key)) == 2 * 2 * 2 * 30 * 50 * 8


def test_live_bytes_counts_what_lives_at_one_time():
    def three_of_which_two_live():
        first, second = torch.ones(1000), torch.ones(1000)
        del first
        third = torch.ones(1000)
        return second.view(10, 100), third

    assert peak_bytes(three_of_which_two_live) == 8000
