"""What the refusal of the worst inputs takes: peak memory over the idle process, and time."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

GIGABYTE, SECONDS = 10**9, 5

MEASURE = """
import json, resource, sys, time
from modeling_evf_sam.photos import open_photo
readers = {"photos": open_photo}
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
idle = peak()
for reader, path in json.load(sys.stdin):
    start = time.perf_counter()
    try:
        readers[reader](path)
        refused = "accepted"
    except (ValueError, OSError) as error:
        refused = str(error)
    print(json.dumps([path, refused, peak() - idle, time.perf_counter() - start]))
"""

SIDE = 9400  # squared, just below the bound of pixels


def _cut(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * 9 // 10])


def _write_photos(folder: Path) -> None:
    flat = Image.new("L", (SIDE, SIDE))
    flat.save(folder / "cut.png")
    flat.convert("RGB").save(folder / "cut_progressive.jpg", progressive=True, subsampling=0)
    flat.convert("RGB").save(folder / "cut.webp", lossless=True, method=0)
    for name in ("cut.png", "cut_progressive.jpg", "cut.webp"):
        _cut(folder / name)
    Image.new("L", (SIDE, SIDE + 200)).save(folder / "large.png")
    Image.new("1", (1, SIDE**2)).save(folder / "thin.png")
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(folder / "announced.bmp")
    content = bytearray((folder / "announced.bmp").read_bytes())
    content[18:26] = np.array([SIDE, SIDE], "<i4").tobytes()
    (folder / "announced.bmp").write_bytes(content)


WRITERS = {"photos": _write_photos}


@pytest.fixture
def worst(tmp_path):
    cases = []
    for reader, write in WRITERS.items():
        folder = tmp_path / reader
        folder.mkdir()
        write(folder)
        cases += [(reader, str(file)) for file in sorted(folder.iterdir())]
    return cases


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is told in other units")
def test_a_refusal_takes_little_memory_and_time(worst):
    run = subprocess.run(
        [sys.executable, "-c", MEASURE], input=json.dumps(worst), capture_output=True, text=True, check=True
    )

    measured = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(measured) == len(worst)
    for path, refused, peak, seconds in measured:
        assert refused.isprintable()
        assert refused != "accepted", path
        assert peak < GIGABYTE, (path, peak)
        assert seconds < SECONDS, (path, seconds)
    assert run.stderr == ""
