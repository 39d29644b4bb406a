import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPModel, ViltModel

from modeling_evf_sam import EvfSamModel
from modeling_evf_sam.multimodal_encoders import ENCODERS, multimodal_encoder
from tests.golden import golden_config, ruled_tensor
from tests.tiny_encoders import BEIT3, CLIP, LAST_TOKEN, VILT

ALL: dict[str, tuple[dict, int, set[str]]] = {  # switches, feature size, parameters that no gradient reaches
    "beit3 early": ({"multimodal_config": BEIT3}, 32, {"embeddings.mask_token"}),
    "beit3 early in 1": ({"multimodal_config": BEIT3, "num_fusion_layers": 1}, 32, {"embeddings.mask_token"}),
    "beit3 text [CLS]": ({"multimodal_config": BEIT3, "prompt_feature": "text_cls"}, 32, {"embeddings.mask_token"}),
    "beit3 mean": ({"multimodal_config": BEIT3, "prompt_feature": "image_mean"}, 32, {"embeddings.mask_token"}),
    "beit3 concatenated": ({"multimodal_config": BEIT3, "prompt_feature": "concat"}, 64, {"embeddings.mask_token"}),
    "beit3 late": ({"multimodal_config": BEIT3, "fusion": "late"}, 64, {"embeddings.mask_token"}),
    "beit3 text": ({"multimodal_config": BEIT3, "fusion": "text"}, 32, set()),
    "vilt early": ({"multimodal_config": VILT}, 32, set()),
    "vilt mean": ({"multimodal_config": VILT, "prompt_feature": "image_mean"}, 32, set()),
    "vilt late": ({"multimodal_config": VILT, "fusion": "late"}, 64, set()),
    "vilt text": ({"multimodal_config": VILT, "fusion": "text"}, 32, set()),
    "clip late": ({"multimodal_config": CLIP, "fusion": "late"}, 48, {"logit_scale"}),
    "clip text": ({"multimodal_config": CLIP, "fusion": "text"}, 32, set()),
}
EARLY = [name for name in ALL if "early" in name or "concatenated" in name or "mean" in name]
LATE = [name for name in ALL if "late" in name]
TEXT = [name for name, (switches, *_) in ALL.items() if switches.get("fusion") == "text"]


def build(name: str, **changes):
    """An encoder with weights that follow from their names, and spread as trained ones do."""
    encoder = multimodal_encoder(golden_config(**{**ALL[name][0], **changes})).eval()
    encoder.load_state_dict(
        {key: ruled_tensor(key, tuple(value.shape)) for key, value in encoder.state_dict().items()}
    )
    return encoder


def inputs(name: str, seed: int = 0) -> tuple[Tensor | None, Tensor]:
    """Views and tokens of two sentences of six tokens."""
    generator = torch.Generator().manual_seed(seed)
    views = torch.randn(2, 3, 32, 32, generator=generator)
    ids = torch.randint(4, 100, (2, 6), generator=generator)
    if "clip" in name:
        ids[:, -1] = LAST_TOKEN
    return None if name in TEXT else views, ids


def test_every_encoder_is_here():
    built = {
        (switches["multimodal_config"]["model_type"], switches.get("fusion", "early")) for switches, *_ in ALL.values()
    }
    assert built == set(ENCODERS)


@torch.no_grad()
@pytest.mark.parametrize("name", ALL)
def test_features_have_their_size_and_do_not_see_padding(name):
    encoder, (views, ids) = build(name), inputs(name)
    assert encoder.feature_size == ALL[name][1]
    features = encoder.get_prompt_features(views, ids)
    assert features.shape == (2, encoder.feature_size)
    padded = torch.nn.functional.pad(ids, (0, 3), value=1)
    mask = torch.tensor([[1] * 6 + [0] * 3] * 2)
    found = encoder.get_prompt_features(views, padded, mask)
    torch.testing.assert_close(found, features, atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("name", EARLY)
def test_early_fusion_reads_both(name):
    encoder, (views, ids), (other_views, other_ids) = build(name), inputs(name), inputs(name, seed=1)
    features = encoder.get_prompt_features(views, ids).unflatten(1, (-1, 32))  # (2, [CLS] tokens, 32)
    for other in (encoder.get_prompt_features(views, other_ids), encoder.get_prompt_features(other_views, ids)):
        assert (other.unflatten(1, (-1, 32)) - features).abs().amax(dim=2).min() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("name", LATE)
def test_late_fusion_keeps_the_halves_apart(name):
    encoder, (views, ids), (other_views, other_ids) = build(name), inputs(name), inputs(name, seed=1)
    image, text = encoder.get_prompt_features(views, ids).chunk(2, dim=1)
    image_again, other_text = encoder.get_prompt_features(views, other_ids).chunk(2, dim=1)
    other_image, text_again = encoder.get_prompt_features(other_views, ids).chunk(2, dim=1)
    assert torch.equal(image, image_again)
    assert torch.equal(text, text_again)
    assert (image - other_image).abs().amax(dim=1).min() > 1e-3
    assert (text - other_text).abs().amax(dim=1).min() > 1e-3


@torch.no_grad()
def test_late_beit3_is_two_passes():
    encoder, (views, ids) = build("beit3 late"), inputs("beit3 late")
    image = encoder(pixel_values=views).last_hidden_state[:, 0]
    text = encoder(input_ids=ids).last_hidden_state[:, 0]
    torch.testing.assert_close(encoder.get_prompt_features(views, ids), torch.cat([image, text], dim=1))


@torch.no_grad()
def test_text_beit3_is_the_text_pass_of_the_whole():
    text, whole = build("beit3 text"), build("beit3 early")
    assert not [key for key in text.state_dict() if "vision" in key or "patch" in key or "cls_token" in key]
    _, ids = inputs("beit3 text")
    expected = whole(input_ids=ids).last_hidden_state[:, 0]
    torch.testing.assert_close(text.get_prompt_features(None, ids), expected)


@torch.no_grad()
def test_features_of_beit3_are_tokens_of_one_pass():
    views, ids = inputs("beit3 early")
    tokens = build("beit3 early")(pixel_values=views, input_ids=ids).last_hidden_state
    image, text = tokens[:, 0], tokens[:, 17]
    expected = {
        "beit3 early": image,
        "beit3 text [CLS]": text,
        "beit3 mean": tokens[:, 1:17].mean(dim=1),
        "beit3 concatenated": torch.cat([image, text], dim=1),
    }
    for name, feature in expected.items():
        torch.testing.assert_close(build(name).get_prompt_features(views, ids), feature)


@torch.no_grad()
def test_early_vilt_is_the_library_s():
    encoder, (views, ids) = build("vilt early"), inputs("vilt early")
    library = ViltModel(encoder.config, add_pooling_layer=False).eval()
    library.load_state_dict(encoder.state_dict())
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    expected = library(input_ids=ids, attention_mask=mask, pixel_values=views).last_hidden_state  # text first
    torch.testing.assert_close(encoder.get_prompt_features(views, ids, mask), expected[:, 6], atol=1e-5, rtol=0)
    mean = build("vilt mean").get_prompt_features(views, ids, mask)
    torch.testing.assert_close(mean, expected[:, 7:].mean(dim=1), atol=1e-5, rtol=0)


@torch.no_grad()
def test_clip_is_the_library_s():
    encoder, (views, ids) = build("clip late"), inputs("clip late")
    library = CLIPModel(encoder.config).eval()
    library.load_state_dict(encoder.state_dict())
    outputs = library(input_ids=ids, pixel_values=views)
    image, text = encoder.get_prompt_features(views, ids).chunk(2, dim=1)
    torch.testing.assert_close(torch.nn.functional.normalize(image), outputs.image_embeds)
    torch.testing.assert_close(torch.nn.functional.normalize(text), outputs.text_embeds)


@torch.no_grad()
@pytest.mark.parametrize("name", TEXT)
def test_text_alone_never_touches_the_photo(name):
    model = EvfSamModel(golden_config(**ALL[name][0])).eval()
    views, ids = torch.full((1, 3, 32, 32), torch.nan), inputs(name)[1][:1, None]
    photo = torch.randn(1, 3, 128, 128)
    expected = model(pixel_values=photo, input_ids=ids)
    found = model(pixel_values=photo, multimodal_pixel_values=views, input_ids=ids)
    assert torch.equal(found.pred_masks, expected.pred_masks)


@pytest.mark.parametrize("name", ["beit3 early", "beit3 late", "vilt early", "clip late"])
def test_others_need_the_photo(name):
    model = EvfSamModel(golden_config(**ALL[name][0]))
    with pytest.raises(ValueError, match="reads the photo: give multimodal_pixel_values"):
        model(pixel_values=torch.randn(1, 3, 128, 128), input_ids=inputs(name)[1][:1, None])


@pytest.mark.parametrize("name", ALL)
def test_trains_saves_and_reloads(name, tmp_path):
    _, _, unreached = ALL[name]
    model = EvfSamModel(golden_config(**ALL[name][0]))
    views, ids = inputs(name)
    batch = {"pixel_values": torch.randn(2, 3, 128, 128), "input_ids": ids[:, None], "labels": torch.ones(2, 1, 8, 8)}
    if views is not None:
        batch["multimodal_pixel_values"] = views
    model(**batch).loss.backward()
    assert {key for key, value in model.multimodal_encoder.named_parameters() if value.grad is None} == unreached
    model.save_pretrained(tmp_path)
    reloaded = EvfSamModel.from_pretrained(tmp_path)
    assert type(reloaded.multimodal_encoder) is type(model.multimodal_encoder)
    with torch.no_grad():
        assert torch.equal(reloaded.eval()(**batch).pred_masks, model.eval()(**batch).pred_masks)


@pytest.mark.parametrize("name", ["beit3 text", "vilt late", "clip late", "clip text"])
def test_the_table_of_words_can_be_resized(name):
    model = EvfSamModel(golden_config(**ALL[name][0]))
    model.resize_token_embeddings(530)
    assert model.get_input_embeddings().weight.shape == (530, 32)
    assert model.config.get_text_config().vocab_size == 530


@pytest.mark.parametrize("name", [name for name in ALL if "beit3" in name])
def test_less_is_computed_for_the_same_features_without_gradients(name):
    encoder, (views, ids) = build(name), inputs(name)
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    counts = []
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients), FlopCounterMode(display=False) as flops:
            features = encoder.get_prompt_features(views, ids, mask)
        counts.append((features.detach(), flops.get_total_flops()))
    (whole, more), (found, less) = counts
    torch.testing.assert_close(found, whole, atol=1e-5, rtol=0)
    assert less == more if name == "beit3 mean" else less < more
