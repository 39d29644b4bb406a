"""RefCLEF, RefCOCO, RefCOCO+, RefCOCOg and gRefCOCO, in the folders that the REFER toolkit made common.

ROOT/refcoco/refs(unc).p, instances.json        the same for refclef, refcoco+ and refcocog (umd, google)
ROOT/grefcoco/grefs(unc).json, instances.json   sentences with several targets or none
ROOT/images/mscoco/images/train2014/*.jpg       ROOT/images/saiapr_tc-12/ for refclef
"""

from collections.abc import Container
from pathlib import Path
from typing import Any

from modeling_evf_sam.data.files import check_entry, entries, read_json
from modeling_evf_sam.data.plain_pickle import load_plain_pickle
from modeling_evf_sam.data.references import Reference, ReferenceDataset
from modeling_evf_sam.quoting import quoted

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

NO_TARGET = -1  # stands in gRefCOCO's lists of annotations where a sentence names nothing in the photo


class ReferDataset(ReferenceDataset):
    """One split of a dataset in the REFER layout: item i is a photo with all sentences about all its objects.

    Args:
        root: the folder that holds the datasets' folders and `images`.
        name: "refclef", "refcoco", "refcoco+", "refcocog" or "grefcoco".
        split_by: who made the split: "unc", "umd", "google" or "berkeley".
        split: "train", "val", "testA", "testB" or "test".
        lower_case: lower-case and strip the sentences, as the original does in its evaluation and not in training.
        exclude_photos: image ids to leave out; for training see `held_out_photos`.
        legacy_overlap: as in `draw_segmentation`.

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
        refs = _read_refs(folder, split_by)
        splits = sorted({ref.split for ref in refs})
        if split not in splits:
            raise ValueError(f"'{folder}' ({split_by}) has no split '{split}': choose one of {', '.join(splits)}")
        path = folder / "instances.json"
        record = read_json(path)
        images = entries(path, record, "images", {"id": int, "file_name": str, "height": int, "width": int})
        annotations = entries(path, record, "annotations", {"id": int, "image_id": int, "category_id": int})
        super().__init__(
            path,
            [ref for ref in refs if ref.split == split],
            {image["id"]: image for image in images},
            {entry["id"]: entry for entry in annotations},
            Path(root) / PHOTOS[name],
            benchmark=(name, split_by, split),
            lower_case=lower_case,
            exclude_photos=exclude_photos,
            legacy_overlap=legacy_overlap,
        )


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
        raise ValueError(f"{where}: 'ann_id' must be a whole number, or a list of them, not {quoted(ann_ids)}")
    targets = [ann_id for ann_id in ann_ids if ann_id != NO_TARGET]
    return Reference(
        image_id=record["image_id"],
        split=record["split"],
        sentences=[sentence["sent"] for sentence in record["sentences"]],
        ann_ids=targets,
        kind=("no target", "one target", "several targets")[min(len(targets), 2)] if several else "",
    )
