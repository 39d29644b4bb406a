import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from evf_sam_cli import main
from evf_sam_cli.segment_video import Layout
from modeling_evf_sam.rendered_scenes.films import RenderedFilms

pytest.importorskip("av", reason="film files need the extra 'video'")
from modeling_evf_sam.segment_video.film_file import FilmFile
from modeling_evf_sam.segment_video.formats import FORMATS
from tests.film_files import rendered_frames, squares, write_film

SCRIPT = Path(sys.executable).with_name("evf-sam")
COUNT = 30


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A current folder with a film of 30 frames, and its first six as photos in a folder."""
    monkeypatch.chdir(tmp_path)
    frames = rendered_frames(COUNT)
    write_film(tmp_path / "film.mp4", frames, options={"crf": "4"})
    (tmp_path / "frames").mkdir()
    for number, frame in enumerate(frames[:6]):
        Image.fromarray(frame).save(f"frames/{number}.png")
    return tmp_path


@pytest.fixture
def segment(tiny_checkpoint):
    return lambda *arguments: main(["segment-video", *map(str, arguments), "--model", str(tiny_checkpoint)])


def lines(folder):
    return [json.loads(line) for line in (folder / "masks.jsonl").read_text().splitlines()]


def test_the_embedded_checkpoint_finds_what_is_named(place, capsys):
    film = RenderedFilms("test", 1, frames=COUNT)[0]
    assert main(["segment-video", "film.mp4", *film.sentences, "--limit", "12", "--dtype", "float32"]) == 0
    out, err = capsys.readouterr()
    assert f"{film.sentences[0]}: on 12 of 12 frames, score 0." in out
    assert "Note: this checkpoint knows drawn shapes only" in out
    assert "frames/s" in err
    for row in lines(place / "film_masks"):
        target = list(film.masks())[row["frame"]][row["object"] - 1]
        height, width = row["rle"]["size"]
        found, target = coco_mask.decode(row["rle"]).astype(bool), target[:height, :width]
        if target.sum() > 30:
            assert (found & target).sum() / (found | target).sum() > 0.5, row["frame"]
    overlay = FilmFile(place / "film_masks" / "overlay.mp4")
    assert (len(overlay), overlay.rate, overlay.size) == (12, 25, (width, height))


def test_with_a_memory(place, tiny_video_checkpoint, capsys):
    command = ["segment-video", "film.mp4", "star", "--model", str(tiny_video_checkpoint), "--key-frame", "best"]
    options = ["--redetect", "5", "--format", "coco", "--format", "mot", "--output", "out", "--dtype", "float32"]
    assert main([*command, *options]) == 0
    assert "out/masks.jsonl, out/overlay.mp4, out/youtube_vis.json, out/mot.txt" in capsys.readouterr().out
    assert [row["frame"] for row in lines(place / "out")] == list(range(COUNT))
    assert len(FilmFile(place / "out" / "overlay.mp4")) == COUNT


def test_a_folder_of_frames(segment, place):
    options = ["--semantic", "--point", "1:9,9", "--not-point", "1:2,3", "--box", "0:1,2,30,40", "--no-overlay"]
    assert segment("frames", "star", *options) == 0
    assert [file.name for file in (place / "frames_masks").iterdir()] == ["masks.jsonl"]
    assert [row["time"] for row in lines(place / "frames_masks")] == [0, 0.04, 0.08, 0.12, 0.16, 0.2]


def test_a_damaged_frame(segment, place, capsys):
    (place / "frames" / "2.png").write_bytes(b"damaged")
    assert segment("frames", "star") == 2
    assert "error: film 'frames': frame 2 is damaged" in capsys.readouterr().err
    assert segment("frames", "star", "--bad-frames", "skip") == 0
    out = capsys.readouterr().out
    assert "star: on 5 of 5 frames" in out and "Left out: frame 2 is damaged (photo 'frames/2.png'" in out


def test_a_run_that_was_interrupted_goes_on(place, segment, tiny_checkpoint, capsys):
    arguments = ["film.mp4", "star", "--dtype", "float32", "--output"]
    command = [SCRIPT, "segment-video", *arguments, "out", "--model", tiny_checkpoint]
    partial = place / "out" / ".partial.jsonl"
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which a job in the background ignores
    )
    while process.poll() is None and not (partial.exists() and len(partial.read_bytes().splitlines()) > 3):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.wait()
    assert [file.name for file in (place / "out").iterdir()] == [".partial.jsonl"]
    assert segment(*arguments, "out") == 0
    assert " frames were already there" in capsys.readouterr().out
    assert segment(*arguments, "whole") == 0
    assert lines(place / "out") == lines(place / "whole")


def test_all_formats_can_be_asked_for():
    assert list(Layout) == list(FORMATS)


LIGHT = {  # what is typed, and the error that comes before anything slow is imported
    "no film": (["nowhere.mp4", "star"], "film 'nowhere.mp4' does not exist: check the path"),
    "no model": (["film.mp4", "star", "--model", "nowhere"], "model 'nowhere' was not found"),
    "key frame": (["film.mp4", "star", "--key-frame", "last"], "--key-frame 'last' is none: give first, best, or a"),
    "no frame": (["film.mp4", "star", "--point", "3,4"], "--point '3,4' names no frame: begin with its number and a"),
    "numbers": (["film.mp4", "star", "--box", "0:3,4"], "--box '3,4' must be 4 numbers with commas between them"),
    "output": (["film.mp4", "star", "--output", "film.mp4"], "cannot write into 'film.mp4': choose another folder"),
    "format": (["film.mp4", "star", "--format", "xml"], "'xml' is not one of 'coco', 'mot'"),
    "no sentence": (["film.mp4"], "Missing argument 'SENTENCE'"),
}
PROGRAM = """
import json, sys
from evf_sam_cli import main
for arguments in json.loads(sys.argv[1]):
    assert main(["segment-video", *arguments]) == 2
    assert not {"torch", "transformers", "modeling_evf_sam", "av"} & set(sys.modules), arguments
"""


def test_mistakes_are_told_at_once(place):
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    typed = json.dumps([arguments for arguments, _ in LIGHT.values()])
    run = subprocess.run([sys.executable, "-c", PROGRAM, typed], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    for line, (_, message) in zip(run.stderr.splitlines(), LIGHT.values(), strict=True):
        assert line.startswith("error: ") and message in line


def text(place):
    (place / "film.mp4").write_text("no film")


def cut_short(place):
    noise = np.random.default_rng(0).integers(0, 255, (9, 64, 96, 3), np.uint8)
    path = write_film(place / "film.mp4", noise, fast_start=True)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty_folder(place):
    (place / "film.mp4").unlink()
    (place / "film.mp4").mkdir()


UNREADABLE = {
    "text": (text, "'film.mp4' is no film, or a damaged one"),
    "cut short": (cut_short, "film 'film.mp4': "),
    "empty folder": (empty_folder, "film 'film.mp4' has no frame that can be read"),
}


@pytest.mark.parametrize(("make", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_films_that_cannot_be_read(segment, place, make, message, monkeypatch, capsys):
    make(place)
    monkeypatch.setattr("modeling_evf_sam.inference.loading.load_model", None)  # not reached
    assert segment("film.mp4", "star") == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {message}") and err.count("\n") == 1
    assert not (place / "film_masks").exists()


def test_a_key_frame_beyond_the_film(segment, capsys):
    assert segment("film.mp4", "star", "--key-frame", "99") == 2
    assert "error: film 'film.mp4' has no frame 99 (its last one is 29): choose another" in capsys.readouterr().err


def test_a_film_that_may_not_be_read(segment, monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert segment("film.mp4", "star") == 2
    assert capsys.readouterr().err == "error: Invalid value for 'FILM': path 'film.mp4' is not readable: see --help\n"


def test_without_pyav_the_extra_is_named(segment, place, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "av", None)
    for film in ("film.mp4", "frames"):
        assert segment(film, "star") == 2
        err = capsys.readouterr().err
        assert err.startswith("error: a film file needs av: ") and "'.[video]'" in err and err.count("\n") == 1
    assert segment("frames", "star", "--no-overlay") == 0


def test_sentences_that_a_model_cannot_read(segment, place, tiny_video_checkpoint, capsys):
    assert main(["segment-video", "film.mp4", "star", "--semantic", "--model", str(tiny_video_checkpoint)]) == 2
    assert "not trained for semantic prompts" in capsys.readouterr().err
    assert not (place / "film_masks").exists()


def test_uneven_times_are_kept(segment, place):
    write_film(place / "film.mp4", squares(5), times=[0, 4, 5, 30, 70])
    assert segment("film.mp4", "star") == 0
    times = [row["time"] for row in lines(place / "film_masks")]
    assert times == [0, 0.04, 0.05, 0.3, 0.7]
    assert [float(stamp.time) for stamp in FilmFile(place / "film_masks" / "overlay.mp4").stamps] == times
