"""The formats of data sets by name."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from modeling_evf_sam.annotations.annotation import AnnotatedPhoto
from modeling_evf_sam.annotations.coco import write_coco
from modeling_evf_sam.annotations.index_masks import write_index_masks
from modeling_evf_sam.annotations.label_studio import write_label_studio
from modeling_evf_sam.annotations.yolo import write_yolo
from modeling_evf_sam.files import whole_folder

Write = Callable[[Iterable[AnnotatedPhoto], Sequence[str], Path], None]

FORMATS: dict[str, Write] = {
    "coco": partial(write_coco, polygons=False),
    "coco-polygons": partial(write_coco, polygons=True),
    "yolo": write_yolo,
    "masks": write_index_masks,
    "labelstudio": write_label_studio,
}


def write_data_set(format: str, photos: Iterable[AnnotatedPhoto], labels: Sequence[str], folder: Path) -> None:
    """Writes a data set into a folder of its own, which appears whole or not at all, in the place of a former one.

    Args:
        format: a key of `FORMATS`.
        photos: gone through more than once.
        labels: of all annotations, in the order of their numbers.
        folder: made where it does not exist.
    """
    with whole_folder(folder, replace=True) as staging:
        FORMATS[format](photos, labels, staging)
