"""Training on the annotated photos beside the repository, from the embedded checkpoint."""

import json
import math

import pytest

from modeling_evf_sam import EvfSamModel
from modeling_evf_sam.data.open_dataset import open_dataset
from modeling_evf_sam.training.finetune import run_finetune
from modeling_evf_sam.training.finetune_recipe import (
    DatasetShare,
    DataSettings,
    FinetuneRecipe,
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
