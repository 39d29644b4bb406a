"""Checkpoints of a run: each appears whole or not at all, and one that is not whole is never resumed from."""

import json
import logging
import os
import shutil
from pathlib import Path

logger = logging.getLogger(__name__)

MARKER = "complete.json"  # names and sizes of a checkpoint's files, written last
STAGING = ".unfinished"
THEN = "go on with --resume"  # after a disk was full


def publish(staging: Path, checkpoint: Path, *, keep: int) -> None:
    """Mark a checkpoint as whole, give it its name, and delete the oldest ones beyond `keep`."""
    files = {str(file.relative_to(staging)): file.stat().st_size for file in staging.rglob("*") if file.is_file()}
    for name in files:
        with open(staging / name, "rb") as file:
            os.fsync(file.fileno())
    (staging / MARKER).write_text(json.dumps(files, indent=2) + "\n")
    if checkpoint.exists():  # of the same step, and not whole: a resumed run came here again
        shutil.rmtree(checkpoint)
    staging.rename(checkpoint)
    staging.parent.rmdir()
    for old in _by_step(checkpoint.parent)[:-keep]:
        shutil.rmtree(old)


def newest_checkpoint(output: Path) -> Path | None:
    """The checkpoint to resume from; None where there is none. Those that are not whole are passed over, and named."""
    for checkpoint in reversed(_by_step(output)):
        if is_whole(checkpoint):
            return checkpoint
        logger.warning("%s is not whole, as its run was stopped while it was written: ignored", checkpoint)
    return None


def is_whole(checkpoint: Path) -> bool:
    """Whether all files that the marker lists are there, in full length."""
    try:
        files = json.loads((checkpoint / MARKER).read_text())
        return all((checkpoint / name).stat().st_size == size for name, size in files.items())
    except (OSError, ValueError, AttributeError):
        return False


def _by_step(output: Path) -> list[Path]:
    found = [path for path in output.glob("checkpoint-*") if path.name.partition("-")[2].isdecimal()]
    return sorted(found, key=lambda path: int(path.name.partition("-")[2]))
