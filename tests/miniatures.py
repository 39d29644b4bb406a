"""Writes data sets of a few small photos, each in the exact layout of a public one."""

import json
import pickle
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

WIDTH, HEIGHT = 12, 10
LEFT = [0, 0, 4, 0, 4, 10, 0, 10]  # columns 0..3
MIDDLE = [3, 0, 8, 0, 8, 10, 3, 10]  # columns 3..7
RIGHT = [8, 0, 12, 0, 12, 10, 8, 10]  # columns 8..11


def columns(first: int, end: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[:, first:end] = True
    return mask


def run_lengths(mask: np.ndarray) -> dict:
    runs = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": runs["size"], "counts": runs["counts"].decode()}


def write_photo(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT), grey: int = 128) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (grey, grey, grey)).save(path)
    return path


def write_map(path: Path, indices: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(indices.astype(np.uint8)).save(path)
    return path


def write_json(path: Path, record: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))
    return path


def coco_record(images: dict[int, str], annotations: list[dict], categories: dict[int, str] | None = None) -> dict:
    return {
        "images": [{"id": i, "file_name": name, "height": HEIGHT, "width": WIDTH} for i, name in images.items()],
        "annotations": [{"id": number, "iscrowd": 0, "category_id": 1, **a} for number, a in enumerate(annotations)],
        "categories": [{"id": i, "name": name} for i, name in (categories or {1: "thing"}).items()],
    }


def ref(image_id: int, split: str, sentences: list[str], ann_id: int | list[int]) -> dict:
    return {
        "ref_id": 1,
        "ann_id": ann_id,
        "category_id": 1,
        "image_id": image_id,
        "split": split,
        "file_name": f"COCO_train2014_{image_id:012}_0.jpg",
        "sent_ids": list(range(len(sentences))),
        "sentences": [
            {"raw": text, "sent": text, "sent_id": i, "tokens": text.split()} for i, text in enumerate(sentences)
        ],
    }


def write_refer(root: Path, name: str, refs: list[dict], annotations: list[dict], split_by: str = "unc") -> Path:
    """Writes refs(...).p by protocol 0, as Python 2 did, or grefs(...).json, and instances.json with photos."""
    folder = root / name
    if name == "grefcoco":
        write_json(folder / f"grefs({split_by}).json", refs)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"refs({split_by}).p").write_bytes(pickle.dumps(refs, protocol=0))
    photos = Path("images", "saiapr_tc-12") if name == "refclef" else Path("images/mscoco/images/train2014")
    images = {i: f"COCO_train2014_{i:012}.jpg" for i in sorted({entry["image_id"] for entry in refs})}
    for file in images.values():
        write_photo(root / photos / file)
    write_json(folder / "instances.json", coco_record(images, annotations))
    return root


def write_lines(folder: Path, split: str, lines: list[dict | str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / f"{split}.jsonl").write_text("\n".join(texts) + "\n", encoding="utf-8")
    return folder
