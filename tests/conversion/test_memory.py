"""Peak memory of a conversion, in a process of its own.

The number is VmHWM: everything that was resident at once, the pages of the mapped source among it, though the system
may take those back at any time. (`ru_maxrss` would not do: a process inherits it from the one that starts it.)
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from modeling_evf_sam import EvfSamConfig, EvfSamModel
from modeling_evf_sam.originals.converting import original_state_dict
from modeling_evf_sam.presets import PRESETS
from tests.golden import GOLDEN_SAM, ruled_tensor

LIMIT = 1.3  # of the source's bytes

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process's peak")

PROGRAM = """
import json, re, sys
from pathlib import Path
from evf_sam_cli import main
from modeling_evf_sam.originals import release_conversion, writing
peak = lambda: 1024 * int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])
before = peak()
assert main(["convert", *sys.argv[1:]]) == 0
print(json.dumps([before, peak()]))
"""
# 150 MB in layers of 25 MB
MIDDLE = {"vocab_size": 99, "hidden_size": 512, "num_hidden_layers": 6, "num_attention_heads": 8}


def write_release(config: EvfSamConfig, file: Path) -> int:
    """A release with seeded fp32 weights under the original names; returns its size in bytes."""
    with torch.device("meta"):
        names = original_state_dict(EvfSamModel(config).state_dict())
    save_file({name: ruled_tensor(name, tuple(tensor.shape)) for name, tensor in names.items()}, file)
    return file.stat().st_size


def convert(source: Path, output: Path, *options: str) -> tuple[int, int]:
    """Bytes resident after all imports, and at the peak."""
    command = [sys.executable, "-c", PROGRAM, source, "--output", output, *options]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    before, peak = json.loads(run.stdout.splitlines()[-1])
    return before, peak


def test_a_conversion_needs_little_more_than_the_source(tmp_path):
    """Another float type, so that nothing can be written as it lies in the source."""
    config = EvfSamConfig(multimodal_config=MIDDLE, sam_config=GOLDEN_SAM)
    size = write_release(config, tmp_path / "model.safetensors")
    before, peak = convert(tmp_path / "model.safetensors", tmp_path / "ours", "--dtype", "bfloat16")
    assert size > 150e6
    assert 1 < (peak - before) / size < LIMIT  # the libraries alone would outweigh a file of this size


@pytest.mark.slow
def test_a_full_size_conversion_needs_little_more_than_the_source(tmp_path):
    """The whole process, libraries included; needs 11 GB of disk and 8 GB of memory."""
    size = write_release(EvfSamConfig(**PRESETS["evf-sam"]), tmp_path / "model.safetensors")
    start = time.perf_counter()
    _, peak = convert(tmp_path / "model.safetensors", tmp_path / "ours")
    seconds = time.perf_counter() - start
    print(
        f"{size / 1e9:.2f} GB in {seconds:.1f} s, {size / 1e6 / seconds:.0f} MB/s; peak {peak / size:.3f} of the file"
    )
    assert size > 5.2e9
    assert peak / size < LIMIT
