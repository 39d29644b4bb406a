"""RefCOCO, RefCOCO+ and RefCOCOg as the Hub has them: annotations in the rows, the photos of COCO in a folder."""

import json
from collections.abc import Container, Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeling_evf_sam.data.files import check_entry
from modeling_evf_sam.data.references import Reference, ReferenceDataset

if TYPE_CHECKING:
    from datasets import Dataset

# the last part of a repository's id -> the dataset, and who made its split
REPOSITORIES = {"refcoco": ("refcoco", "unc"), "refcocoplus": ("refcoco+", "unc"), "refcocog": ("refcocog", "umd")}
HUB_SPLITS = {"val": "validation", "testA": "test"}  # where the Hub has other names than the papers
COLUMNS = {"image_id": int, "ann_id": int, "split": str, "sentences": list, "raw_anns": str, "raw_image_info": str}
ONE_POLYGON = "lmms-lab/refcoco"


class HubReferDataset(ReferenceDataset):
    """One split of a repository with the columns of jxu124/refcoco, refcocoplus or refcocog.

    A row is an object with its sentences; `raw_anns` and `raw_image_info` are COCO's own entries, as JSON.

    Args:
        repository: the id on the Hub, or a folder with such parquet files; its last part says which dataset it is.
        split: "train", "val", "testA", "testB" or "test".
        photos: folder of COCO's train2014.
        lower_case: as in `ReferenceDataset`.
        exclude_photos: image ids to leave out; for training see `hub_held_out_photos`.
        legacy_overlap: as in `draw_segmentation`.

    Raises:
        ValueError: it cannot be loaded, has other columns or no such split, or a row is wrong; names the row.
    """

    def __init__(
        self,
        repository: str,
        split: str,
        photos: str | Path,
        *,
        lower_case: bool = False,
        exclude_photos: Container[int] = (),
        legacy_overlap: bool = False,
    ) -> None:
        references, images, annotations = [], {}, {}
        for index, row in enumerate(_load_split(repository, split, list(COLUMNS))):
            where = f"'{repository}' {split}, row {index}"
            check_entry(where, row, COLUMNS)
            for sentence in row["sentences"]:
                check_entry(f"{where}, a sentence", sentence, {"sent": str})
            image = _read_entry(where, row, "raw_image_info", {"file_name": str, "height": int, "width": int})
            images[row["image_id"]] = {**image, "id": row["image_id"]}
            annotations[row["ann_id"]] = _read_entry(where, row, "raw_anns", {"image_id": int})
            sentences = [sentence["sent"] for sentence in row["sentences"]]
            references.append(
                Reference(image_id=row["image_id"], split=row["split"], sentences=sentences, ann_ids=[row["ann_id"]])
            )
        splits = sorted({reference.split for reference in references})
        if len(splits) != 1:
            raise ValueError(
                f"'{repository}' {split} must have rows of one split, not of {', '.join(splits) or 'none'}"
            )
        super().__init__(
            repository,
            references,
            images,
            annotations,
            Path(photos),
            benchmark=(*REPOSITORIES.get(Path(repository).name, (repository, "")), splits[0]),
            lower_case=lower_case,
            exclude_photos=exclude_photos,
            legacy_overlap=legacy_overlap,
        )

    def categories(self, index: int) -> frozenset[Hashable]:
        """Not known: the rows hold the objects that are spoken of, and no others."""
        raise ValueError(
            f"'{self.source}' does not say what else its photos show, so no sentence is known to be wrong: for "
            "negatives take the REFER layout (refer:ROOT:...)"
        )


def hub_held_out_photos(repository: str) -> frozenset[int]:
    """Returns the ids of all photos that a split other than train has, in this repository or in its two sisters.

    Sisters are those of the same owner, or folders beside a folder. See `refer_layout.held_out_photos`.
    """
    held_out: set[int] = set()
    for name in {Path(repository).name, *REPOSITORIES}:
        sister = (Path(repository).parent / name).as_posix()
        if Path(repository).is_dir() and not Path(sister).is_dir():
            continue
        for split in _find_splits(sister):
            if split != "train":
                held_out.update(_load_split(sister, split, ["image_id"])["image_id"])
    return frozenset(held_out)


def _load_split(repository: str, split: str, columns: list[str]) -> "Dataset":
    """Loads some columns of a split, by the papers' name or the Hub's."""
    splits = _find_splits(repository)
    found = split if split in splits else HUB_SPLITS.get(split)
    if found not in splits:
        raise ValueError(f"'{repository}' has no split '{split}': choose one of {', '.join(splits)}")
    rows = _call_hub(repository, "load_dataset", split=found)
    missing = sorted(set(columns) - set(rows.column_names))
    if missing:
        raise ValueError(f"'{repository}' has no column {missing[0]}: it must have those of jxu124/refcoco")
    return rows.select_columns(columns)


def _find_splits(repository: str) -> list[str]:
    if repository.lower().startswith(ONE_POLYGON):
        raise ValueError(
            f"'{repository}' has a single polygon for each object, so objects in several parts are not whole, and "
            "its val mixes two splits: take jxu124/refcoco, refcocoplus or refcocog"
        )
    return _call_hub(repository, "get_dataset_split_names")


def _call_hub(repository: str, function: str, **options: Any) -> Any:
    try:
        import datasets
    except ImportError:
        raise ValueError("datasets hub:... need the package datasets: pip install datasets") from None
    datasets.disable_progress_bars()
    try:
        return getattr(datasets, function)(repository, **options)
    except Exception as error:  # of many types: no network, no such repository, files of another kind
        raise ValueError(f"dataset '{repository}' cannot be loaded ({error})") from None


def _read_entry(where: str, row: dict[str, Any], column: str, fields: dict[str, type]) -> dict[str, Any]:
    try:
        entry = json.loads(row[column])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: {column} is not JSON ({error})") from None
    check_entry(f"{where}, {column}", entry, fields)
    return entry
