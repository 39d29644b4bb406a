"""What was reviewed, as a data set: for training, and for other tools."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pyarrow import Table, parquet

from modeling_evf_sam.annotations.annotation import AnnotatedPhoto, Least, annotate
from modeling_evf_sam.annotations.formats import write_data_set
from modeling_evf_sam.annotations.yolo import link
from modeling_evf_sam.data.segmentations import run_lengths
from modeling_evf_sam.files import whole_folder
from modeling_evf_sam.review.answers import Answer
from modeling_evf_sam.segment_dataset.results import SCHEMA

LINES, PHOTOS = "train.jsonl", "photos"


def write_reviewed(answers: Sequence[Answer], root: Path, folder: Path, formats: Sequence[str] = ()) -> None:
    """Writes a folder of one's own photos (train.jsonl and photos), the rows as parquet, and data sets.

    A sentence's accepted objects are one mask in train.jsonl; a sentence of which nothing is there has the mask null,
    from which a model with a presence head learns. What was dropped, or not looked at, is left out.

    Args:
        answers: with their verdicts.
        root: where the names of photos start.
        folder: made where it does not exist; a former one is replaced.
        formats: keys of `annotations.formats.FORMATS`.
    """
    accepted = [answer for answer in answers if answer.verdict == "accepted"]
    decided = [answer for answer in answers if answer.verdict in ("accepted", "absent")]
    with whole_folder(folder, replace=True) as staging:
        photos = {answer.image: _own_name(answer.image) for answer in decided}
        for name, own in photos.items():
            (staging / own).parent.mkdir(parents=True, exist_ok=True)
            link(root / name, staging / own)
        with (staging / LINES).open("w", encoding="utf-8") as file:
            for line in _lines(decided, photos):
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        rows = [answer.row() for answer in accepted]
        parquet.write_table(Table.from_pylist(rows, SCHEMA), staging / "part-reviewed.parquet", compression="zstd")
        labels = list(dict.fromkeys(answer.label for answer in accepted))
        for format in formats:
            write_data_set(format, _photos(accepted, root), labels, staging / format.replace("-", "_"))


def _lines(decided: Sequence[Answer], photos: dict[str, str]) -> list[dict]:
    """A line for each sentence about a photo."""
    groups: dict[tuple, list[Answer]] = {}
    for answer in decided:
        groups.setdefault((answer.image, answer.sentence, answer.semantic), []).append(answer)
    lines = []
    for (image, sentence, semantic), own in sorted(groups.items()):
        masks = [answer.mask for answer in own if answer.verdict == "accepted"]
        mask = run_lengths(np.any(masks, axis=0)) if masks else None
        lines.append({"image": photos[image], "text": sentence, "semantic": semantic, "mask": mask})
    return lines


def _photos(accepted: Sequence[Answer], root: Path) -> list[AnnotatedPhoto]:
    by_photo: dict[str, list[dict]] = {}
    for answer in accepted:
        by_photo.setdefault(answer.image, []).append(answer.row())
    return [
        AnnotatedPhoto(
            file=root / name, name=name, size=tuple(rows[0]["rle"]["size"]), annotations=annotate(rows, Least())
        )
        for name, rows in sorted(by_photo.items())
    ]


def _own_name(name: str) -> str:
    """Where a photo lies in the folder, without steps out of it."""
    return "/".join([PHOTOS, *(part for part in Path(name).parts if part not in ("/", ".."))])
