import numpy as np
import pytest
import torch

from modeling_evf_sam import EvfSamImageProcessor, EvfSamModel, EvfSamProcessor
from modeling_evf_sam.data.rendered_scenes import SHAPES, RenderedScenes
from modeling_evf_sam.data.scene_painting import COLOURS
from modeling_evf_sam.training.objectives import (
    UNCERTAIN,
    PatchObjective,
    PromptObjective,
    TextObjective,
    cell_classes,
    coverage,
)
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


def test_coverage_is_the_share_of_each_cell():
    mask = np.zeros((1, 8, 12), bool)
    mask[0, :4, :3] = True
    assert coverage(mask, 2).tolist() == [[[0.5, 0.0], [0.0, 0.0]]]


def test_cell_classes_name_the_object_in_a_cell(drawn):
    scene = drawn[0][0]
    colour, shape = cell_classes(scene, 64)
    largest = max(scene.objects, key=lambda item: item.mask.sum())
    inside = coverage(largest.mask[None], 64)[0] == 1
    assert (colour[inside] == list(COLOURS).index(largest.colour) + 1).all()
    assert (shape[inside] == SHAPES.index(largest.shape) + 1).all()
    background = coverage(scene.object_map[None] == -1, 64)[0] == 1
    assert (colour[background] == 0).all() and (shape[background] == 0).all()
    assert (cell_classes(scene, 8) == UNCERTAIN).any()


@pytest.mark.parametrize("cls", [PromptObjective, PatchObjective, TextObjective])
def test_a_batch_gives_a_loss_for_the_trained_parts_alone(parts, drawn, cls):
    objective = cls(*parts)
    objective.requires_grad_(False)
    for module in objective.trained_modules():
        module.requires_grad_(True)
    result = objective(**objective.collate(drawn))
    result["loss"].backward()
    assert len(result["intersections"]) == len(result["unions"]) == (12 if cls is PromptObjective else 9)
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
    objective = TextObjective(*parts)
    batch = objective.collate(drawn)
    scene, expressions = drawn[1]
    wanted = np.isin(scene.object_map, list(expressions[2].targets))
    torch.testing.assert_close(batch["labels"][1, 2].mean().item(), wanted.mean(), atol=1e-2, rtol=0)
    semantic = parts[1].tokenizer.get_added_vocab()["[semantic]"]
    flags = (batch["input_ids"] == semantic).any(-1).tolist()
    assert flags == [[expression.kind == "semantic" for expression in expressions] for _, expressions in drawn]
