"""Runs of the command in processes of their own: killed ones, several at once, and a full disk."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from modeling_evf_sam import EvfSamModel
from modeling_evf_sam.training.finetune import run_finetune
from modeling_evf_sam.training.recipe import load_finetune_recipe

COMMAND = ["-m", "modeling_evf_sam", "train", "--recipe"]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
SMALL_FILES = "import resource as r, sys; r.setrlimit(r.RLIMIT_FSIZE, (100_000, 100_000)); "
MAIN = "from evf_sam_cli import main; sys.exit(main(sys.argv[1:]))"


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


@pytest.mark.parametrize("moment", ["checkpoint-4", ".unfinished/checkpoint-*"])
def test_a_killed_run_goes_on_bit_for_bit(write_recipe, tmp_path, moment):
    recipe = write_recipe(data={"validation": None}, steps=16)
    process = start(*COMMAND, recipe, "--output", tmp_path / "run")
    wait_for(process, tmp_path / "run", moment)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "run" / "checkpoint-16").exists()
    loaded = load_finetune_recipe(recipe)
    resumed = weights_of(run_finetune(loaded, tmp_path / "run", resume=True))
    whole = weights_of(run_finetune(loaded, tmp_path / "whole"))
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_a_full_disk_ends_with_one_line(write_recipe, tmp_path):
    recipe = write_recipe(data={"validation": None})
    arguments = ["train", "--recipe", recipe, "--output", tmp_path / "run"]
    process = start("-c", SMALL_FILES + MAIN, *arguments)
    text, _ = process.communicate(timeout=600)
    assert process.returncode == 2
    assert f"error: cannot write '{tmp_path}/run/checkpoint-2' (" in text.splitlines()[-1]
    assert not list((tmp_path / "run").glob("checkpoint-*"))


@pytest.mark.slow
@pytest.mark.parametrize("deepspeed", [None, "zero2"])
def test_two_processes_learn_what_one_does(write_recipe, tmp_path, deepspeed):
    if deepspeed:
        pytest.importorskip("deepspeed", reason="deepspeed is an extra: pip install 'evf-sam[deepspeed]'")
    changes = {"data": {"sentences_per_photo": 1}, "batch_size": 8, "per_device_batch_size": 2}
    recipe = write_recipe(**changes, deepspeed=deepspeed)
    finish(start(*TORCHRUN, *COMMAND, recipe, "--output", tmp_path / "two"))
    alone = load_finetune_recipe(write_recipe(**changes))
    expected = weights_of(run_finetune(alone, tmp_path / "one"))
    for name, value in weights_of(tmp_path / "two" / "model").items():
        assert torch.allclose(value, expected[name], atol=2e-5), name
