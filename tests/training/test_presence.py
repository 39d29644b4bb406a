"""A model that has none learns a presence head, and nothing else changes."""

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from modeling_evf_sam import EvfSamConfig, EvfSamModel, EvfSamProcessor
from modeling_evf_sam.data.mixture import DatasetMixture
from modeling_evf_sam.data.open_dataset import open_dataset
from modeling_evf_sam.inference.segmenting import segment
from modeling_evf_sam.originals.converting import convert_state_dict
from modeling_evf_sam.training.collate import ReferringCollator
from modeling_evf_sam.training.draws import Draws, training_datasets
from modeling_evf_sam.training.finetune import run_finetune
from modeling_evf_sam.training.freezing import freeze_all_but
from modeling_evf_sam.training.recipe import FinetuneRecipe, load_finetune_recipe
from modeling_evf_sam.training.starting_model import starting_model
from tests.golden import GOLDEN_ENCODER, SYSTEMS, golden_config, original_tensors
from tests.miniatures import LEFT, RIGHT, ref, write_photo, write_refer

HEAD = "presence_head."


@pytest.fixture(scope="module")
def grefcoco(tmp_path_factory) -> Path:
    """Six bright photos with a cat and six dark ones with a bus; some sentences have no target."""
    root, refs, annotations = tmp_path_factory.mktemp("grefcoco"), [], []
    for photo in range(12):
        bus = photo % 2
        annotations.append({"image_id": photo, "category_id": 1 + bus, "segmentation": [[LEFT], [RIGHT]][bus]})
        split = "val" if photo > 7 else "train"
        refs.append(ref(photo, split, [f"the {('cat', 'bus')[bus]}"], [photo]))
        refs.append(ref(photo, split, [f"a {('bus', 'cat')[bus]} that is not here"], [-1]))
    write_refer(root, "grefcoco", refs, annotations)
    for photo in range(12):
        write_photo(root / f"images/mscoco/images/train2014/COCO_train2014_{photo:012}.jpg", grey=(220, 30)[photo % 2])
    return root


@pytest.fixture(scope="module")
def starts(tmp_path_factory, tiny_tokenizer) -> Callable[[str], Path]:
    """A checkpoint for each family of SAMs, without a presence head."""

    @cache
    def start(system: str) -> Path:
        folder = tmp_path_factory.mktemp(system)
        encoder = {**GOLDEN_ENCODER, "vocab_size": len(tiny_tokenizer)}
        model = EvfSamModel(config := golden_config(multimodal_config=encoder, **SYSTEMS[system]))
        # fresh weights are too small for features in which anything could be seen
        model.load_state_dict(convert_state_dict(original_tensors(config), image_size=config.view_size))
        model.save_pretrained(folder)
        EvfSamProcessor.from_config(config, tiny_tokenizer).save_pretrained(folder)
        return folder

    return start


def train(model: Path, root: Path, output: Path, *changes: str, resume: bool = False) -> Path:
    return run_finetune(recipe_of(model, root, *changes), output, resume=resume)


def recipe_of(model: Path, root: Path, *changes: str) -> FinetuneRecipe:
    """The shipped recipe, smaller."""
    dataset = f"{{name: 'refer:{root}:grefcoco:unc', split: train}}"
    small = ["steps=4", "batch_size=4", "per_device_batch_size=4", "warmup_steps=0", "log_every=1", "save_every=2"]
    values = [f"model={model}", f"data.root={root}", f"data.datasets=[{dataset}]", "workers=0", *small, *changes]
    return load_finetune_recipe("presence", values)


def losses(output: Path) -> list[dict]:
    lines = json.loads((output / "trainer_state.json").read_text())["log_history"]
    return [line for line in lines if "loss" in line]


def weights(folder: Path) -> dict[str, Tensor]:
    return EvfSamModel.from_pretrained(folder, dtype=torch.float32).state_dict()


@pytest.fixture(scope="module")
def runs(starts, grefcoco, tmp_path_factory) -> Callable[[str], Path]:
    """The folder of a run for each family; its model is in it."""

    @cache
    def run(system: str) -> Path:
        return train(starts(system), grefcoco, tmp_path_factory.mktemp("runs") / system).parent

    return run


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_head_is_all_that_changes(system, starts, runs):
    before, after = weights(starts(system)), weights(runs(system) / "model")
    assert {name for name in after if name not in before} == {
        f"{HEAD}{name}" for name in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")
    }
    assert all(torch.equal(after[name], value) for name, value in before.items())
    lines = losses(runs(system))
    assert [line["loss"] for line in lines] == pytest.approx([line["presence"] for line in lines], abs=2e-4)
    assert "dice" not in lines[0]


def test_the_loss_is_the_models_own_for_presence(starts, runs, grefcoco):
    recipe = recipe_of(starts("evf_sam"), grefcoco)
    model, processor = starting_model(recipe)
    mixture = DatasetMixture(training_datasets(recipe.data), size=16, negatives=recipe.data.negatives)
    draws = Draws(mixture, processor, skip=False)
    batch = ReferringCollator(processor)([draws[index] for index in range(4)])
    assert batch.pop("faults") == []
    with torch.no_grad():
        expected = model(**batch).loss_dict["presence"].item()
    assert losses(runs("evf_sam"))[0]["loss"] == pytest.approx(expected, abs=1e-4)


def test_it_learns_what_is_there_and_says_so_when_it_is_loaded(starts, grefcoco, tmp_path):
    trained = train(starts("evf_sam"), grefcoco, tmp_path / "run", "steps=60", "learning_rate=1e-2", "save_every=60")
    values = [line["loss"] for line in losses(tmp_path / "run")]
    assert sum(values[-5:]) < 0.3 * sum(values[:5])
    model, processor = EvfSamModel.from_pretrained(trained), EvfSamProcessor.from_pretrained(trained)
    for sample in open_dataset(f"refer:{grefcoco}:grefcoco:unc", "val"):
        (found,) = segment(model, processor, [sample.photo], [sample.sentences])
        assert found.present.tolist() == sample.masks.any((1, 2)).tolist()
        assert not found.masks[~found.present].any()


def test_it_is_calibrated_on_the_validation_photos(runs):
    config = EvfSamConfig.from_pretrained(runs("evf_sam") / "model")
    assert config.presence["temperature"] != 1.0
    assert len(config.quality) >= 2


def test_without_validation_nothing_is_calibrated(starts, grefcoco, tmp_path):
    trained = train(starts("evf_sam"), grefcoco, tmp_path / "run", "data.validation=null")
    config = EvfSamConfig.from_pretrained(trained)
    assert (config.presence["temperature"], config.quality) == (1.0, None)


def test_validation_without_absent_sentences_leaves_the_temperature(starts, grefcoco, tmp_path, own_photos, caplog):
    changes = [f"data.validation={{name: 'jsonl:{own_photos}', split: test}}", "data.negatives=0"]
    trained = train(starts("evf_sam"), grefcoco, tmp_path / "run", *changes)
    config = EvfSamConfig.from_pretrained(trained)
    assert config.presence["temperature"] == 1.0 and config.quality
    assert "not calibrated: 6 of 6 held-out sentences are there" in caplog.text


def test_a_stopped_run_goes_on_bit_for_bit(starts, runs, grefcoco, tmp_path):
    output = shutil.copytree(runs("evf_sam"), tmp_path / "run")
    shutil.rmtree(output / "checkpoint-4")
    shutil.rmtree(output / "model")
    resumed = train(starts("evf_sam"), grefcoco, output, resume=True)
    whole = weights(runs("evf_sam") / "model")
    assert all(torch.equal(value, whole[name]) for name, value in weights(resumed).items())
    assert (resumed / "config.json").read_text() == (runs("evf_sam") / "model" / "config.json").read_text()


def test_an_embedding_cache_spares_the_image_encoder(starts, runs, grefcoco, tmp_path):
    option = f"embedding_cache={tmp_path / 'cache'}"
    cached = weights(train(starts("evf_sam"), grefcoco, tmp_path / "run", option))
    for name, value in weights(runs("evf_sam") / "model").items():
        torch.testing.assert_close(cached[name], value, atol=1e-4, rtol=1e-4)


def test_a_head_is_trained_along_with_what_it_reads(runs, grefcoco, tmp_path):
    first = runs("evf_sam") / "model"
    trained = train(first, grefcoco, tmp_path / "run", "trained_parts=[projector]")
    before, after = weights(first), weights(trained)
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"projector", "presence_head"}
    assert {"bce", "dice", "presence"} <= losses(tmp_path / "run")[0].keys()


def test_a_model_without_a_head_has_none_afterwards(starts, grefcoco, tmp_path):
    trained = train(starts("evf_sam"), grefcoco, tmp_path / "run", "trained_parts=[projector]")
    model = EvfSamModel.from_pretrained(trained)
    assert model.presence_head is None
    assert (model.config.presence, model.config.quality) == (None, None)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")  # which peft still asks for
@pytest.mark.parametrize("recipe", ["finetune_own_data", "lora"])
def test_own_photos_teach_what_is_not_there(starts, own_photos, tmp_path, recipe):
    """The shipped recipes: sentences of other photos reach the presence head."""
    pytest.importorskip("peft", reason="peft is an extra: pip install 'evf-sam[lora]'") if recipe == "lora" else None
    small = ["steps=2", "batch_size=4", "per_device_batch_size=4", "log_every=1", "workers=0"]
    values = [f"model={starts('evf_sam')}", f"data.root={own_photos}", *small]
    trained = run_finetune(load_finetune_recipe(recipe, values), tmp_path / "run")
    assert {"bce", "dice", "presence"} <= losses(tmp_path / "run")[0].keys()
    assert EvfSamModel.from_pretrained(trained).presence_head is not None


@pytest.mark.parametrize(("preset", "tokens"), [("evf-sam", 5), ("evf-sam2", 6)])
def test_the_head_of_a_full_size_model(preset, tokens):
    """It reads the prompt token and the decoder's own: the score's, SAM-2's for objects, and four masks'."""
    with torch.device("meta"):
        model = EvfSamModel.from_preset(preset)
        before = sum(value.numel() for value in model.parameters())
        model.add_presence_head()
    freeze_all_but(model, ["presence_head"])
    trained = sum(value.numel() for value in model.parameters() if value.requires_grad)
    assert trained == sum(value.numel() for value in model.parameters()) - before
    assert trained == (1 + tokens) * 256 * 256 + 256 + 256 + 1
