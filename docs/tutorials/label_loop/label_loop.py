"""Label, review, train, label better: what docs/tutorials/label_loop.md needs beside the command.

    python docs/tutorials/label_loop/label_loop.py split CLOTHING DIR
    python docs/tutorials/label_loop/label_loop.py review DIR

`split` takes photos of Clothing Co-Parsing (docs/data.md, `semantic:`) apart: those that are labelled when the loop
starts, those of one round, and those for the score. `review` does what somebody at the page of `evf-sam review` does:
it compares each mask with the annotation, accepts what is good enough, and puts the right one in the place of others.
"""

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import typer

from modeling_evf_sam.data.index_maps import IndexMapDataset, open_scene_parsing
from modeling_evf_sam.data.segmentations import draw_segmentation, run_lengths
from modeling_evf_sam.review.answers import Review
from modeling_evf_sam.review.export import write_reviewed

LABELLED, ROUND = 60, 30  # photos
GOOD = 0.8  # IoU of a mask that is accepted as it is
app = typer.Typer(add_completion=False)


@app.command()
def split(clothing: Path, folder: Path) -> None:
    """Writes three parts of the photos into a new folder."""
    photos, tests = open_scene_parsing(clothing, "training"), open_scene_parsing(clothing, "validation")
    first, new = range(LABELLED), range(LABELLED, LABELLED + ROUND)
    _write(_lines(photos, first, folder / "first"), folder / "first" / "train.jsonl")
    _write(_lines(tests, range(len(tests)), folder / "first"), folder / "first" / "test.jsonl")
    lines = _lines(photos, new, folder / "round")
    _write(lines, folder / "truth.jsonl")
    names = ("image", "text", "semantic")
    _write([{name: line[name] for name in names} for line in lines], folder / "prompts.jsonl")


@app.command()
def review(folder: Path) -> None:
    """Decides about every answer in `found`, and writes `found/reviewed`."""
    lines = (json.loads(line) for line in (folder / "truth.jsonl").read_text().splitlines())
    truth = {(Path(line["image"]).name, line["text"]): line["mask"] for line in lines}
    answers, counts = Review(folder / "found"), Counter[str]()
    for index, answer in enumerate(answers.answers):
        right = draw_segmentation(truth[Path(answer.image).name, answer.sentence], answer.mask.shape)
        iou = (answer.mask & right).sum() / (answer.mask | right).sum()
        counts["accepted" if iou >= GOOD else "corrected"] += 1
        answers.decide(index, "accepted", label=answer.label, mask=answer.mask if iou >= GOOD else right)
    write_reviewed(answers.answers, folder / "round", folder / "found" / "reviewed")
    print(json.dumps(counts))


def _lines(photos: IndexMapDataset, indices: range, folder: Path) -> list[dict]:
    """A line for each category that each photo shows; the photos go into the folder."""
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    lines = []
    for index in indices:
        name = f"photos/{photos.photo_name(index)}"
        shutil.copyfile(photos.photos[index], folder / name)
        for target in photos.targets(index):
            mask = run_lengths(np.asarray(target.draw()))
            lines.append({"image": name, "text": target.sentence, "semantic": True, "mask": mask})
    return lines


def _write(lines: list[dict], file: Path) -> None:
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


if __name__ == "__main__":
    app()
