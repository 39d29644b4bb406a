"""Files that appear whole or not at all."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_folder(output: Path) -> Iterator[Path]:
    """Gives a hidden folder whose files move into `output` when the block ends, and vanish when it fails.

    Args:
        output: made when it does not exist; files of the same names in it are replaced, others stay.

    Raises:
        ValueError: nothing can be written there. It is raised before the block runs.
    """
    # In the nearest folder that exists, so that moving stays within one file system and a failure leaves no trace.
    nearest = next(folder for folder in (output, *output.absolute().parents) if folder.exists())
    try:
        staging = tempfile.TemporaryDirectory(prefix=".evf-sam-", dir=nearest)
    except OSError as error:
        raise ValueError(f"cannot write into '{output}' ({error.strerror}): choose another folder") from None
    with staging as folder:
        yield Path(folder)
        output.mkdir(parents=True, exist_ok=True)
        for file in sorted(Path(folder).iterdir()):
            os.replace(file, output / file.name)


def write_json(record: dict, destination: str) -> None:
    """Writes a record to a file, or prints it where the destination is `-`."""
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
    if destination == "-":
        print(text)
        return
    path = Path(destination)
    with whole_folder(path.parent) as folder:
        (folder / path.name).write_text(text + "\n", encoding="utf-8")
