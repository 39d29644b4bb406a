"""What the refusal of the worst inputs takes: peak memory over the idle process, and processor time."""

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modeling_evf_sam.data.plain_pickle import MAX_MEMORY

GIGABYTE, SECONDS = 10**9, 5

MEASURE = """
import json, re, resource, sys
from modeling_evf_sam.photos import open_photo
from pathlib import Path
from modeling_evf_sam import EvfSamModel, EvfSamProcessor
from modeling_evf_sam.data.plain_pickle import load_plain_pickle
readers = {
    "photos": open_photo,
    "pickles": lambda path: load_plain_pickle(Path(path)),
    "checkpoints": lambda path: (EvfSamProcessor.from_pretrained(path), EvfSamModel.from_pretrained(path)),
}
# Of this program alone: what getrusage tells begins with the peak of the process that started it.
peak = lambda: 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
seconds = lambda: sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
read, idle = readers[sys.argv[1]], peak()
for path in sys.argv[2:]:
    start = seconds()
    try:
        read(path)
        refused = "accepted"
    except (ValueError, OSError) as error:
        refused = str(error)
    print(json.dumps([path, refused, peak() - idle, seconds() - start]))
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


def _write_pickles(folder: Path) -> None:
    (folder / "bytearray.p").write_bytes(b"\x80\x05\x96" + (3 * 10**9).to_bytes(8, "little"))
    (folder / "deep.p").write_bytes(b"]" * 50_000 + b"a" * 49_999 + b".")
    (folder / "dicts.p").write_bytes(b"(" + b"}" * 30_000_000 + b"l.")
    (folder / "numbers.p").write_bytes(b"(" + b"K\xff" * 30_000_000 + b"l")
    (folder / "strings.p").write_bytes(b"(" + b"Va\n" * 20_000_000 + b"l")
    (folder / "memo.p").write_bytes(b"\x80\x04]" + b"\x94" * 60_000_000)
    (folder / "endless.p").write_bytes(b"\x80\x02})" + b"q\x00h\x00\x86" * 60 + b"Ns.")
    value: list = []
    for _ in range(30):
        value = [value] * 10
    (folder / "shared.p").write_bytes(pickle.dumps({"refs": value}))


CHANGES = {  # of a file: the way to a value, and what it becomes
    "words": ("config.json", ("multimodal_config", "vocab_size"), 10**7),
    "width": ("config.json", ("multimodal_config", "hidden_size"), 10**6),
    "layers": ("config.json", ("multimodal_config", "num_hidden_layers"), 10**5),
    "depth": ("config.json", ("sam_config", "mask_decoder_config", "iou_head_depth"), 10**9),
    "side": ("config.json", ("sam_config", "vision_config", "image_size"), 10**6),
    "channels": ("config.json", ("sam_config", "vision_config", "output_channels"), 10**8),
    "view": ("processor_config.json", ("image_processor", "size"), {"height": 10_000, "width": 10_000}),
}


def _write_checkpoints(folder: Path, whole: Path) -> None:
    for name, (file, keys, value) in CHANGES.items():
        shutil.copytree(whole, folder / name)
        place = content = json.loads((folder / name / file).read_bytes())
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        (folder / name / file).write_text(json.dumps(content))
    for name in ("nested", "header", "shards"):
        shutil.copytree(whole, folder / name)
    (folder / "nested" / "config.json").write_text("[" * 10**6)
    (folder / "header" / "model.safetensors").write_bytes((2**60).to_bytes(8, "little") + b"{}")
    (folder / "shards" / "model.safetensors").unlink()
    index = {"weight_map": {f"tensor {number}": "../model.safetensors" for number in range(10**5)}}
    (folder / "shards" / "model.safetensors.index.json").write_text(json.dumps(index))


WRITERS = {"photos": _write_photos, "pickles": _write_pickles, "checkpoints": _write_checkpoints}
BESIDE = {"pickles": MAX_MEMORY}  # what another process may take meanwhile


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is told in other units")
@pytest.mark.parametrize("reader", WRITERS)
def test_a_refusal_takes_little_memory_and_time(reader, tmp_path, tiny_checkpoint):
    whole = {"whole": tiny_checkpoint} if reader == "checkpoints" else {}
    WRITERS[reader](tmp_path, **whole)
    worst = sorted(map(str, tmp_path.iterdir()))
    run = subprocess.run([sys.executable, "-c", MEASURE, reader, *worst], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr

    measured = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(measured) == len(worst)
    for path, refused, peak, seconds in measured:
        assert refused.isprintable()
        assert refused != "accepted", path
        assert peak + BESIDE.get(reader, 0) < GIGABYTE, (path, peak)
        assert seconds < SECONDS, (path, seconds)
        print(f"{reader}/{Path(path).name}: {peak / 1e6:.0f} MB, {seconds:.2f} s; {refused}")
