"""Writes photos.json: what a checkpoint for rendered scenes says of photos when it is asked for their shapes.

Its arguments are the checkpoint, and datasets as in docs/data.md, each with a colon and its split.
"""

import json
import sys
from pathlib import Path

from modeling_evf_sam.data.open_dataset import open_dataset
from modeling_evf_sam.inference.loading import load_model
from modeling_evf_sam.inference.segmenting import segment
from modeling_evf_sam.rendered_scenes.dataset import expression_corpus

SENTENCES = 5  # about each photo


def ask(source: str, names: list[str]) -> dict:
    """Every photo is asked for other shapes; what is accepted is listed with its presence."""
    model, processor = load_model(source, "cpu", "float32")
    photos = [(data, index) for data in map(_open, names) for index in range(len(data))]
    corpus = expression_corpus(SENTENCES * len(photos), seed=1)
    accepted = []
    for data, index in photos:
        sentences = [next(corpus) for _ in range(SENTENCES)]
        (found,) = segment(model, processor, [data.read(index)[0]], [sentences])
        rows = zip(sentences, found.presence.tolist(), found.present, strict=True)
        name = data.photo_name(index)
        accepted += [{"photo": name, "sentence": text, "presence": round(p, 3)} for text, p, there in rows if there]
    asked = SENTENCES * len(photos)
    return {"photos": len(photos), "sentences": asked, "declined": 1 - len(accepted) / asked, "accepted": accepted}


def _open(name: str):
    dataset, _, split = name.rpartition(":")
    return open_dataset(dataset, split or None)


if __name__ == "__main__":
    target = Path(__file__).with_name("photos.json")
    target.write_text(json.dumps(ask(sys.argv[1], sys.argv[2:]), indent=2) + "\n")
    print(target.read_text())
