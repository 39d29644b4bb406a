"""Annotations like those of COCO, spoken of by the names of their categories."""

from collections.abc import Container, Hashable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from modeling_evf_sam.data.files import entries, inside, open_sized_photo, read_json
from modeling_evf_sam.data.referring_dataset import ReferringDataset, Target
from modeling_evf_sam.data.segmentations import draw_segmentation


class CocoDataset(ReferringDataset):
    """Item i is a photo with its categories, in one of the two ways of the paper (section 3.3, appendix A.2).

    Semantic prompts (COCO, PartImageNet, PASCAL-Part): each category that the photo shows, all its instances in one
    mask; "bird:wing" becomes "bird wing", in lower case. Objects (Objects365): only categories that occur once in the
    photo, so that the bare name is a referring expression.

    Args:
        annotations: a JSON file with images, annotations and categories.
        photos: the folder that `file_name` starts from.
        objects: the second way.
        exclude_photos: image ids to leave out.

    Raises:
        FileNotFoundError, ValueError: the file is missing or of another layout; names the entry.
    """

    def __init__(
        self,
        annotations: str | Path,
        photos: str | Path,
        *,
        objects: bool = False,
        exclude_photos: Container[int] = (),
    ) -> None:
        self.file, self.folder, self.objects = Path(annotations), Path(photos), objects
        record = read_json(self.file)
        categories = entries(self.file, record, "categories", {"id": int, "name": str})
        self.names = {category["id"]: category["name"] for category in categories}
        images = entries(self.file, record, "images", {"id": int, "file_name": str, "height": int, "width": int})
        by_image: dict[int, dict[int, list[dict]]] = {image["id"]: {} for image in images}
        self.shown: dict[int, set[str]] = {image_id: set() for image_id in by_image}
        fields = {"id": int, "image_id": int, "category_id": int}
        for index, entry in enumerate(entries(self.file, record, "annotations", fields)):
            if entry["image_id"] not in by_image or entry["category_id"] not in self.names:
                raise ValueError(
                    f"'{self.file}', annotations[{index}] is about an image or category that is not there"
                )
            self.shown[entry["image_id"]].add(self._sentence(entry["category_id"]))
            if objects or _whole_parts(entry.get("segmentation")):
                by_image[entry["image_id"]].setdefault(entry["category_id"], []).append(entry)
        if not any(by_image.values()):
            raise ValueError(f"'{self.file}' has no annotation with a mask: boxes alone cannot be used")
        if objects:
            by_image = {image_id: _single(groups) for image_id, groups in by_image.items()}
        self.photos = [
            (image, by_image[image["id"]])
            for image in images
            if by_image[image["id"]] and image["id"] not in exclude_photos
        ]

    def __len__(self) -> int:
        return len(self.photos)

    def photo_name(self, index: int) -> str:
        """The path in the annotations."""
        return self.photos[index][0]["file_name"]

    def read(self, index: int) -> tuple[Image.Image, list[Target]]:
        """Opens a photo with the names of its categories."""
        image, _ = self.photos[index]
        where = f"'{self.file}', image {image['id']}"
        path = inside(self.folder, image["file_name"], where)
        return open_sized_photo(path, (image["height"], image["width"]), where), self.targets(index)

    def targets(self, index: int) -> list[Target]:
        """The names of a photo's categories."""
        image, groups = self.photos[index]
        size = (image["height"], image["width"])
        return [
            Target(
                sentence=name,
                draw=partial(self._draw_group, group, size),
                semantic=not self.objects,
                kind=name,
                categories=frozenset([name]),
            )
            for name, group in zip(map(self._sentence, groups), groups.values(), strict=True)
        ]

    def categories(self, index: int) -> frozenset[Hashable]:
        """Those of all annotations of a photo, with a mask or without."""
        return frozenset(self.shown[self.photos[index][0]["id"]])

    def _sentence(self, category: int) -> str:
        name = self.names[category]
        return name if self.objects else name.replace(":", " ").strip().lower()

    def _draw_group(self, group: list[dict], size: tuple[int, int]) -> np.ndarray:
        mask = np.zeros(size, dtype=bool)
        for entry in group:
            try:
                mask |= draw_segmentation(_whole_parts(entry.get("segmentation")), size)
            except ValueError as error:
                raise ValueError(f"'{self.file}', annotation {entry['id']}: {error}") from None
        return mask


def _single(groups: dict[int, list[dict]]) -> dict[int, list[dict]]:
    """Keeps the categories with one instance that is not a crowd."""
    return {
        category: group for category, group in groups.items() if len(group) == 1 and not group[0].get("iscrowd", 0)
    }


def _whole_parts(segmentation: object) -> object:
    """Leaves out polygons of fewer than three points: PartImageNet has such annotations, which mean nothing."""
    if not isinstance(segmentation, list):
        return segmentation
    return [part for part in segmentation if not isinstance(part, list) or len(part) >= 6]
