"""Datasets by their names on the command line and in recipes."""

from typing import Any

from modeling_evf_sam.data.coco_categories import CocoDataset
from modeling_evf_sam.data.hub_references import HubReferDataset, hub_held_out_photos
from modeling_evf_sam.data.index_maps import open_human_parsing, open_scene_parsing
from modeling_evf_sam.data.jsonl_folder import JsonlDataset
from modeling_evf_sam.data.refer_layout import ReferDataset, held_out_photos
from modeling_evf_sam.data.references import ReferenceDataset
from modeling_evf_sam.data.referring_dataset import ReferringDataset

PATTERNS = {
    "refer": "refer:ROOT:refcoco:unc",
    "hub": "hub:jxu124/refcoco:PHOTOS",
    "jsonl": "jsonl:FOLDER",
    "semantic": "semantic:ROOT",
    "human_parsing": "human_parsing:ROOT",
    "coco": "coco:ANNOTATIONS.json:PHOTOS",
    "objects": "objects:ANNOTATIONS.json:PHOTOS",
}
WITH_SPLITS = ("refer", "hub", "jsonl", "semantic")
REFERRING = ("refer", "hub")


def open_dataset(
    name: str,
    split: str | None = None,
    *,
    training: bool = False,
    include_held_out: bool = False,
    legacy_overlap: bool = False,
) -> ReferringDataset:
    """Opens a dataset of annotated photos.

    Args:
        name: as one of `PATTERNS`.
        split: for those in `WITH_SPLITS`, and only for them.
        training: open one of `REFERRING` to train on it: its sentences as they are written, without the photos that
            any RefCOCO benchmark tests on. Otherwise its sentences are lower-cased and stripped, as the original
            evaluates.
        include_held_out: train on those photos too, as the paper does.
        legacy_overlap: evaluate one of `REFERRING` as the original does where polygons overlap (see
            `draw_segmentation`).

    Raises:
        ValueError: an unknown name, or a split too many or too few.
        FileNotFoundError, ValueError: the files are missing or wrong.
    """
    layout, _, place = name.partition(":")
    if layout not in PATTERNS or not place:
        raise ValueError(f"dataset '{name}' is unknown: choose one of rendered_scenes, {', '.join(PATTERNS.values())}")
    if bool(split) != (layout in WITH_SPLITS):
        raise ValueError(f"dataset '{name}' has {'no splits: name none' if split else 'splits: choose one'}")
    split = split or ""
    if legacy_overlap and layout not in REFERRING:
        raise ValueError(f"dataset '{name}': legacy_overlap is for datasets refer:... and hub:... alone")
    if layout == "jsonl":
        return JsonlDataset(place, split)
    if layout == "semantic":
        return open_scene_parsing(place, split)
    if layout == "human_parsing":
        return open_human_parsing(place)
    if layout in ("coco", "objects"):
        annotations, photos = _fields(name, 2)
        return CocoDataset(annotations, photos, objects=layout == "objects")
    opened = _open_referring(name, split, training, include_held_out, legacy_overlap)
    if len(opened) == 0:
        raise ValueError(f"all photos of '{name}' {split} are held out for tests: train on another split")
    return opened


def _open_referring(
    name: str, split: str, training: bool, include_held_out: bool, legacy_overlap: bool
) -> ReferenceDataset:
    options: dict[str, Any] = {"lower_case": not training, "legacy_overlap": legacy_overlap}
    exclude = training and not include_held_out
    if name.startswith("hub:"):
        repository, photos = _fields(name, 2)
        held_out = hub_held_out_photos(repository) if exclude else ()
        return HubReferDataset(repository, split, photos, exclude_photos=held_out, **options)
    root, dataset, split_by = _fields(name, 3)
    held_out = held_out_photos(root, dataset, split_by) if exclude else ()
    return ReferDataset(root, dataset, split_by, split, exclude_photos=held_out, **options)


def _fields(name: str, count: int) -> list[str]:
    """Splits what follows the layout; a colon in the first part, as in a path of Windows, stays where it is."""
    layout, _, place = name.partition(":")
    fields = place.rsplit(":", count - 1)
    if len(fields) != count or not all(fields):
        raise ValueError(f"dataset '{name}' must look like {PATTERNS[layout]}")
    return fields
