"""The parts of the results as annotated photos."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from pyarrow import dataset

from modeling_evf_sam.annotations.annotation import AnnotatedPhoto, Least, annotate
from modeling_evf_sam.segment_dataset.results import PARTS, SCHEMA


class AnnotatedParts:
    """The photos of a folder of results, one after the other, as often as they are gone through.

    Args:
        folder: with parts.
        root: where the names of photos start.
        least: what an answer must have to become an annotation.
    """

    def __init__(self, folder: Path, root: Path, least: Least):
        self.folder, self.root, self.least = folder, root, least

    def __iter__(self) -> Iterator[AnnotatedPhoto]:
        for name, rows in groupby(self._rows(), key=lambda row: row["image"]):
            answers = list(rows)
            size = (answers[0]["rle"]["size"][0], answers[0]["rle"]["size"][1])
            found = annotate(answers, self.least)
            yield AnnotatedPhoto(file=self.root / name, name=name, size=size, annotations=found)

    def _rows(self) -> Iterator[dict[str, Any]]:
        for part in sorted(self.folder.glob(PARTS)):
            for batch in dataset.dataset(str(part), schema=SCHEMA).to_batches():
                yield from batch.to_pylist()
