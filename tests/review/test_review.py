"""Decisions, and what becomes of them."""

import json
import shutil

import numpy as np
import pytest

parquet = pytest.importorskip("pyarrow.parquet", reason="results need the extra 'bulk'")
from modeling_evf_sam.data.jsonl_folder import JsonlDataset, find_faults  # noqa: E402
from modeling_evf_sam.review.answers import Review  # noqa: E402
from modeling_evf_sam.review.export import write_reviewed  # noqa: E402


@pytest.fixture
def folder(results, tmp_path):
    shutil.copytree(results, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def review(folder):
    return Review(folder / "found")


def _place(review, image, sentence):
    return next(i for i, one in enumerate(review.answers) if (one.image, one.sentence) == (image, sentence))


def test_the_most_doubtful_come_first_and_what_is_not_there_last(review):
    assert len(review.answers) == 4
    there = [answer.present for answer in review.answers]
    assert there == sorted(there, reverse=True)
    estimates = [answer.quality for answer in review.answers if answer.present]
    assert estimates == sorted(estimates)
    assert {answer.label for answer in review.answers} == {"the red circle", "tri"}


def test_decisions_are_kept_and_taken_up(review, folder):
    place = _place(review, "4.png", "the red circle")
    mask = np.zeros_like(review.answers[place].mask)
    mask[:5] = True
    review.decide(place, "accepted", label="ball", mask=mask)
    again = Review(folder / "found")
    assert (again.answers[place].verdict, again.answers[place].label) == ("accepted", "ball")
    assert np.array_equal(again.answers[place].mask, mask)
    assert again.counts() == {None: 3, "accepted": 1}
    assert again.next_open(place) != place


def test_a_folder_without_results_is_told(tmp_path):
    with pytest.raises(ValueError, match="has no results: give a folder that evf-sam segment-dataset wrote"):
        Review(tmp_path)


@pytest.fixture
def reviewed(review, folder):
    """Two masks are right, one thing is not there, one answer helps nobody."""
    verdicts = {("4.png", "triangle"): "accepted", ("3.png", "triangle"): "accepted",
                ("4.png", "the red circle"): "absent", ("3.png", "the red circle"): "dropped"}  # fmt: skip
    for (image, sentence), verdict in verdicts.items():
        place = _place(review, image, sentence)
        answer = review.answers[place]
        review.decide(place, verdict, label=answer.label, mask=answer.mask | (sentence == "triangle"))
    write_reviewed(review.answers, folder, folder / "reviewed", ["coco", "yolo"])
    return folder / "reviewed"


def test_what_is_right_is_a_folder_to_train_on(reviewed, review):
    assert list(find_faults(reviewed, "train")) == []
    dataset = JsonlDataset(reviewed, "train")
    samples = {sample.sentences[0]: sample for sample in map(dataset.__getitem__, range(len(dataset)))}
    lines = [json.loads(line) for line in (reviewed / "train.jsonl").read_text().splitlines()]
    assert [(line["image"], line["text"], line["mask"] is None) for line in lines] == [
        ("photos/3.png", "triangle", False), ("photos/4.png", "the red circle", True),
        ("photos/4.png", "triangle", False),
    ]  # fmt: skip
    assert samples["triangle"].semantic[0] is True


def test_rows_and_data_sets_have_what_is_right(reviewed, capsys):
    from pycocotools.coco import COCO

    rows = parquet.read_table(reviewed / "part-reviewed.parquet").to_pylist()
    assert {(row["image"], row["label"]) for row in rows} == {("3.png", "tri"), ("4.png", "tri")}
    coco = COCO(reviewed / "coco" / "annotations.json")
    assert sorted(entry["area"] for entry in coco.loadAnns(coco.getAnnIds())) == sorted(row["area"] for row in rows)
    assert (reviewed / "yolo" / "labels" / "4.txt").read_text().startswith("0 ")


def test_a_step_is_trained_on_what_is_right(reviewed, tiny_checkpoint, tmp_path):
    from evf_sam_cli import main

    options = ["steps=1", "batch_size=1", "per_device_batch_size=1", "data.validation=null", "save_every=1"]
    settings = [
        word
        for option in (f"data.root={reviewed}", f"model={tiny_checkpoint}", *options)
        for word in ("--set", option)
    ]
    assert main(["train", "--recipe", "finetune_own_data", "--output", str(tmp_path / "run"), *settings]) == 0
    assert list((tmp_path / "run").rglob("model.safetensors"))
