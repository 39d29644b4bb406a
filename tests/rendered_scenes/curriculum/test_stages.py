import json

import pytest
import torch

from modeling_evf_sam import EvfSamModel, EvfSamProcessor
from modeling_evf_sam.rendered_scenes.curriculum.recipe import Recipe, load_recipe
from modeling_evf_sam.rendered_scenes.curriculum.stages import OBJECTIVES, run_recipe
from tests.tiny_recipe import write_tiny_recipe

STAGES = ["embedding", "sam", "sam_again", "sight", "reading", "text_semantic", "presence", "whole", "scores"]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Recipe:
    path = write_tiny_recipe(tmp_path_factory.mktemp("recipe") / "tiny.yaml", STAGES)
    steps = (f"stages.{stage}.{setting}" for stage in STAGES for setting in ("steps=2", "warmup_steps=1"))
    return load_recipe(str(path), steps)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, recipe):
    output = tmp_path_factory.mktemp("run")
    run_recipe(recipe, output)
    return output


def test_a_run_leaves_a_checkpoint_and_its_logs(finished, recipe):
    model = EvfSamModel.from_pretrained(finished / "model")
    processor = EvfSamProcessor.from_pretrained(finished / "model")
    assert processor.semantic_prompts
    assert processor.image_processor.image_size == model.config.view_size
    assert len(processor.tokenizer) <= model.config.multimodal_config.vocab_size
    assert {stage.objective for stage in recipe.stages.values()} == set(OBJECTIVES)
    for stage in STAGES:
        history = json.loads((finished / stage / "trainer_state.json").read_text())["log_history"]
        assert {"eval_loss", "eval_giou", "eval_ciou"} <= set().union(*history)


def test_finished_stages_are_not_run_again(finished, recipe):
    before = {path: path.stat().st_mtime_ns for path in finished.glob("*/weights.safetensors")}
    assert run_recipe(recipe, finished) == finished / "model"
    assert before == {path: path.stat().st_mtime_ns for path in finished.glob("*/weights.safetensors")}
    assert len(before) == len(STAGES)


def test_stages_run_side_by_side_give_the_same_weights(finished, recipe, tmp_path):
    for stage in ("sight", "embedding", "sam", "sam_again", "reading"):
        assert run_recipe(recipe, tmp_path, only=stage) is None
    checkpoint = run_recipe(recipe, tmp_path)
    expected = EvfSamModel.from_pretrained(finished / "model").state_dict()
    for name, value in EvfSamModel.from_pretrained(checkpoint).state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_an_unknown_stage_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="no stage 'decoder': the recipe has embedding, sam, sam_again"):
        run_recipe(load_recipe("rendered_scenes"), tmp_path / "run", only="decoder")
    assert not (tmp_path / "run").exists()
