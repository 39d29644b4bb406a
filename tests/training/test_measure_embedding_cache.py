import re
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_training_is_faster_and_smaller_with_the_cache():
    command = [sys.executable, "-m", "modeling_evf_sam.training.measure_embedding_cache", "--photos", "2"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    print(lines)
    found = {
        way: tuple(map(float, rest)) for way, *rest in re.findall(r"(\w+) +([\d.]+) photos/s, ([\d.]+) GiB", lines)
    }
    (slow, large), (fast, small) = found["without"], found["with"]
    assert fast > 2 * slow and small < large
