"""Label Studio: tasks with predictions, to be imported and corrected there."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

from modeling_evf_sam.annotations.annotation import AnnotatedPhoto, Annotation
from modeling_evf_sam.annotations.json_list import write_list

# What the labelling interface calls its parts; config.xml is that interface.
LABELS, IMAGE = "label", "image"
WORD_SIZES = (3, 4, 8, 16)  # bits of lengths
CHANNELS = 4  # each pixel is written as red, green, blue and alpha


def write_label_studio(photos: Iterable[AnnotatedPhoto], labels: Sequence[str], folder: Path) -> None:
    """Writes tasks.json, to be imported, and config.xml, the labelling interface that it fits.

    `image` of a task is the photo's name: a Label Studio with local storage at the photos' folder finds them under
    /data/local-files/?d=NAME.
    """
    with (folder / "tasks.json").open("w", encoding="utf-8") as file:
        write_list(file, map(task, photos))
    (folder / "config.xml").write_text(interface(labels), encoding="utf-8")


def task(photo: AnnotatedPhoto) -> dict[str, Any]:
    """A photo with its annotations as predictions."""
    regions = list(_regions(photo))
    scores = [annotation.score for annotation in photo.annotations]
    prediction = {"model_version": "evf-sam", "score": min(scores, default=0.0), "result": regions}
    return {"data": {IMAGE: f"/data/local-files/?d={photo.name}"}, "predictions": [prediction]}


def interface(labels: Sequence[str]) -> str:
    """The labelling interface with brushes for these labels."""
    brushes = "".join(f"    <Label value={quoteattr(label)}/>\n" for label in labels)
    return (
        f'<View>\n  <Image name="{IMAGE}" value="${IMAGE}"/>\n  <BrushLabels name="{LABELS}" toName="{IMAGE}">\n'
        f"{brushes}  </BrushLabels>\n</View>\n"
    )


def _regions(photo: AnnotatedPhoto) -> Iterator[dict[str, Any]]:
    height, width = photo.size
    for index, annotation in enumerate(photo.annotations):
        yield {
            "id": f"evf{index}",
            "type": "brushlabels",
            "from_name": LABELS,
            "to_name": IMAGE,
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "score": annotation.score,
            "value": {"format": "rle", "rle": brush(annotation), "brushlabels": [annotation.label]},
        }


def brush(annotation: Annotation) -> list[int]:
    """A mask in Label Studio's own run lengths: a packed stream of bits, as bytes.

    32 bits for the number of values, 5 for their width less 1, 4 x 4 for the widths of lengths less 1; and then for
    each run a 1, 2 bits that choose the width of its length, the length less 1, and the value.
    """
    values = annotation.mask.ravel()
    ends = np.flatnonzero(np.diff(values)) + 1
    starts = np.concatenate([[0], ends])
    lengths = np.diff(np.concatenate([starts, [len(values)]])) * CHANNELS
    bits = [f"{len(values) * CHANNELS:032b}", f"{8 - 1:05b}", *(f"{size - 1:04b}" for size in WORD_SIZES)]
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        bits += _run(length, 255 * int(values[start]))
    stream = "".join(bits)
    stream += "0" * (-len(stream) % 8)
    return [int(stream[index : index + 8], 2) for index in range(0, len(stream), 8)]


def _run(length: int, value: int) -> Iterator[str]:
    """A run in pieces that the widest length can hold."""
    while length:
        piece = min(length, 1 << WORD_SIZES[-1])
        choice = next(index for index, size in enumerate(WORD_SIZES) if piece <= 1 << size)
        yield f"1{choice:02b}{piece - 1:0{WORD_SIZES[choice]}b}{value:08b}"
        length -= piece
