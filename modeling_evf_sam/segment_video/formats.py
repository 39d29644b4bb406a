"""What was found, as files: a line for each object and frame, and the layouts of two public benchmarks."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from modeling_evf_sam.segment_video.film import Film

Rows = Sequence[dict[str, Any]]


def rows_of(film: Film, sentences: Sequence[str], frames: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each frame and object, in this order.

    Args:
        film: the film.
        sentences: of the objects, from 1 on.
        frames: what `walk` yielded, in any order.

    Returns:
        frame, time in seconds, object, sentence, score, area in pixels, box [x0, y0, x1, y1] and COCO's run lengths.
    """
    times = {stamp.number: float(stamp.time) for stamp in film.stamps}
    rows = [
        {
            "frame": frame["frame"],
            "time": times[frame["frame"]],
            "object": each["object"],
            "sentence": sentences[each["object"] - 1],
            **each,
        }
        for frame in frames
        for each in frame["objects"]
    ]
    return sorted(rows, key=lambda row: (row["frame"], row["object"]))


def write_lines(file: Path, film: Film, rows: Rows) -> None:
    """JSON lines."""
    with file.open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write_youtube_vis(file: Path, film: Film, rows: Rows) -> None:
    """YouTube-VIS: one video, and for each object lists with an entry for each frame, null where it is not there."""
    names = {row["object"]: row["sentence"] for row in rows}
    categories = {sentence: number for number, sentence in enumerate(dict.fromkeys(names.values()), start=1)}
    shape = {"width": film.size[0], "height": film.size[1], "length": len(film)}
    found = {(row["object"], row["frame"]): row for row in rows if row["area"]}
    annotations = [
        {
            "id": number,
            "video_id": 1,
            "category_id": categories[sentence],
            "iscrowd": 0,
            **shape,
            **_tracks([found.get((number, stamp.number)) for stamp in film.stamps]),
        }
        for number, sentence in names.items()
    ]
    record = {
        "videos": [{"id": 1, **shape, "file_names": [f"{film.path.stem}/{stamp.name}" for stamp in film.stamps]}],
        "categories": [{"id": number, "name": sentence} for sentence, number in categories.items()],
        "annotations": annotations,
    }
    file.write_text(json.dumps(record, ensure_ascii=False) + "\n", encoding="utf-8")


def _tracks(rows: Sequence[dict[str, Any] | None]) -> dict[str, list[Any]]:
    return {
        "segmentations": [row and row["rle"] for row in rows],
        "bboxes": [row and _sides(row["box"]) for row in rows],
        "areas": [row and row["area"] for row in rows],
    }


def write_mot(file: Path, film: Film, rows: Rows) -> None:
    """MOTChallenge: frame, id, left, top, width, height, score, -1, -1, -1; frames count from 1."""
    file.write_text("".join(_mot_lines(rows)), encoding="ascii")


def _mot_lines(rows: Rows) -> Iterator[str]:
    for row in rows:
        if row["area"]:
            box = ",".join(f"{side:g}" for side in _sides(row["box"]))
            yield f"{row['frame'] + 1},{row['object']},{box},{row['score']:.4f},-1,-1,-1\n"


def _sides(box: list[float]) -> list[float]:
    """[x0, y0, x1, y1] -> [x, y, width, height]."""
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


class Format(NamedTuple):
    """A file's name, and what writes it."""

    file: str
    write: Callable[[Path, Film, Rows], None]


LINES = Format("masks.jsonl", write_lines)
FORMATS = {"coco": Format("youtube_vis.json", write_youtube_vis), "mot": Format("mot.txt", write_mot)}
