"""Commands killed at random moments: what they wrote is whole, and the next run ends as an undisturbed one."""

import json
import os
import random
import re
import shutil
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file

from evf_sam_cli import main
from tests.miniatures import coco_record, write_json

KILLS = 25
HIDDEN = (".evf-sam-", ".unfinished")


def _run(arguments: list[str], log: str) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, sys.stdout.fileno())
    os.dup2(file, sys.stderr.fileno())
    sys.exit(main(arguments))


def _start(arguments, tmp_path):
    context = get_context("forkserver")
    context.set_forkserver_preload(["evf_sam_cli", "modeling_evf_sam", "modeling_evf_sam.training.finetune"])
    process = context.Process(target=_run, args=(arguments, str(tmp_path / "log")))
    process.start()
    return process


def _finish(arguments, tmp_path):
    process = _start(arguments, tmp_path)
    process.join()
    assert process.exitcode == 0, (tmp_path / "log").read_text()


def _files(folder: Path) -> dict[str, Path]:
    """Files by their names, but for those that are not finished."""
    names = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return {
        name.as_posix(): folder / name for name in names if not any(part.startswith(HIDDEN) for part in name.parts)
    }


def _contents(folder: Path, pattern: str) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in _files(folder).items() if re.fullmatch(pattern, name)}


def _check_whole(folder: Path) -> None:
    readers = {".png": lambda path: Image.open(path).load(), ".json": lambda path: json.loads(path.read_bytes())}
    readers |= {".safetensors": load_file, ".parquet": _read_parquet}
    for path in _files(folder).values():
        readers.get(path.suffix, Path.read_bytes)(path)
        for mask in json.loads(path.read_bytes())["masks"] if path.name == "result.json" else ():
            assert (path.parent / mask["file"]).is_file()


def _read_parquet(path: Path):
    return pytest.importorskip("pyarrow.parquet").read_table(path)


@pytest.fixture
def commands(own_photos, tiny_start, tmp_path, write_recipe):
    boxes = [{"image_id": number, "bbox": [2, 1, 5, 6]} for number in range(4)]
    annotations = write_json(tmp_path / "boxes.json", coco_record({n: f"{n}.png" for n in range(4)}, boxes))
    (tmp_path / "sentences.txt").write_text("the red square\nthe largest object")
    photos, model = str(own_photos), ["--model", str(tiny_start)]
    recipe = write_recipe(data={"validation": None}, steps=16)
    return {
        "segment": (["segment", photos, "the red square", "the largest object", *model], r".*"),
        "train": (["train", "--recipe", recipe, "--resume"], r"model/.*safetensors"),
        "segment-dataset": (
            ["segment-dataset", photos, str(tmp_path / "sentences.txt"), "--part-size", "1", *model],
            r".*",
        ),
        "annotate-boxes": (["annotate-boxes", str(annotations), photos, *model], r"annotations\.json"),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["segment", "train", "segment-dataset", "annotate-boxes"])
def test_kills_at_random_moments(name, commands, tmp_path):
    if name == "segment-dataset":
        pytest.importorskip("ray", reason="bulk runs need the extra 'bulk'")
    command, pattern = commands[name]
    rng = random.Random(name)
    whole, output = tmp_path / "runs" / "whole", tmp_path / "runs" / "killed"
    _finish([*command, "--output", str(whole)], tmp_path)
    start = time.monotonic()
    shutil.rmtree(whole)
    _finish([*command, "--output", str(whole)], tmp_path)
    duration = time.monotonic() - start

    kills = 0
    while kills < KILLS:
        process = _start([*command, "--output", str(output)], tmp_path)
        process.join(rng.uniform(0, duration))
        kills += process.exitcode is None
        process.kill()
        process.join()
        if output.exists():
            _check_whole(output)
        if process.exitcode == 0 and rng.random() < 0.5:
            shutil.rmtree(output)

    _finish([*command, "--output", str(output)], tmp_path)

    assert _contents(output, pattern) == _contents(whole, pattern) != {}
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(HIDDEN)]
