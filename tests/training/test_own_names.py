"""Own photos in miniature: with sentences of other photos, a model declines what is not there."""

import importlib.util
import json
from pathlib import Path

import pytest

from evf_sam_cli import main

FOLDER = Path(__file__).parents[2] / "docs" / "training" / "own_names"
SHARES = ("0.25", "0")


def test_the_page_shows_what_was_scored():
    scores = json.loads((FOLDER / "scores.json").read_text())
    page = (FOLDER.parents[1] / "training.md").read_text()
    for share in SHARES:
        asked, there = (scores[f"negatives={share}"][f"absent={absent}"] for absent in ("0.5", "0"))
        figures = [asked["no_target_accuracy"], asked["target_accuracy"]]
        shown = [f"{100 * figure:.1f} %" for figure in figures] + [f"{100 * there['giou']:.1f}"]
        assert f"| {share} | {' | '.join(shown)} |" in page
    assert scores["negatives=0.25"]["absent=0.5"]["no_target_accuracy"] >= 0.8


@pytest.mark.slow
def test_it_declines_what_is_not_there(tmp_path):
    spec = importlib.util.spec_from_file_location("own_names", FOLDER / "own_names.py")
    own_names = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(own_names)
    for split in own_names.PHOTOS:
        own_names.write_photos(tmp_path, split)
    own_names.write_start(tmp_path / "start")

    data = ["--set", f"model={tmp_path}/start", "--set", f"data.root={tmp_path}"]
    small = [option for key in ("steps=300", "workers=0", "per_device_batch_size=16") for option in ("--set", key)]
    declined = {}
    for share in SHARES:
        shared_cache = ["--set", f"embedding_cache={tmp_path}/cache", "--set", f"data.negatives={share}"]
        run = ["--recipe", "finetune_own_data", *data, *small, *shared_cache, "--output", str(tmp_path / share)]
        assert main(["train", *run]) == 0
        asked = ["--dataset", f"jsonl:{tmp_path}", "--split", "test", "--absent", "0.5"]
        scores = ["--json", str(tmp_path / f"{share}.json")]
        assert main(["evaluate", "--model", str(tmp_path / share / "model"), *asked, *scores]) == 0
        declined[share] = json.loads((tmp_path / f"{share}.json").read_text())["no_target_accuracy"]
    print(declined)
    assert declined["0.25"] >= 0.8
    assert declined["0.25"] > declined["0"]
