"""One map of a photo for several categories: which of them each pixel belongs to.

H and W are the photo's sides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from modeling_evf_sam.files import whole_folder
from modeling_evf_sam.inference.arrays import as_numpy, without_gradients
from modeling_evf_sam.inference.drawing import index_picture, labels_figure
from modeling_evf_sam.photos import Photo
from modeling_evf_sam.prompts_evf_sam import PRESENT_THRESHOLD

if TYPE_CHECKING:
    from modeling_evf_sam.inference.backends import AnyModel, AnyProcessor

LABELS, LEGEND = "labels.png", "labels_legend.png"


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelMap:
    """Which category each pixel belongs to.

    Attributes:
        indices: (H, W) integers: 0 for none of them, k for `categories[k - 1]`.
        categories: their names.
    """

    indices: np.ndarray
    categories: list[str]

    def plot(self, photo: Image.Image) -> Image.Image:
        """The photo in the colours of its categories, with their names below, as `drawing.labels_figure` draws it."""
        return labels_figure(photo, self.indices, self.categories)

    def save(self, folder: str | Path, photo: Image.Image) -> None:
        """Writes labels.png, whose pixels are the indices, shown in colours; and labels_legend.png, what `plot` draws.

        Args:
            folder: made where it does not exist; other files stay.
            photo: what was segmented.

        Raises:
            ValueError: nothing can be written there.
        """
        with whole_folder(Path(folder)) as staging:
            self.write(staging, photo)

    def write(self, folder: Path, photo: Image.Image) -> None:
        """What `save` does, into a folder that is there, file by file."""
        index_picture(self.indices).save(folder / LABELS)
        self.plot(photo).save(folder / LEGEND)


def label_map(
    model: "AnyModel",
    processor: "AnyProcessor",
    photo: Photo,
    categories: Sequence[str],
    *,
    semantic: bool = True,
    mask_threshold: float = 0.0,
    present_threshold: float = PRESENT_THRESHOLD,
) -> LabelMap:
    """Gives each pixel of a photo the category that is surest of it; the photo is encoded once.

    Args:
        model: in evaluation mode, on any device.
        processor: the model's own.
        photo: of any size.
        categories: their names; the k-th has the index k, counted from 1.
        semantic: whether every pixel of a category is asked for; False for a checkpoint that was not trained for it.
        mask_threshold: pixels whose logits are not above it, for any category, have the index 0.
        present_threshold: categories of less presence are left out. Without a presence head it says nothing.

    Raises:
        ValueError: a bad photo, or a bad category, named by number.
    """
    inputs = processor(images=photo, text=list(categories), semantic=semantic).to(model.device)
    with without_gradients():
        (indices,) = processor.post_process_semantic_segmentation(
            model(**inputs), inputs, mask_threshold, present_threshold=present_threshold
        )
    return LabelMap(indices=as_numpy(indices), categories=list(categories))


__all__ = ["LabelMap", "label_map"]
