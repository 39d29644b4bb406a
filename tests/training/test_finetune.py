import json
import re
import shutil

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from modeling_evf_sam import EvfSamModel, EvfSamProcessor
from modeling_evf_sam.data.jsonl_folder import JsonlDataset
from modeling_evf_sam.data.mixture import DatasetMixture
from modeling_evf_sam.originals.converting import convert_state_dict, original_state_dict
from modeling_evf_sam.training.checkpoints import MARKER
from modeling_evf_sam.training.collate import ReferringCollator
from modeling_evf_sam.training.draws import Draws
from modeling_evf_sam.training.finetune import RECIPE_FILE, run_finetune
from modeling_evf_sam.training.freezing import freeze_all_but
from modeling_evf_sam.training.recipe import load_finetune_recipe
from modeling_evf_sam.training.starting_model import starting_model
from tests.golden import GOLDEN_ENCODER, GOLDEN_SAM

# Their gradient is zero: the encoder's last words, which nothing reads, and SAM's three other masks; or next to zero.
NO_EFFECT = re.compile(r"layers\.2\..*text|encoder\.layer_norm\.text|hypernetworks_mlps\.[123]|k_proj")


def weights_of(folder) -> dict[str, Tensor]:
    return EvfSamModel.from_pretrained(folder).state_dict()


def history_of(output) -> list[dict]:
    return json.loads((output / "trainer_state.json").read_text())["log_history"]


def train(write_recipe, output, *, resume=False, **changes):
    run_finetune(load_finetune_recipe(write_recipe(**changes)), output, resume=resume)
    return output


def test_a_run_leaves_a_model_its_processor_and_a_log(write_recipe, tmp_path, tiny_start):
    output = train(write_recipe, tmp_path / "run")
    before, after = weights_of(tiny_start), weights_of(output / "model")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    expected = EvfSamModel.from_pretrained(tiny_start)
    freeze_all_but(expected, ["multimodal_encoder", "projector", "no_mask_embedding", "mask_decoder"])
    trained = {name for name, value in expected.named_parameters() if value.requires_grad}
    assert changed <= trained
    assert all(NO_EFFECT.search(name) for name in trained - changed)
    assert EvfSamProcessor.from_pretrained(output / "model").image_processor.image_size == 128
    assert not list(output.rglob("model/*.bin"))

    history = history_of(output)
    assert [line["step"] for line in history if "eval_giou" in line] == [0, 3, 6]
    assert [line["step"] for line in history if "loss" in line] == [1, 2, 3, 4, 5, 6]
    rates = [line["learning_rate"] for line in history if "loss" in line]
    assert rates == pytest.approx([0, 5e-4, 1e-3, 7.5e-4, 5e-4, 2.5e-4])
    assert all(
        line["loss"] == pytest.approx(line["bce"] + line["dice"], abs=2e-4) for line in history if "bce" in line
    )
    assert sorted(path.name for path in output.glob("checkpoint-*")) == ["checkpoint-4", "checkpoint-6"]


def test_a_stopped_run_goes_on_bit_for_bit(write_recipe, tmp_path):
    output = train(write_recipe, tmp_path / "run", keep_checkpoints=3)
    whole = weights_of(output / "model")
    shutil.rmtree(output / "checkpoint-6")
    (output / "checkpoint-4" / MARKER).unlink()  # as if the run was stopped while it wrote this one
    shutil.rmtree(output / "model")
    train(write_recipe, output, resume=True, keep_checkpoints=3)
    resumed = weights_of(output / "model")
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
    assert [line["step"] for line in history_of(output) if "loss" in line] == [1, 2, 3, 4, 5, 6]


def test_two_runs_do_not_mix(write_recipe, tmp_path):
    output = train(write_recipe, tmp_path / "run", steps=1)
    with pytest.raises(ValueError, match="holds a run: go on with --resume, or choose another --output"):
        train(write_recipe, output, steps=1)
    with pytest.raises(ValueError, match="holds a run with another learning_rate: choose another --output"):
        train(write_recipe, output, steps=1, resume=True, learning_rate=1.0)
    train(write_recipe, output, steps=1, resume=True, log_every=5)


def test_a_run_of_before_there_was_a_key_goes_on(write_recipe, tmp_path):
    output = train(write_recipe, tmp_path / "run", steps=2)
    written = yaml.safe_load((output / RECIPE_FILE).read_text())
    del written["fsdp"], written["data"]["flips"]
    (output / RECIPE_FILE).write_text(yaml.safe_dump(written))
    shutil.rmtree(output / "model")
    train(write_recipe, output, steps=2, resume=True)
    assert (output / "model").exists()


def gradients(model: EvfSamModel, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


def test_what_accumulation_means(write_recipe, tmp_path):
    """A step's gradient is the mean over its micro-batches, each a mean over its masks; clipped at 1 afterwards."""
    norms = {}
    for size in (4, 2, 1):
        output = train(write_recipe, tmp_path / str(size), steps=1, per_device_batch_size=size, warmup_steps=0)
        norms[size] = next(line["grad_norm"] for line in history_of(output) if "grad_norm" in line)

    recipe = load_finetune_recipe(write_recipe())
    model, processor = starting_model(recipe)
    freeze_all_but(model, recipe.trained_parts)
    dataset = JsonlDataset(recipe.data.datasets[0].name.removeprefix("jsonl:"), "train")
    draws = Draws(DatasetMixture([dataset], size=4), processor, skip=False)
    collate = ReferringCollator(processor)
    assert len({len(draws[index].sample.sentences) for index in range(4)}) > 1  # or all means were the same

    for size, norm in norms.items():
        losses = []
        for first in range(0, 4, size):
            batch = collate([draws[index] for index in range(first, first + size)])
            assert batch.pop("faults") == [] and isinstance(batch["labels"], list)
            losses.append(model(**batch).loss)
        expected = gradients(model, torch.stack(losses).mean())
        total = torch.stack([value.norm() for value in expected.values()]).norm().item()
        assert norm == pytest.approx(total, rel=1e-4)
    assert norms[4] != pytest.approx(norms[1], rel=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"deepspeed": "zero9"}, "deepspeed 'zero9' is no file: give zero2, zero3"),
        ({"fsdp": "full_shard"}, "fsdp shards a model over several processes: start them with torchrun"),
        ({"model": "evf-sam"}, "a model with fresh weights needs a tokenizer"),
        ({"sam": "sam.pth"}, "sam belong to a preset with fresh weights"),
        ({"trained_parts": ["projector"], "lora": {"rank": 2}}, "add multimodal_encoder to trained_parts"),
        ({"data": {"datasets": [{"name": "jsonl:nowhere", "split": "train"}]}}, "does not exist"),
    ],
)
def test_what_cannot_be_trained_leaves_nothing(write_recipe, tmp_path, change, message):
    pytest.importorskip("peft", reason="peft is an extra: pip install 'evf-sam[lora]'") if "lora" in change else None
    with pytest.raises((ValueError, OSError), match=message):
        train(write_recipe, tmp_path / "run", **change)
    assert not (tmp_path / "run").exists()


def test_an_unknown_fsdp_configuration(write_recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="fsdp 'full': give full_shard, or a JSON file of transformers' fsdp_config"):
        train(write_recipe, tmp_path / "run", fsdp="full", per_device_batch_size=2)
    assert not (tmp_path / "run").exists()


def damaged(folder, own_photos):
    shutil.copytree(own_photos, folder)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "1.png")  # not the size of its mask
    data = (folder / "2.png").read_bytes()
    (folder / "2.png").write_bytes(data[: len(data) // 2])
    return folder


def test_a_bad_sample_stops_the_run_with_its_name(write_recipe, tmp_path, own_photos):
    folder = damaged(tmp_path / "photos", own_photos)
    data = {"datasets": [{"name": f"jsonl:{folder}", "split": "train"}]}
    with pytest.raises(ValueError, match=r"train.jsonl:[23]: .*\(or set data.bad_samples=skip\)") as caught:
        train(write_recipe, tmp_path / "run", data=data, workers=1)
    assert "\n" not in str(caught.value)


def test_bad_samples_are_skipped_and_counted(write_recipe, tmp_path, own_photos, caplog):
    folder = damaged(tmp_path / "photos", own_photos)
    name = f"jsonl:{folder}"
    data = {"datasets": [{"name": name, "split": "train"}], "bad_samples": "skip"}
    data["validation"] = {"name": name, "split": "test"}
    first = train(write_recipe, tmp_path / "run", data=data, workers=1)
    report = next(
        record.getMessage() for record in caplog.records if "bad samples were skipped" in record.getMessage()
    )
    counts = dict(reversed(line.split(" x ", 1)) for line in report.splitlines()[1:])
    assert sum(map(int, counts.values())) == int(report.split()[0]) > 2
    lines = {tuple(fault.split("photos/")[1].split(":")[:2]) for fault in counts}
    assert lines == {(f"{split}.jsonl", line) for split in ("train", "test") for line in "23"}
    assert [line["eval_sentences"] for line in history_of(first) if "eval_sentences" in line] == [1, 1, 1]
    again = train(write_recipe, tmp_path / "again", data=data)
    expected = weights_of(first / "model")
    assert all(torch.equal(value, expected[name]) for name, value in weights_of(again / "model").items())


def test_nothing_but_bad_samples(write_recipe, tmp_path, own_photos):
    folder = shutil.copytree(own_photos, tmp_path / "photos")
    for photo in folder.glob("*.png"):
        photo.write_bytes(b"no photo")
    data = {"datasets": [{"name": f"jsonl:{folder}", "split": "train"}], "bad_samples": "skip"}
    with pytest.raises(ValueError, match=r"one bad sample after another, the last: .*train.jsonl:"):
        train(write_recipe, tmp_path / "run", data=data)


def test_a_sentence_that_the_model_cannot_read_is_named(write_recipe, tmp_path, own_photos):
    folder = shutil.copytree(own_photos, tmp_path / "photos")
    lines = (folder / "train.jsonl").read_text().replace("the red square", "red " * 100)
    (folder / "train.jsonl").write_text(lines)
    data = {"datasets": [{"name": f"jsonl:{folder}", "split": "train"}]}
    with pytest.raises(ValueError, match=r"photo '[0-3].png': .* 40 at the most: shorten it: \['red red"):
        train(write_recipe, tmp_path / "run", data=data)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")  # which peft still asks for
def test_lora(write_recipe, tmp_path, tiny_start):
    peft = pytest.importorskip("peft", reason="peft is an extra: pip install 'evf-sam[lora]'")
    changes = {"lora": {"rank": 2}, "trained_parts": ["multimodal_encoder", "projector"], "keep_checkpoints": 3}
    output = train(write_recipe, tmp_path / "run", **changes)
    before, after = weights_of(tiny_start), weights_of(output / "model")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert all(name.startswith(("multimodal_encoder.", "projector.")) for name in changed)
    assert {name.split(".")[0] for name in changed} == {"multimodal_encoder", "projector"}
    difference = after[name := next(n for n in sorted(changed) if "fc1.weight" in n and "layers" in n)] - before[name]
    assert torch.linalg.matrix_rank(difference, rtol=1e-3) == 2

    model = EvfSamModel.from_pretrained(tiny_start)
    model.multimodal_encoder = peft.PeftModel.from_pretrained(model.multimodal_encoder, output / "adapter")
    merged = model.multimodal_encoder.merge_and_unload().state_dict()
    for key, value in merged.items():
        assert torch.allclose(value, after[f"multimodal_encoder.{key}"], atol=1e-6), key

    for path in ("model", "adapter", "checkpoint-6", "checkpoint-4"):
        shutil.rmtree(output / path)
    train(write_recipe, output, resume=True, **changes)
    assert all(torch.equal(value, after[name]) for name, value in weights_of(output / "model").items())


def test_fresh_weights_with_published_parts(write_recipe, tmp_path, tiny_tokenizer):
    encoder = {**GOLDEN_ENCODER, "vocab_size": len(tiny_tokenizer)}
    sizes = {"multimodal_config": encoder, "sam_config": GOLDEN_SAM}
    tiny_tokenizer.save_pretrained(tmp_path / "tokenizer")
    recipe = load_finetune_recipe(write_recipe(model=sizes, tokenizer=str(tmp_path / "tokenizer"), seed=1))
    published, _ = starting_model(recipe)
    state = published.state_dict()
    name = "sam.prompt_encoder.shared_embedding.positional_embedding"
    state["sam.shared_image_embedding.positional_embedding"] = state[name]
    original = {name: tensor.clone() for name, tensor in original_state_dict(state).items()}
    for part, prefix in (("sam", "visual_model."), ("beit3", "mm_extractor.")):
        tensors = {key.removeprefix(prefix): value for key, value in original.items() if key.startswith(prefix)}
        save_file(tensors, tmp_path / f"{part}.safetensors")

    recipe.seed = 2
    recipe.sam, recipe.beit3 = str(tmp_path / "sam.safetensors"), str(tmp_path / "beit3.safetensors")
    loaded = starting_model(recipe)[0].state_dict()
    for name, tensor in convert_state_dict(original).items():
        assert torch.equal(loaded[name], tensor) is not name.startswith("projector.")

    recipe.sam = recipe.beit3
    with pytest.raises(ValueError, match=r"'.*beit3.safetensors' is no sam of this model"):
        starting_model(recipe)


def test_activation_checkpointing_changes_nothing(write_recipe, tmp_path):
    outputs = [train(write_recipe, tmp_path / str(on), steps=2, activation_checkpointing=on) for on in (False, True)]
    losses = [[line["loss"] for line in history_of(output) if "loss" in line] for output in outputs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
