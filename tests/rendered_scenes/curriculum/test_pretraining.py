import numpy as np
import pytest
import torch

from modeling_evf_sam import EvfSamModel, EvfSamProcessor
from modeling_evf_sam.rendered_scenes.curriculum.pretraining import (
    PRETRAINING,
    MaskedObjective,
    MaskedWords,
    MatchObjective,
)
from modeling_evf_sam.rendered_scenes.curriculum.tokenizer import train_tokenizer
from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes
from tests.golden import golden_config
from tests.tiny_encoders import CLIP, VILT, bert_tokenizer, clip_tokenizer

LONG = {"max_position_embeddings": 400}  # pieces of untrained tokenizers are short


@pytest.fixture(scope="module")
def drawn() -> list:
    scenes = RenderedScenes("train", 6, sentences_per_scene=1)
    return [scenes.draw(index) for index in range(len(scenes))]


@pytest.fixture(scope="module")
def objectives() -> dict:
    beit3 = train_tokenizer(vocab_size=400, max_length=300, num_expressions=500)
    encoders = {
        "beit3": (golden_config().multimodal_config.to_dict() | LONG | {"vocab_size": len(beit3)}, beit3),
        "clip": ({**CLIP, "text_config": CLIP["text_config"] | LONG}, clip_tokenizer()),
        "vilt": (VILT | LONG, bert_tokenizer()),
    }
    built = {}
    for name, (encoder, tokenizer) in encoders.items():
        torch.manual_seed(0)
        fusion = "late" if name == "clip" else "early"
        model = EvfSamModel(golden_config(image_layout="stretch", multimodal_config=encoder, fusion=fusion))
        built[name] = PRETRAINING[name](model, EvfSamProcessor.from_config(model.config, tokenizer))
    return built


@pytest.mark.parametrize("count", [1, 2, 6])
@pytest.mark.parametrize("name", PRETRAINING)
def test_a_batch_of_any_size_trains_the_encoder(objectives, drawn, name, count):
    objective = objectives[name]
    objective.zero_grad()
    result = objective(**objective.collate(drawn[:count]))
    result["loss"].backward()
    assert torch.isfinite(result["loss"])
    assert (result["intersections"] <= result["unions"]).all()
    encoder = objective.model.multimodal_encoder
    assert all(parameter.grad is None for parameter in objective.model.sam.parameters())
    if count > 1:
        assert sum(parameter.grad is not None for parameter in encoder.parameters()) > 30


def test_no_sentence_of_the_scene_is_read(objectives, drawn):
    for objective in objectives.values():
        mute = [(scene, []) for scene, _ in drawn]
        assert torch.equal(objective.collate(mute)["input_ids"], objective.collate(drawn)["input_ids"])


def test_half_of_the_captions_belong_to_another_photo(objectives, drawn):
    objective = objectives["vilt"]
    assert isinstance(objective, MatchObjective)
    own = torch.cat([objective.collate(drawn[start:])["own"] for start in range(5)])
    assert 0 < own.sum() < len(own)
    batch = objective.collate(drawn)
    assert not (batch["hidden"] & ~batch["own"][:, None]).any()


def test_hidden_patches_and_words_are_not_seen(objectives, drawn):
    objective = objectives["beit3"]
    assert isinstance(objective, MaskedObjective)
    batch = objective.collate(drawn)
    assert (batch["pairs_ids"][batch["hidden_pairs"]] == objective.masked_words.mask_token_id).all()
    loss = objective(**batch)["loss"]
    gaps = batch["hidden_patches"].repeat_interleave(8, 2).repeat_interleave(8, 3)
    objective.pixels.requires_grad_(False)
    seen = []
    encode = objective.model.multimodal_encoder.forward

    def forward(pixel_values, *args):
        seen.append(pixel_values)
        return encode(pixel_values, *args)

    objective.model.multimodal_encoder.forward = forward
    try:
        assert torch.equal(objective(**batch)["loss"], loss)
    finally:
        objective.model.multimodal_encoder.forward = encode
    views = torch.cat([view for view in seen if view is not None])
    assert not views.masked_select(gaps[: len(views)]).any() and views.any()


def test_special_tokens_stay(objectives):
    processor = objectives["beit3"].processor
    words = MaskedWords(8, processor)
    ids = processor.tokenizer(["a red star", "a blue circle and a star"], padding=True, return_tensors="pt")[
        "input_ids"
    ]
    gaps, hidden = words.hide(np.random.default_rng(0), ids, share=1.0)
    special = torch.isin(ids, torch.tensor(processor.tokenizer.all_special_ids))
    assert torch.equal(hidden, ~special) and torch.equal(gaps[special], ids[special])
