"""Sentences that refer to COCO-like annotations, whatever files they were read from."""

import logging
from collections.abc import Container, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from modeling_evf_sam.data.files import inside, open_sized_photo
from modeling_evf_sam.data.referring_dataset import ReferringDataset, Target
from modeling_evf_sam.data.segmentations import draw_segmentation

logger = logging.getLogger(__name__)

# (dataset, split maker, split) -> (objects, photos, sentences); the paper's evaluation counts each sentence
PUBLISHED_SIZES = {
    ("refcoco", "unc", "train"): (42404, 16994, 120624),
    ("refcoco", "unc", "val"): (3811, 1500, 10834),
    ("refcoco", "unc", "testA"): (1975, 750, 5657),
    ("refcoco", "unc", "testB"): (1810, 750, 5095),
    ("refcoco+", "unc", "train"): (42278, 16992, 120191),
    ("refcoco+", "unc", "val"): (3805, 1500, 10758),
    ("refcoco+", "unc", "testA"): (1975, 750, 5726),
    ("refcoco+", "unc", "testB"): (1798, 750, 4889),
    ("refcocog", "umd", "train"): (42226, 21899, 80512),
    ("refcocog", "umd", "val"): (2573, 1300, 4896),
    ("refcocog", "umd", "test"): (5023, 2600, 9602),
}


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Sentences that all mean the same targets, in one photo; `kind` is how many there are, in gRefCOCO."""

    image_id: int
    split: str
    sentences: list[str]
    ann_ids: list[int]
    kind: str = ""


class ReferenceDataset(ReferringDataset):
    """Item i is a photo with all sentences about all its objects. Sentences without a word are left out, and logged.

    Args:
        source: the file of the images and annotations, or what else messages should name.
        references: those of one split.
        images: image id -> its entry in a COCO record.
        annotations: annotation id -> its entry.
        photos: the folder that `file_name` starts from.
        benchmark: (dataset, split maker, split), as in `PUBLISHED_SIZES`.
        lower_case: lower-case and strip the sentences, as the original does in its evaluation and not in training.
        exclude_photos: image ids to leave out.
        legacy_overlap: as in `draw_segmentation`.

    Attributes:
        sizes: (objects, photos, sentences) before anything is left out.
        excluded: how many photos `exclude_photos` took out.
        published_sizes: what they are in the full dataset, None where this is not known.

    Raises:
        ValueError: a reference speaks of an image or an annotation that is not there.
    """

    def __init__(
        self,
        source: str | Path,
        references: Sequence[Reference],
        images: Mapping[int, dict[str, Any]],
        annotations: Mapping[int, dict[str, Any]],
        photos: Path,
        *,
        benchmark: tuple[str, str, str],
        lower_case: bool = False,
        exclude_photos: Container[int] = (),
        legacy_overlap: bool = False,
    ) -> None:
        self.source, self.photo_folder, self.benchmark = source, photos, benchmark
        self.lower_case, self.legacy_overlap = lower_case, legacy_overlap
        sentences = [sentence for ref in references for sentence in ref.sentences]
        self.published_sizes = PUBLISHED_SIZES.get(benchmark)
        self.sizes = (len(references), len({ref.image_id for ref in references}), len(sentences))
        self.excluded = len({ref.image_id for ref in references if ref.image_id in exclude_photos})
        empty = sum(not sentence.strip() for sentence in sentences)
        if empty:
            logger.warning("'%s' %s: left out %d sentences without words", source, " ".join(benchmark), empty)
        by_photo: dict[int, list[Reference]] = {}
        for ref in references:
            if ref.image_id not in exclude_photos and any(map(str.strip, ref.sentences)):
                by_photo.setdefault(ref.image_id, []).append(ref)
        self.photos = list(by_photo.items())
        self.images = {image_id: entry for image_id, entry in images.items() if image_id in by_photo}
        self.annotations = {key: entry for key, entry in annotations.items() if entry["image_id"] in by_photo}
        self.shown: dict[int, set[Hashable]] = {image_id: set() for image_id in by_photo}
        for entry in self.annotations.values():
            self.shown[entry["image_id"]].add(entry.get("category_id"))
        self._check_references()

    def _check_references(self) -> None:
        for image_id, refs in self.photos:
            if image_id not in self.images:
                raise ValueError(f"'{self.source}' has no image {image_id}, which the references speak of")
            for ref in refs:
                for ann_id in ref.ann_ids:
                    if self.annotations.get(ann_id, {}).get("image_id") != image_id:
                        raise ValueError(f"'{self.source}' has no annotation {ann_id} for image {image_id}")

    def __len__(self) -> int:
        return len(self.photos)

    def photo_name(self, index: int) -> str:
        """The path in the annotations."""
        return self.images[self.photos[index][0]]["file_name"]

    def read(self, index: int) -> tuple[Image.Image, list[Target]]:
        """Opens a photo with all its sentences."""
        image_id, _ = self.photos[index]
        image, where = self.images[image_id], f"'{self.source}', image {image_id}"
        path = inside(self.photo_folder, image["file_name"], where)
        return open_sized_photo(path, (image["height"], image["width"]), where), self.targets(index)

    def targets(self, index: int) -> list[Target]:
        """All sentences about a photo."""
        image_id, refs = self.photos[index]
        size = (self.images[image_id]["height"], self.images[image_id]["width"])
        targets = []
        for ref in refs:
            draw = partial(self._draw_targets, ref.ann_ids, size)
            categories = frozenset(self.annotations[ann_id].get("category_id") for ann_id in ref.ann_ids)
            for sentence in filter(str.strip, ref.sentences):
                text = sentence.strip().lower() if self.lower_case else sentence
                targets.append(Target(sentence=text, draw=draw, kind=ref.kind, categories=categories))
        return targets

    def categories(self, index: int) -> frozenset[Hashable]:
        """Those of all annotations of a photo."""
        return frozenset(self.shown[self.photos[index][0]])

    def _draw_targets(self, ann_ids: list[int], size: tuple[int, int]) -> np.ndarray:
        mask = np.zeros(size, dtype=bool)
        for ann_id in ann_ids:
            try:
                segmentation = self.annotations[ann_id].get("segmentation")
                mask |= draw_segmentation(segmentation, size, legacy_overlap=self.legacy_overlap)
            except ValueError as error:
                raise ValueError(f"'{self.source}', annotation {ann_id}: {error}") from None
        return mask
