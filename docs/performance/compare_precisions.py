"""Writes compare_precisions.json: how far masks in bfloat16 and int8 agree with those in float32.

All three are of the embedded checkpoint, on the 500 held-out photos that `evf-sam evaluate` takes.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from evf_sam_cli import main

OTHERS = ("bfloat16", "int8")
PRESENT = 0.5  # least presence of what gets a mask


def evaluate(dtype: str, folder: Path) -> list[dict[str, Any]]:
    """The results of all sentences, in the order of the photos."""
    if main(["evaluate", "--dtype", dtype, "--dump", str(folder / dtype), "--worst", "0"]):
        raise SystemExit(1)
    return [json.loads(line) for line in (folder / dtype / "sentences.jsonl").read_text(encoding="utf-8").splitlines()]


def agreement(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> dict[str, float]:
    """IoUs of masks with those expected, where both say that there is something; and gIoU of both with the targets."""
    pairs = list(zip(found, expected, strict=True))
    there = np.array([[one["presence"] >= PRESENT for one in pair] for pair in pairs])
    drawn = [pair for pair, both in zip(pairs, there.all(1), strict=True) if both]
    ious = np.array([coco_mask.iou([a["rle"]], [b["rle"]], [0])[0, 0] for a, b in drawn])
    return {
        "sentences": len(pairs),
        "declined_by_one": int((there[:, 0] != there[:, 1]).sum()),
        "mean_iou": ious.mean(),
        "share_of_iou_above_0.95": (ious > 0.95).mean(),
        "lowest_iou": ious.min(),
        "giou": float(np.mean([record["iou"] for record in found])),
        "giou_float32": float(np.mean([record["iou"] for record in expected])),
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        whole = evaluate("float32", Path(name))
        result = {dtype: agreement(evaluate(dtype, Path(name)), whole) for dtype in OTHERS}
    target = Path(__file__).with_suffix(".json")
    target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(target)
