"""Training on the annotated photos beside the repository, from the embedded checkpoint."""

import json
import math
from pathlib import Path

import pytest

from modeling_evf_sam import EvfSamModel
from modeling_evf_sam.data.open_dataset import open_dataset
from modeling_evf_sam.training.finetune import run_finetune
from modeling_evf_sam.training.recipe import (
    DatasetShare,
    DataSettings,
    FinetuneRecipe,
    load_finetune_recipe,
)

DATASETS = {
    "refcoco-mini": [("refer:{}:refcoco:unc", split) for split in ("val", "testA", "testB")],
    "coco-mini": [("coco:{0}/annotations/instances_train2017.json:{0}/train2017", None)],
    "clothing-mini": [("semantic:{}", "training")],
}


@pytest.mark.slow
@pytest.mark.parametrize("folder", DATASETS)
def test_one_epoch(shared, tmp_path, folder):
    names = [(name.format(shared / "data" / folder), split) for name, split in DATASETS[folder]]
    photos = [len(open_dataset(name, split)) for name, split in names]
    shares = [
        DatasetShare(name=name, split=split, rate=rate) for (name, split), rate in zip(names, photos, strict=True)
    ]
    recipe = FinetuneRecipe(
        model="rendered_scenes",
        data=DataSettings(datasets=shares, include_held_out=True),  # refcoco-mini has nothing but held-out photos
        steps=math.ceil(sum(photos) / 8),
        batch_size=8,
        per_device_batch_size=8,
        warmup_steps=2,
        log_every=1,
        workers=0,
    )
    model = run_finetune(recipe, tmp_path / "run")
    assert EvfSamModel.from_pretrained(model)
    history = json.loads((tmp_path / "run" / "trainer_state.json").read_text())["log_history"]
    losses = [line["loss"] for line in history if "loss" in line]
    assert len(losses) == recipe.steps
    assert all(math.isfinite(loss) for loss in losses)
    if recipe.steps > 20:
        assert sum(losses[-10:]) < sum(losses[:10])


EXAMPLES = {"clothing_mini": 2, "sixteen_photos": 10}  # how many times the gIoU of the start is that of the end


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_a_recipe_and_its_log_shows_what_it_learned(name):
    folder = Path(__file__).parents[2] / "docs" / "training" / name
    recipe = load_finetune_recipe(str(folder / "recipe.yaml"), ["data.root=photos"])
    scores = {
        line["step"]: line["eval_giou"]
        for line in json.loads((folder / "log.json").read_text())
        if "eval_giou" in line
    }
    assert list(scores) == list(range(0, recipe.steps + 1, recipe.eval_every))
    assert scores[recipe.steps] > EXAMPLES[name] * scores[0]
