"""What loading a full-size checkpoint takes, in bytes."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from modeling_evf_sam import EvfSamModel

LIMIT = 1.2  # of the weights
PROGRAM = """
import re, sys
from pathlib import Path
from modeling_evf_sam import EvfSamModel
model = EvfSamModel.from_pretrained(sys.argv[1], dtype="bfloat16")
assert str(model.dtype) == "torch.bfloat16"
print(1024 * int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process's peak")
def test_a_full_size_bf16_checkpoint_loads_in_little_more_than_its_size(tmp_path):
    """The whole process, libraries included; needs 2.7 GB of disk and 6 GB of memory."""
    with torch.device("meta"):
        model = EvfSamModel.from_preset("evf-sam")
    noise = (0.02 * torch.randn(1 << 20)).bfloat16()
    tied = "sam.shared_image_embedding.positional_embedding"  # saved under its other name
    weights = {
        name: noise.repeat(tensor.numel() // len(noise) + 1)[: tensor.numel()].view(tensor.shape).clone()
        for name, tensor in model.state_dict().items()
        if name != tied
    }
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    model.config.save_pretrained(tmp_path)
    size = (tmp_path / "model.safetensors").stat().st_size
    run = subprocess.run([sys.executable, "-c", PROGRAM, tmp_path], capture_output=True, text=True, check=True)
    peak = int(run.stdout.splitlines()[-1])
    print(f"{size / 1e9:.2f} GB, peak {peak / size:.3f} of it")
    assert size > 2.6e9
    assert peak / size < LIMIT
