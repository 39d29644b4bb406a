"""COCO segmentations -> masks: polygons, run lengths in both of their spellings, and lists of either; and back."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from modeling_evf_sam.quoting import quoted

BORDER = 2  # a polygon may leave the photo by this many pixels: annotators round


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """COCO's run lengths of a mask (H, W) bool, ready for JSON: {"size": [H, W], "counts": text}."""
    runs = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": runs["size"], "counts": runs["counts"].decode("ascii")}


def draw_segmentation(segmentation: Any, size: tuple[int, int], *, legacy_overlap: bool = False) -> np.ndarray:
    """Draws one annotation.

    Args:
        segmentation: a list of polygons [x0, y0, x1, y1, ...] in pixels, a list of run lengths, or one of these:
            `{"size": [height, width], "counts": ...}` with COCO's string or a list of numbers. An empty list is an
            empty mask.
        size: (height, width) of the photo.
        legacy_overlap: leave out pixels that lie in several parts, as the evaluation of the original does: it adds
            the parts up and compares with 1 (its `utils/dataset.py` and `eval.py`).

    Returns:
        (height, width) bool.

    Raises:
        ValueError: it is none of these, of another size, or a polygon leaves the photo; says which part.
    """
    parts = [segmentation] if isinstance(segmentation, dict) else segmentation
    if not isinstance(parts, list):
        raise ValueError(f"the segmentation is {quoted(segmentation)}: give a list of polygons, or run lengths")
    layers = np.zeros(size, np.uint8)
    for index, part in enumerate(parts):
        try:
            layer = _draw_runs(part, size) if isinstance(part, dict) else _draw_polygon(part, size)
        except ValueError as error:
            raise ValueError(f"part {index} of the segmentation {error}") from None
        layers = np.minimum(layers + layer, 2)
    return layers == 1 if legacy_overlap else layers > 0


def _draw_polygon(polygon: Any, size: tuple[int, int]) -> np.ndarray:
    try:
        points = np.asarray(polygon, dtype=np.float64)
    except (OverflowError, TypeError, ValueError):
        points = np.empty((0, 0))
    if points.ndim != 1 or not np.isfinite(points).all():
        raise ValueError(f"is {quoted(polygon)}: give numbers x0, y0, x1, y1, ... or run lengths")
    if len(points) < 6 or len(points) % 2:
        raise ValueError(f"has {len(points)} numbers: a polygon has x and y of at least three points")
    height, width = size
    corners = points.reshape(-1, 2)
    if (corners < -BORDER).any() or (corners > (width + BORDER, height + BORDER)).any():
        (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
        raise ValueError(f"spans ({x0:g}, {y0:g}) to ({x1:g}, {y1:g}), outside the {width} x {height} pixels")
    return coco_mask.decode(coco_mask.frPyObjects([points.tolist()], height, width))[..., 0]


def _draw_runs(runs: dict, size: tuple[int, int]) -> np.ndarray:
    """Fills the runs, background first, down the columns.

    pycocotools would read past counts that end early, and leave what they do not cover as it finds it in memory.
    """
    stated, counts = runs.get("size"), runs.get("counts")
    if not isinstance(stated, list | tuple) or list(stated) != list(size):
        raise ValueError(f"has the size {quoted(stated)}: the photo has [{size[0]}, {size[1]}], height and width")
    if isinstance(counts, str | bytes):
        counts = _read_counts(counts.encode("latin-1", "replace") if isinstance(counts, str) else counts)
    if not isinstance(counts, list) or not all(type(count) is int and count >= 0 for count in counts):
        counts = []
    if sum(counts) != size[0] * size[1]:
        raise ValueError(f"has counts {quoted(runs.get('counts'))} that do not add up to {size[0]} x {size[1]} pixels")
    values = (np.arange(len(counts)) % 2).astype(np.uint8)
    return np.repeat(values, counts).reshape(size[1], size[0]).T  # (width, height) -> (height, width)


def _read_counts(text: Sequence[int]) -> list[int]:
    """Reads COCO's string: five bits of a number in a byte, lowest first, each number less the one before the last."""
    counts: list[int] = []
    value = shift = 0
    for byte in text:
        bits = byte - 48
        value |= (bits & 31) << shift
        shift += 5
        if shift > 50 or not 0 <= bits < 64:
            return []
        if not bits & 32:
            value -= (bits & 16) and 1 << shift  # the number is negative
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    return [] if shift else counts
