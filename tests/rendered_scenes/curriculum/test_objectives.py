import pytest
import torch

from modeling_evf_sam import EvfSamImageProcessor, EvfSamModel, EvfSamProcessor
from modeling_evf_sam.rendered_scenes.curriculum.objectives import (
    EmbeddingObjective,
    PatchObjective,
    PromptObjective,
    ScoreObjective,
    SightObjective,
    TextObjective,
)
from modeling_evf_sam.rendered_scenes.curriculum.reading import union_mask
from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes
from tests.golden import GOLDEN_ENCODER, golden_config


@pytest.fixture(scope="module")
def parts(tiny_tokenizer) -> tuple[EvfSamModel, EvfSamProcessor]:
    torch.manual_seed(0)
    model = EvfSamModel(
        golden_config(image_layout="stretch", multimodal_config={**GOLDEN_ENCODER, "vocab_size": len(tiny_tokenizer)})
    )
    images = EvfSamImageProcessor(image_size=128, image_layout="stretch", multimodal_image_size=32)
    return model, EvfSamProcessor(images, tiny_tokenizer, semantic_prompts=True)


@pytest.fixture(scope="module")
def drawn() -> list:
    scenes = RenderedScenes("train", 3, sentences_per_scene=3)
    return [scenes.draw(index) for index in range(3)]


@pytest.mark.parametrize(
    ("cls", "counted"),
    [
        (EmbeddingObjective, 3),
        (PromptObjective, 12),
        (SightObjective, 3),
        (PatchObjective, 9),
        (TextObjective, 9),
        (ScoreObjective, 9),
    ],
)
def test_a_batch_gives_a_loss_for_the_trained_parts_alone(parts, drawn, cls, counted):
    objective = cls(*parts)
    objective.requires_grad_(False)
    for module in objective.trained_modules():
        module.requires_grad_(True)
    result = objective(**objective.collate(drawn))
    result["loss"].backward()
    assert len(result["intersections"]) == len(result["unions"]) == counted
    assert (result["intersections"] <= result["unions"]).all()
    for module in objective.trained_modules():
        assert any(parameter.grad is not None and parameter.grad.any() for parameter in module.parameters())
    objective.zero_grad()


def test_prompts_lie_on_their_objects(parts, drawn):
    objective = PromptObjective(*parts)
    kinds = set()
    for first in range(3):
        batch = objective.collate(drawn[first:])
        (name,) = {"input_points", "input_boxes"} & set(batch)
        kinds.add(name)
        cells = batch["labels"].shape[-1] / 128
        centres = batch[name].unflatten(-1, (2, 2)).mean(-2) if name == "input_boxes" else batch[name][:, :, 0]
        for points, masks in zip((centres * cells).long(), batch["labels"], strict=True):
            for (x, y), mask in zip(points.tolist(), masks, strict=True):
                assert mask[y, x] > 0 or name == "input_boxes"
    assert kinds


def test_text_targets_fit_their_sentences(parts, drawn):
    batch = TextObjective(*parts).collate(drawn)
    sentences = [(scene, expression) for scene, expressions in drawn for expression in expressions]
    for target, (scene, expression) in zip(batch["labels"], sentences, strict=True):
        assert target.mean().item() == pytest.approx(union_mask(scene, expression.targets).mean(), rel=0.05)
    semantic = parts[1].tokenizer.get_added_vocab()["[semantic]"]
    flags = (batch["input_ids"] == semantic).any(-1).flatten().tolist()
    assert flags == [expression.kind == "semantic" for _, expression in sentences]
