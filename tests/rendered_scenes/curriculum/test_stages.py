import json

import pytest
import torch

from modeling_evf_sam import EvfSamModel, EvfSamProcessor
from modeling_evf_sam.rendered_scenes.curriculum.recipe import load_recipe
from modeling_evf_sam.rendered_scenes.curriculum.stages import run_recipe

STAGES = tuple(load_recipe("rendered_scenes").stages)
TINY = [
    "workers=0",
    "eval_scenes=2",
    "tokenizer.vocab_size=400",
    "tokenizer.num_expressions=500",
    "model.multimodal_config.num_hidden_layers=1",
    "model.sam_config.vision_config.num_hidden_layers=1",
    "model.sam_config.vision_config.global_attn_indexes=[0]",
    *(f"stages.{stage}.{setting}" for stage in STAGES for setting in (
        "steps=2", "batch_size=2", "eval_every=2", "warmup_steps=1")),
]  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    output = tmp_path_factory.mktemp("run")
    run_recipe(load_recipe("rendered_scenes", TINY), output)
    return output


def test_a_run_leaves_a_checkpoint_and_its_logs(finished):
    model = EvfSamModel.from_pretrained(finished / "model")
    processor = EvfSamProcessor.from_pretrained(finished / "model")
    assert processor.semantic_prompts
    assert processor.image_processor.image_size == model.config.view_size
    assert len(processor.tokenizer) <= model.config.multimodal_config.vocab_size
    for stage in STAGES:
        history = json.loads((finished / stage / "trainer_state.json").read_text())["log_history"]
        assert {"eval_loss", "eval_giou", "eval_ciou"} <= set().union(*history)


def test_finished_stages_are_not_run_again(finished):
    before = {path: path.stat().st_mtime_ns for path in finished.glob("*/weights.safetensors")}
    assert run_recipe(load_recipe("rendered_scenes", TINY), finished) == finished / "model"
    assert before == {path: path.stat().st_mtime_ns for path in finished.glob("*/weights.safetensors")}
    assert len(before) == len(STAGES)


def test_stages_run_side_by_side_give_the_same_weights(finished, tmp_path):
    recipe = load_recipe("rendered_scenes", TINY)
    for stage in ("sight", "embedding", "sam", "sam_again", "sight_again", "reading", "reading_again"):
        assert run_recipe(recipe, tmp_path, only=stage) is None
    checkpoint = run_recipe(recipe, tmp_path)
    expected = EvfSamModel.from_pretrained(finished / "model").state_dict()
    for name, value in EvfSamModel.from_pretrained(checkpoint).state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_an_unknown_stage_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="no stage 'decoder': the recipe has embedding, sam, sam_again"):
        run_recipe(load_recipe("rendered_scenes"), tmp_path / "run", only="decoder")
    assert not (tmp_path / "run").exists()
