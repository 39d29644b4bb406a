"""Results on disk: mask files, an overlay picture and a JSON record."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from modeling_evf_sam.inference.drawing import attention_figure, overlay


def write_pictures(
    folder: Path, photo: Image.Image, sentences: list[str], result: dict[str, np.ndarray]
) -> list[dict[str, Any]]:
    """Writes one mask file for each sentence, and overlay.png with all of them; attention.png where there are maps.

    Args:
        folder: an existing folder.
        photo: an RGB photo of size (H, W).
        sentences: P sentences.
        result: masks (P, H, W) bool, scores (P,) and boxes (P, 4), as the processor's post-processing returns them;
            and attention (P, g, g), or none.

    Returns:
        What a JSON record says about each mask: sentence, score, box, area in pixels, run lengths and file name.
    """
    entries = []
    for number, (sentence, mask) in enumerate(zip(sentences, result["masks"], strict=True), start=1):
        file = f"{number:02d}_{_slug(sentence)}.png"
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / file)
        rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
        entries.append(
            {
                "sentence": sentence,
                "score": float(result["scores"][number - 1]),
                "box": result["boxes"][number - 1].tolist(),
                "area": int(mask.sum()),
                "rle": {"size": rle["size"], "counts": rle["counts"].decode("ascii")},
                "file": file,
            }
        )
    overlay(photo, result["masks"], sentences, result["scores"].tolist()).save(folder / "overlay.png")
    if "attention" in result:
        attention_figure(photo, sentences, result["attention"], result["masks"]).save(folder / "attention.png")
    return entries


def result_record(
    photo: Image.Image, *, name: str, model: str, semantic: bool, masks: list[dict[str, Any]]
) -> dict[str, Any]:
    """The content of result.json.

    Args:
        photo: the photo.
        name: what the record calls it, such as its path.
        model: where the checkpoint came from.
        semantic: whether every pixel of a category was asked for.
        masks: what `write_pictures` returned.
    """
    entries = [{**mask, "semantic": semantic} for mask in masks]
    return {"photo": name, "width": photo.width, "height": photo.height, "model": model, "masks": entries}


def _slug(sentence: str) -> str:
    """A short name for files: ASCII letters, digits and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", sentence.lower())[:40].strip("_") or "mask"
