"""The folder of results: parquet parts that appear whole or not at all, and what they were made with."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import dataset, parquet

from modeling_evf_sam.files import refuse_other_settings, whole_folder, write_json

PARTS = "part-*.parquet"
SETTINGS = "settings.json"
FAILURES = "failures.jsonl"
SCHEMA = pyarrow.schema(
    {
        "image": pyarrow.string(),
        "sentence": pyarrow.string(),
        "label": pyarrow.string(),  # what data sets call it
        "semantic": pyarrow.bool_(),
        "instance": pyarrow.int32(),  # number of the object, counted from 1; null for a whole answer
        "score": pyarrow.float32(),
        "quality": pyarrow.float32(),  # this and the next two are null where the model does not say
        "presence": pyarrow.float32(),
        "present": pyarrow.bool_(),
        "box": pyarrow.list_(pyarrow.float32()),  # x0, y0, x1, y1 in photo pixels
        "area": pyarrow.int64(),
        "rle": pyarrow.struct({"size": pyarrow.list_(pyarrow.int32()), "counts": pyarrow.string()}),
    }
)


def write_part(folder: Path, names: Sequence[str], rows: list[dict[str, Any]]) -> None:
    """Writes the results of some photos as one file, named after these photos."""
    name = f"part-{hashlib.sha256(repr(list(names)).encode()).hexdigest()[:16]}.parquet"
    with whole_folder(folder) as staging:
        parquet.write_table(pyarrow.Table.from_pylist(rows, SCHEMA), staging / name, compression="zstd")


def done_photos(folder: Path) -> set[str]:
    """Names of the photos that the parts in a folder hold."""
    parts = sorted(str(part) for part in folder.glob(PARTS))
    if not parts:
        return set()
    batches = dataset.dataset(parts, schema=SCHEMA).scanner(columns=["image"]).to_batches()
    return {name for batch in batches for name in batch["image"].unique().to_pylist()}


def keep_settings(folder: Path, settings: dict[str, Any], **noted: Any) -> None:
    """Writes what the results are made with, or compares it with what a folder was begun with.

    Args:
        folder: of the results.
        settings: with which all of them are to be made.
        **noted: what is written with them, and may be another later.

    Raises:
        ValueError: the folder holds results of another model or other prompts.
    """
    file = folder / SETTINGS
    if not file.exists():
        write_json({**settings, **noted}, str(file))
        return
    refuse_other_settings(folder, json.loads(file.read_text(encoding="utf-8")), settings)
