"""Pictures whose pixels are the number of a label."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from modeling_evf_sam.annotations.annotation import AnnotatedPhoto, own_file
from modeling_evf_sam.inference.drawing import index_picture, legend_picture


def write_index_masks(photos: Iterable[AnnotatedPhoto], labels: Sequence[str], folder: Path) -> None:
    """Writes masks/NAME.png, labels.txt and legend.png.

    A pixel is the number of its label, counted from 1 in the order of labels.txt, and 0 where there is nothing; of
    several that cover it, the surest one's.
    """
    numbers = {label: index for index, label in enumerate(labels, start=1)}
    for photo in photos:
        indices = np.zeros(photo.size, dtype=np.int32)
        for annotation in reversed(photo.annotations):
            indices[annotation.mask] = numbers[annotation.label]
        index_picture(indices).save(own_file(folder / "masks", photo, ".png"))
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
    legend_picture(labels).save(folder / "legend.png")
