"""RefCLEF, RefCOCO, RefCOCO+, RefCOCOg and gRefCOCO, in the folders that the REFER toolkit made common.

ROOT/refcoco/refs(unc).p, instances.json        the same for refclef, refcoco+ and refcocog (umd, google)
ROOT/grefcoco/grefs(unc).json, instances.json   sentences with several targets or none
ROOT/images/mscoco/images/train2014/*.jpg       ROOT/images/saiapr_tc-12/ for refclef
"""

import logging
from collections.abc import Container
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .files import check_entry, entries, inside, open_sized_photo, read_json
from .plain_pickle import load_plain_pickle
from .referring_dataset import ReferringDataset, Target
from .segmentations import draw_segmentation

logger = logging.getLogger(__name__)

COCO_PHOTOS = Path("images/mscoco/images/train2014")
PHOTOS = {
    "refclef": Path("images/saiapr_tc-12"),
    "refcoco": COCO_PHOTOS,
    "refcoco+": COCO_PHOTOS,
    "refcocog": COCO_PHOTOS,
    "grefcoco": COCO_PHOTOS,
}
# The split that papers report, for each dataset
BENCHMARKS = {"refclef": "unc", "refcoco": "unc", "refcoco+": "unc", "refcocog": "umd", "grefcoco": "unc"}

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

NO_TARGET = -1  # stands in gRefCOCO's lists of annotations where a sentence names nothing in the photo


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Sentences that all mean the same targets, in one photo; `kind` is how many there are, in gRefCOCO."""

    image_id: int
    split: str
    sentences: list[str]
    ann_ids: list[int]
    kind: str


class ReferDataset(ReferringDataset):
    """One split of a dataset in the REFER layout: item i is a photo with all sentences about all its objects.

    Sentences without a word are left out, and logged.

    Args:
        root: the folder that holds the datasets' folders and `images`.
        name: "refclef", "refcoco", "refcoco+", "refcocog" or "grefcoco".
        split_by: who made the split: "unc", "umd", "google" or "berkeley".
        split: "train", "val", "testA", "testB" or "test".
        lower_case: lower-case and strip the sentences, as the original does in its evaluation and not in training.
        exclude_photos: image ids to leave out; for training see `held_out_photos`.
        legacy_overlap: as in `draw_segmentation`.

    Attributes:
        sizes: (objects, photos, sentences) of the split before anything is left out.
        excluded: how many photos `exclude_photos` took out.
        published_sizes: what they are in the full dataset, None where this is not known.

    Raises:
        FileNotFoundError, ValueError: files are missing or of another layout, or the dataset has no such split.
    """

    def __init__(
        self,
        root: str | Path,
        name: str,
        split_by: str,
        split: str,
        *,
        lower_case: bool = False,
        exclude_photos: Container[int] = (),
        legacy_overlap: bool = False,
    ) -> None:
        if name not in PHOTOS:
            raise ValueError(f"'{name}' is unknown in the REFER layout: choose one of {', '.join(PHOTOS)}")
        folder = Path(root) / name
        self.photo_folder = Path(root) / PHOTOS[name]
        self.instances_file = folder / "instances.json"
        self.lower_case, self.legacy_overlap = lower_case, legacy_overlap
        refs = _read_refs(folder, split_by)
        splits = sorted({ref.split for ref in refs})
        if split not in splits:
            raise ValueError(f"'{folder}' ({split_by}) has no split '{split}': choose one of {', '.join(splits)}")
        refs = [ref for ref in refs if ref.split == split]
        sentences = [sentence for ref in refs for sentence in ref.sentences]
        self.published_sizes = PUBLISHED_SIZES.get((name, split_by, split))
        self.sizes = (len(refs), len({ref.image_id for ref in refs}), len(sentences))
        self.excluded = len({ref.image_id for ref in refs if ref.image_id in exclude_photos})
        empty = sum(not sentence.strip() for sentence in sentences)
        if empty:
            logger.warning("'%s' (%s) %s: left out %d sentences without words", folder, split_by, split, empty)
        by_photo: dict[int, list[Reference]] = {}
        for ref in refs:
            if ref.image_id not in exclude_photos and any(map(str.strip, ref.sentences)):
                by_photo.setdefault(ref.image_id, []).append(ref)
        self.photos = list(by_photo.items())
        self._read_instances(self.instances_file)

    def _read_instances(self, path: Path) -> None:
        """Keeps the images and annotations that the chosen photos need, and checks that they are there."""
        record = read_json(path)
        needed = {image_id for image_id, _ in self.photos}
        images = entries(path, record, "images", {"id": int, "file_name": str, "height": int, "width": int})
        self.images = {image["id"]: image for image in images if image["id"] in needed}
        annotations = entries(path, record, "annotations", {"id": int, "image_id": int})
        self.annotations = {entry["id"]: entry for entry in annotations if entry["image_id"] in needed}
        for image_id, refs in self.photos:
            if image_id not in self.images:
                raise ValueError(f"'{path}' has no image {image_id}, which the references speak of")
            for ref in refs:
                for ann_id in ref.ann_ids:
                    if self.annotations.get(ann_id, {}).get("image_id") != image_id:
                        raise ValueError(f"'{path}' has no annotation {ann_id} for image {image_id}")

    def __len__(self) -> int:
        return len(self.photos)

    def read(self, index: int) -> tuple[Image.Image, list[Target]]:
        """Opens a photo with all its sentences."""
        image_id, refs = self.photos[index]
        image = self.images[image_id]
        where, size = f"'{self.instances_file}', image {image_id}", (image["height"], image["width"])
        photo = open_sized_photo(inside(self.photo_folder, image["file_name"], where), size, where)
        targets = []
        for ref in refs:
            draw = partial(self._draw_targets, ref.ann_ids, size)
            for sentence in filter(str.strip, ref.sentences):
                text = sentence.strip().lower() if self.lower_case else sentence
                targets.append(Target(sentence=text, draw=draw, kind=ref.kind))
        return photo, targets

    def _draw_targets(self, ann_ids: list[int], size: tuple[int, int]) -> np.ndarray:
        mask = np.zeros(size, dtype=bool)
        for ann_id in ann_ids:
            try:
                segmentation = self.annotations[ann_id].get("segmentation")
                mask |= draw_segmentation(segmentation, size, legacy_overlap=self.legacy_overlap)
            except ValueError as error:
                raise ValueError(f"'{self.instances_file}', annotation {ann_id}: {error}") from None
        return mask


def held_out_photos(root: str | Path, name: str, split_by: str) -> frozenset[int]:
    """Returns the ids of all photos that a benchmark tests on and that are in the same photo folder as a dataset's.

    The datasets share COCO's photos: a photo that one of them trains on may be in the test split of another. The
    paper trains on such photos; leaving them out keeps a test honest.

    Args:
        root: the folder of the datasets; those that are not there are passed over.
        name: the dataset to train on.
        split_by: its own split; besides it, the `BENCHMARKS` of the others count.
    """
    held_out: set[int] = set()
    for other, benchmark in BENCHMARKS.items():
        makers = {benchmark, split_by} if other == name else {benchmark}
        for maker in sorted(makers):
            folder = Path(root) / other
            if PHOTOS[other] == PHOTOS[name] and _refs_file(folder, maker).exists():
                held_out.update(ref.image_id for ref in _read_refs(folder, maker) if ref.split != "train")
    return frozenset(held_out)


def _refs_file(folder: Path, split_by: str) -> Path:
    return folder / (f"grefs({split_by}).json" if folder.name == "grefcoco" else f"refs({split_by}).p")


def _read_refs(folder: Path, split_by: str) -> list[Reference]:
    path = _refs_file(folder, split_by)
    records = read_json(path) if path.suffix == ".json" else load_plain_pickle(path)
    if not isinstance(records, list) or not records:
        raise ValueError(f"'{path}' holds no list of references: it is not of the REFER layout")
    return [_read_ref(f"'{path}', entry {index}", record) for index, record in enumerate(records)]


def _read_ref(where: str, record: Any) -> Reference:
    check_entry(where, record, {"image_id": int, "split": str, "sentences": list})
    for sentence in record["sentences"]:
        check_entry(f"{where}, a sentence", sentence, {"sent": str})
    several = isinstance(record.get("ann_id"), list)
    ann_ids = record["ann_id"] if several else [record.get("ann_id")]
    if not all(isinstance(ann_id, int) for ann_id in ann_ids):
        raise ValueError(f"{where}: 'ann_id' must be a whole number, or a list of them, not {ann_ids!r:.40}")
    targets = [ann_id for ann_id in ann_ids if ann_id != NO_TARGET]
    return Reference(
        image_id=record["image_id"],
        split=record["split"],
        sentences=[sentence["sent"] for sentence in record["sentences"]],
        ann_ids=targets,
        kind=("no target", "one target", "several targets")[min(len(targets), 2)] if several else "",
    )
