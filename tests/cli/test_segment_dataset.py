import json
import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from evf_sam_cli import main

PROGRAM = "import sys; from evf_sam_cli import main; sys.exit(main())"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Ten photos, of which one is broken, and two sentences."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for index in range(10):
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), np.uint8)).save(tmp_path / "photos" / f"{index}.png")
    (tmp_path / "photos" / "3.png").write_bytes(b"broken")
    (tmp_path / "sentences.txt").write_text("the red circle\nstar")
    return tmp_path


@pytest.fixture
def arguments(place, tiny_checkpoint):
    command = ["segment-dataset", "photos", "sentences.txt", "--output", "out", "--part-size", "1", "--device", "cpu"]
    return [*command, "--model", str(tiny_checkpoint)]


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(arguments, place, capsys):
    pytest.importorskip("ray", reason="bulk runs need the extra 'bulk'")
    parquet = pytest.importorskip("pyarrow.parquet")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], env=environment)
    while not list(place.glob("out/part-*.parquet")) and process.poll() is None:
        time.sleep(0.05)
    process.kill()
    process.wait()
    first = {part: part.stat().st_mtime_ns for part in place.glob("out/part-*.parquet")}
    assert first
    assert main(arguments) == 0
    out = capsys.readouterr().out
    done, before = (int(re.search(text, out)[1]) for text in (r"out: (\d+) photos segm", r"(\d+) photos were already"))
    assert len(first) <= before  # a worker may outlive the process that was killed by a moment
    assert done + before == 9
    assert "1 photos failed: out/failures.jsonl" in out
    assert {part: part.stat().st_mtime_ns for part in first} == first
    rows = [row for part in place.glob("out/part-*.parquet") for row in parquet.read_table(part)["image"].to_pylist()]
    assert sorted(rows) == sorted(2 * [f"{index}.png" for index in range(10) if index != 3])
    failures = [json.loads(line) for line in (place / "out" / "failures.jsonl").read_text().splitlines()]
    assert [failure["image"] for failure in failures] == ["3.png"]


@pytest.mark.parametrize("name", ["embedded", "tiny"])
def test_what_the_model_does_not_know_is_said(arguments, monkeypatch, capsys, name):
    pytest.importorskip("pyarrow", reason="bulk runs need the extra 'bulk'")
    from modeling_evf_sam.segment_dataset import on_ray

    monkeypatch.setattr("modeling_evf_sam.segment_dataset.check_ray", lambda: None)
    monkeypatch.setattr(on_ray, "segment_dataset", lambda *_, **__: on_ray.Summary(done=9))
    model = ["--model", "rendered_scenes"] if name == "embedded" else []
    assert main([*arguments, *model]) == 0
    said = "Note: this checkpoint knows drawn shapes only" in capsys.readouterr().out
    assert said == (name == "embedded")


def test_without_ray_the_extra_is_named(arguments, place, monkeypatch, capsys):
    for name in ("ray", "pyarrow"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("on_ray", "results"):
        monkeypatch.delitem(sys.modules, f"modeling_evf_sam.segment_dataset.{name}", raising=False)
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: segment-dataset needs ray.data: ") and "'.[bulk]'" in err and err.count("\n") == 1
    assert not (place / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"photos": "nowhere"}, "images 'nowhere' do not exist"),
        ({"sentences.txt": "nowhere.txt"}, "prompts 'nowhere.txt' do not exist"),
        ({"sentences.txt": "long.txt"}, "sentence 0 has"),
    ],
)
def test_mistakes_end_the_run_before_it_begins(arguments, place, change, message, monkeypatch, capsys):
    pytest.importorskip("pyarrow", reason="bulk runs need the extra 'bulk'")
    monkeypatch.setattr("modeling_evf_sam.segment_dataset.check_ray", lambda: None)
    (place / "long.txt").write_text("word " * 200)
    assert main([change.get(argument, argument) for argument in arguments]) == 2
    err = capsys.readouterr().err.strip().splitlines()[-1]
    assert err.startswith("error: ")
    assert message in err
    assert not (place / "out").exists()
