"""Runs of the command in processes of their own: killed ones, several at once, and a full disk."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from evf_sam_cli import main
from modeling_evf_sam import EvfSamModel
from modeling_evf_sam.training.finetune import run_finetune
from modeling_evf_sam.training.recipe import load_finetune_recipe
from modeling_evf_sam.training.trainer import ReferringTrainer

COMMAND = ["-m", "modeling_evf_sam", "train", "--recipe"]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


def start(*arguments: object) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads()), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen) -> str:
    text, _ = process.communicate(timeout=600)
    assert process.returncode == 0, text
    return text


def weights_of(folder: Path) -> dict[str, Tensor]:
    return EvfSamModel.from_pretrained(folder).state_dict()


def wait_for(process: subprocess.Popen, folder: Path, pattern: str) -> None:
    while not any(folder.glob(pattern)) and process.poll() is None:
        time.sleep(0.001)


def test_a_killed_run_goes_on_bit_for_bit(write_recipe, tmp_path):
    """Killed while it writes a checkpoint, with another one there."""
    recipe = write_recipe(data={"validation": None}, steps=16)
    run, whole = tmp_path / "run", tmp_path / "whole"
    process = start(*COMMAND, recipe, "--output", run)
    for moment in ("checkpoint-4", ".unfinished/checkpoint-*"):
        wait_for(process, run, moment)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert any(run.glob("checkpoint-*")) and not (run / "checkpoint-16").exists()
    assert main(["train", "--recipe", recipe, "--output", str(run), "--resume"]) == 0
    assert main(["train", "--recipe", recipe, "--output", str(whole)]) == 0
    resumed, expected = weights_of(run / "model"), weights_of(whole / "model")
    assert all(torch.equal(resumed[name], expected[name]) for name in expected)


@pytest.fixture
def full_disk():
    """No file grows beyond 100 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_ends_with_one_line(write_recipe, tmp_path, full_disk, capsys):
    recipe = write_recipe(data={"validation": None})
    assert main(["train", "--recipe", recipe, "--output", str(tmp_path / "run")]) == 2
    assert f"error: cannot write '{tmp_path}/run/checkpoint-2' (" in capsys.readouterr().err.splitlines()[-1]
    assert not list((tmp_path / "run").glob("checkpoint-*"))


def test_a_disk_that_is_full_at_the_end_loses_nothing(write_recipe, tmp_path, monkeypatch, capsys):
    recipe = write_recipe(data={"validation": None})
    command = ["train", "--recipe", recipe, "--output", str(tmp_path / "run")]

    def full(trainer, output_dir, _internal_call=False):
        if _internal_call:  # a checkpoint
            return save_model(trainer, output_dir, _internal_call)
        raise Exception("No space left on device (os error 28)")  # as tokenizers does

    save_model = ReferringTrainer.save_model
    with monkeypatch.context() as patched:
        patched.setattr(ReferringTrainer, "save_model", full)
        assert main(command) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"error: cannot write '{tmp_path}/run/model' (No space left on device (os error 28)): "
        "make room, then go on with --resume"
    )
    assert not (tmp_path / "run" / "model").exists()
    assert main([*command, "--resume"]) == 0
    assert weights_of(tmp_path / "run" / "model")


def is_close(folder: Path, other: Path) -> bool:
    """Whether the weights agree to 1e-6 of each tensor's norm; less than 1e-9 is noise around a gradient of zero."""
    expected = weights_of(other)
    differences = {name: (value - expected[name]).norm() for name, value in weights_of(folder).items()}
    bad = {name: value for name, value in differences.items() if value > 1e-6 * expected[name].norm() + 1e-9}
    assert bad == {}
    return True


SHARDINGS = {"zero2": {"deepspeed": "zero2"}, "zero3": {"deepspeed": "zero3"}, "fsdp": {"fsdp": "full_shard"}}
ALIKE = {"data": {"sentences_per_photo": 1}, "batch_size": 8, "per_device_batch_size": 2}  # however a batch is cut


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["none", *SHARDINGS])
def test_two_processes_learn_what_one_does(write_recipe, tmp_path, sharding):
    if sharding.startswith("zero"):
        pytest.importorskip("deepspeed", reason="deepspeed is an extra: pip install 'evf-sam[deepspeed]'")
    recipe = write_recipe(**ALIKE, **SHARDINGS.get(sharding, {}))
    finish(start(*TORCHRUN, *COMMAND, recipe, "--output", tmp_path / "two"))
    alone = run_finetune(load_finetune_recipe(write_recipe(**ALIKE)), tmp_path / "one")
    assert is_close(tmp_path / "two" / "model", alone)


def test_fsdp_goes_on_from_its_shards(write_recipe, tmp_path):
    """Two processes, layers that compute their activations again, checkpoints in shards."""
    (tmp_path / "fsdp.json").write_text('{"state_dict_type": "SHARDED_STATE_DICT"}')
    changes = {**ALIKE, "fsdp": str(tmp_path / "fsdp.json"), "activation_checkpointing": True}
    alone = run_finetune(load_finetune_recipe(write_recipe(**ALIKE)), tmp_path / "one")
    run = tmp_path / "run"
    command = [*TORCHRUN, *COMMAND, write_recipe(**changes), "--output", run]
    finish(start(*command))
    assert is_close(run / "model", alone)

    (run / "model").rename(tmp_path / "whole")
    shutil.rmtree(run / "checkpoint-6")
    finish(start(*command, "--resume"))
    assert is_close(run / "model", tmp_path / "whole")
