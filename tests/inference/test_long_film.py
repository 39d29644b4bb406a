"""Two thousand frames: the process does not grow, and what is forgotten is not missed."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from modeling_evf_sam import EvfSamProcessor, EvfSamVideoPredictor
from modeling_evf_sam.modeling_evf_sam_video import EvfSamVideoModel, ObjectMemory

FRAMES, EARLY, WIDTH, HEIGHT = 2000, 100, 640, 480

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process's peak"),
]

PROGRAM = """
import json
from tests.inference.test_long_film import walk
print(json.dumps(walk({checkpoint!r}, {forgetful})))
"""


def draw(index: int) -> np.ndarray:
    """A frame with a bright square that goes from left to right, again and again."""
    frame = np.full((HEIGHT, WIDTH, 3), index % 50, dtype=np.uint8)
    left = 3 * index % (WIDTH - 200)
    frame[140:340, left : left + 200] = (200, 40, 40)
    return frame


def walk(checkpoint: str, forgetful: bool) -> dict:
    """Follows a sentence through the film: the process's peaks in bytes, and a digest of all masks."""
    model = EvfSamVideoModel.from_pretrained(checkpoint, dtype="float32").eval()
    predictor = EvfSamVideoPredictor(model, EvfSamProcessor.from_pretrained(checkpoint))
    predictor.add_sentence("the red square")
    digest, peaks = hashlib.sha256(), {}
    with mock.patch.object(ObjectMemory, "forget", ObjectMemory.forget if forgetful else mock.DEFAULT):
        for result in predictor.propagate(map(draw, range(FRAMES))):
            digest.update(np.packbits(result.masks.numpy()).tobytes())
            if result.frame in (EARLY, FRAMES - 1):
                status = Path("/proc/self/status").read_text()
                peaks[result.frame] = 1024 * int(re.search(r"VmHWM:\s*(\d+) kB", status)[1])
    return {"masks": digest.hexdigest(), "early": peaks[EARLY], "late": peaks[FRAMES - 1]}


def test_two_thousand_frames(tiny_video_checkpoint):
    root = Path(__file__).parents[2]
    found = {}
    for forgetful in (True, False):
        program = PROGRAM.format(checkpoint=str(tiny_video_checkpoint), forgetful=forgetful)
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
        found[forgetful] = json.loads(run.stdout)
    print(found)
    assert found[True]["late"] < 1.05 * found[True]["early"]
    assert found[True]["masks"] == found[False]["masks"]
