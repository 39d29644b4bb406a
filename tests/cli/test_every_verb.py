"""Every verb of the command line runs to its end, in both precisions, as the installed script."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from evf_sam_cli import app
from modeling_evf_sam.originals.writing import write_report
from tests.film_files import squares, write_film
from tests.miniatures import coco_record, columns, run_lengths, write_json, write_lines, write_photo
from tests.tiny_recipe import write_tiny_recipe

SCRIPT = Path(sys.executable).with_name("evf-sam")
PATIENCE = 300  # seconds
VERBS = {command.name for command in app.registered_commands}

# name of the run: what is typed in the folder of `place`, and what that leaves; {out} is a new folder
RUNS = {
    "segment": ("segment photo.png 'the red circle' star --model tiny --output {out}", ["result.json", "overlay.png"]),
    "compare": ("compare photo.png star --model tiny --model other --output {out}/both.png", ["both.png"]),
    "evaluate": ("evaluate --model tiny --size 2 --json {out}/scores.json", ["scores.json"]),
    "train": ("train --recipe curriculum.yaml --output {out}", ["model/model.safetensors"]),
    "ablate": (
        "ablate --foundation {out}/foundation --output {out}/rows --row beit3-text --set recipe=curriculum.yaml"
        " --set sam_stage=embedding --set test_scenes=2 --set pretraining.steps=1 --set pretraining.batch_size=2"
        " --set budget.steps=1 --set budget.warmup_steps=0",
        ["rows/beit3-text/seed_0/scores.json"],
    ),
    "check-data": ("check-data own", []),
    "annotate-boxes": ("annotate-boxes boxes.json photos --model tiny --output {out}", ["annotations.json"]),
    "card": ("card tiny --output {out}/README.md", ["README.md"]),
    "bench": ("bench --model tiny --prompts 1 --repeats 1 --json {out}/bench.json", ["bench.json"]),
    "segment-dataset": (
        "segment-dataset photos sentences.txt --model tiny --output {out} --device cpu",
        ["*.parquet"],
    ),
    "segment-video": (
        "segment-video film.mp4 star 'the red circle' --model tiny --output {out} --format mot",
        ["masks.jsonl", "overlay.mp4", "mot.txt"],
    ),
    "export": ("export {out} --format torch --model tiny", ["photo.pt2", "report.json"]),
    "convert": ("convert evf-sam --output {out} --verify", ["model.safetensors", "config.json"]),
    "build": ("build --sam sam.pth --beit3 beit3.pth --tokenizer beit3.spm --output {out}", ["model.safetensors"]),
    "tokenizer": ("tokenizer beit3.spm --output {out} --verify", ["tokenizer.json"]),
    "verify": ("verify converted", []),
}
EXTRAS = {  # modules that come with an extra
    "segment-dataset": "ray",
    "segment-video": "av",
    "demo": "gradio",
    "review": "pyarrow",
    "serve": "uvicorn",
}


@pytest.fixture(scope="session")
def place(tmp_path_factory, tiny_checkpoint, original, beit3_spm) -> Path:
    """A folder with checkpoints, photos, data sets, a recipe, and files as the authors publish them."""
    folder = tmp_path_factory.mktemp("verbs")
    for name in ("tiny", "other"):
        shutil.copytree(tiny_checkpoint, folder / name)
    if find_spec(EXTRAS["segment-video"]):
        write_film(folder / "film.mp4", squares(4))
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "photo.png")
    (folder / "sentences.txt").write_text("the red circle\nstar")

    boxes = [{"image_id": 1, "bbox": [2, 1, 5, 6]}]
    write_photo(folder / "photos" / "one.jpg")
    write_json(folder / "boxes.json", coco_record({1: "one.jpg"}, boxes))
    write_photo(folder / "own" / "one.png")
    for split in ("train", "test"):
        lines = [{"image": "one.png", "text": "the left", "mask": run_lengths(columns(0, 4))}]
        write_lines(folder / "own", split, lines)
    write_tiny_recipe(folder / "curriculum.yaml", ["embedding", "reading", "text"])
    if find_spec(EXTRAS["review"]):
        _write_results(folder)

    (folder / "evf-sam").mkdir()
    save_file(original, folder / "evf-sam" / "model.safetensors")
    (folder / "evf-sam" / "config.json").write_text('{"model_type": "evf"}')
    for file, prefix in (("sam.pth", "visual_model."), ("beit3.pth", "mm_extractor.")):
        part = {name.removeprefix(prefix): original[name] for name in original if name.startswith(prefix)}
        torch.save(part, folder / file)
    shutil.copy(beit3_spm, folder / "beit3.spm")
    shutil.copytree(tiny_checkpoint, folder / "converted")
    write_report(folder / "converted", {})
    return folder


def _write_results(folder: Path) -> None:
    """What segment-dataset leaves, for one photo."""
    from modeling_evf_sam.segment_dataset.reading import Prompt
    from modeling_evf_sam.segment_dataset.results import keep_settings
    from modeling_evf_sam.segment_dataset.worker import PartWriter

    found = folder / "found"
    found.mkdir()
    keep_settings(found, {"model": str(folder / "tiny")}, root=str(folder))
    writer = PartWriter(model=str(folder / "tiny"), device="cpu", root=folder, output=found, batch_size=1)
    assert writer.write([("photo.png", [Prompt("star")])]) == []


PRECISIONS = [chosen] if (chosen := os.environ.get("EVF_SAM_DTYPE")) else ["float32", "bfloat16"]


@pytest.fixture(params=PRECISIONS)
def environment(request) -> dict[str, str]:
    return {**os.environ, "EVF_SAM_DTYPE": request.param, "HF_HUB_OFFLINE": "1"}


@pytest.mark.parametrize("name", RUNS)
def test_a_verb_does_its_work(name, place, environment, tmp_path):
    _skip_without_extra(name)
    command, results = RUNS[name]
    arguments = shlex.split(command.format(out=tmp_path))
    run = subprocess.run(
        [SCRIPT, *arguments], cwd=place, env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert (run.returncode, "Warning" in run.stderr) == (0, False), run.stderr
    assert run.stdout
    assert [result for result in results if not list(tmp_path.glob(result))] == []
    if name == "bench":
        record = json.loads((tmp_path / "bench.json").read_text())
        assert record["setting"]["dtype"] == environment["EVF_SAM_DTYPE"]


SERVERS = [
    ("demo --model tiny", "", "gradio"),
    ("serve --port 0 --model tiny --embeddings embeddings", "/health", "alive"),
    ("review found", "", "gradio"),
]


@pytest.mark.parametrize(("command", "path", "shown"), SERVERS)
def test_a_server_serves_until_it_is_interrupted(command, path, shown, place, environment):
    _skip_without_extra(command)
    process = subprocess.Popen(
        [SCRIPT, *command.split()],
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which a job in the background ignores
    )
    with process:
        try:
            address = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
            with urlopen(address[0] + path, timeout=PATIENCE) as answer:
                assert shown in answer.read().decode()
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


def _skip_without_extra(name: str) -> None:
    verb = name.split()[0]
    if verb in EXTRAS and find_spec(EXTRAS[verb]) is None:
        pytest.skip(f"{verb} needs {EXTRAS[verb]}, which comes with an extra")


def test_no_verb_is_left_out():
    assert VERBS <= {command.split()[0] for command, *_ in [*RUNS.values(), *SERVERS]}
