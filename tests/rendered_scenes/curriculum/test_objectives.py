from dataclasses import replace

import numpy as np
import pytest
import torch

from modeling_evf_sam import EvfSamImageProcessor, EvfSamModel, EvfSamProcessor
from modeling_evf_sam.rendered_scenes.curriculum.objectives import (
    EmbeddingObjective,
    PatchObjective,
    PresenceObjective,
    PromptObjective,
    ScoreObjective,
    SightObjective,
    TextObjective,
    WholeObjective,
)
from modeling_evf_sam.rendered_scenes.curriculum.reading import union_mask
from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes
from modeling_evf_sam.rendered_scenes.scene import Scene
from tests.golden import GOLDEN_ENCODER, golden_config


@pytest.fixture(scope="module")
def parts(tiny_tokenizer) -> tuple[EvfSamModel, EvfSamProcessor]:
    torch.manual_seed(0)
    model = EvfSamModel(
        golden_config(
            image_layout="stretch",
            multimodal_config={**GOLDEN_ENCODER, "vocab_size": len(tiny_tokenizer)},
            presence={"hidden_size": 8, "temperature": 1.0},
        )
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
        (PresenceObjective, 9),
        (WholeObjective, 9),
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
    trained = {id(parameter) for module in objective.trained_modules() for parameter in module.parameters()}
    for module in objective.trained_modules():
        assert any(parameter.grad is not None and parameter.grad.any() for parameter in module.parameters())
    assert all(parameter.grad is None for parameter in objective.parameters() if id(parameter) not in trained)
    objective.zero_grad()


def test_prompts_lie_on_their_objects(parts):
    objective, side = PromptObjective(*parts), 128
    scenes = RenderedScenes("train", 8)
    kinds = set()
    for index in range(len(scenes)):
        batch = objective.collate([scenes.draw(index)])
        (kind,) = {"input_points", "input_boxes"} & set(batch)
        kinds.add(kind)
        scale = batch["labels"].shape[-1] / side  # of pixels of the view to cells of the masks
        for prompts, masks in zip(batch[kind] * scale, batch["labels"], strict=True):
            for prompt, mask in zip(prompts, masks, strict=True):
                if kind == "input_points":
                    ((x, y),) = prompt.long().tolist()
                    assert mask[y, x] > 0
                else:
                    rows, columns = (mask.amax(dim).nonzero() for dim in (1, 0))
                    tight = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
                    assert (prompt - tight).abs().max() < 3  # drawn loosely, by a pixel of the photo or a few
    assert kinds == {"input_points", "input_boxes"}


def test_text_targets_fit_their_sentences(parts, drawn):
    batch = TextObjective(*parts).collate(drawn)
    sentences = [(scene, expression) for scene, expressions in drawn for expression in expressions]
    for target, (scene, expression) in zip(batch["labels"], sentences, strict=True):
        assert target.mean().item() == pytest.approx(union_mask(scene, expression.targets).mean(), rel=0.05)
    semantic = parts[1].tokenizer.get_added_vocab()["[semantic]"]
    flags = (batch["input_ids"] == semantic).any(-1).flatten().tolist()
    assert flags == [expression.semantic for _, expression in sentences]


def test_presence_is_learned_from_scenes_and_from_photos_without_any_object(parts):
    objective = PresenceObjective(*parts)
    scene, expressions = RenderedScenes("train", 1, sentences_per_scene=3, absent=0.4).draw(0)
    photo = Scene(photo=scene.photo, objects=[], object_map=np.full_like(scene.object_map, -1))
    untrue = [replace(expression, kind="absent", targets=frozenset()) for expression in expressions]
    for drawn, prompts in (([(scene, expressions), (photo, untrue)], 1), ([(photo, untrue)], 0)):
        batch = objective.collate(drawn)
        assert sum(len(batch[name]) for name in ("input_points", "input_boxes") if name in batch) == prompts
        with torch.no_grad():
            objective.model.presence_head.fc2.bias.fill_(-100.0)
            declined = objective(**batch)
            objective.model.presence_head.fc2.bias.fill_(100.0)
            accepted = objective(**batch)
        there = torch.tensor([bool(one.targets) for _, said in drawn for one in said])
        assert not declined["intersections"].any()
        assert (declined["unions"][~there] == 0).all()  # rightly empty
        assert (accepted["unions"][~there] > 0).any()
        assert abs(declined["loss"] - accepted["loss"] - 100.0 * (2 * there.float().mean() - 1)) < 5
