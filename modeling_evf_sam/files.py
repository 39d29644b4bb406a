"""Files that appear whole or not at all."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def whole_folder(output: Path, *, replace: bool = False) -> Iterator[Path]:
    """Gives a hidden folder whose files move into `output` when the block ends, and vanish when it fails.

    Any number of processes may write the same output side by side: the last one wins.

    Args:
        output: when it does not exist, it appears at once with all its files; otherwise files of the same names in it
            are replaced one by one, and others stay.
        replace: others go, and the new folder takes the place of the old one.

    Raises:
        ValueError: nothing can be written there. It is raised before the block runs.
    """
    # In the nearest folder that exists, so that moving stays within one file system and a failure leaves no trace.
    around = output.absolute().parents if replace else (output, *output.absolute().parents)
    nearest = next(folder for folder in around if folder.exists())
    try:
        staging = tempfile.TemporaryDirectory(prefix=".evf-sam-", dir=nearest)
    except OSError as error:
        raise ValueError(f"cannot write into '{output}' ({error.strerror}): choose another folder") from None
    with staging as folder:
        whole = Path(folder, "whole")
        whole.mkdir()
        yield whole
        output.parent.mkdir(parents=True, exist_ok=True)
        if replace and output.exists():
            output.rename(Path(folder, "former"))
        try:
            whole.rename(output)
        except OSError:  # it exists by now
            for file in sorted(whole.iterdir()):
                os.replace(file, output / file.name)


@contextmanager
def whole_file(output: Path) -> Iterator[Path]:
    """Gives a hidden path of the same name; what is written there becomes `output` when the block ends.

    Raises:
        ValueError: nothing can be written there. It is raised before the block runs.
    """
    with whole_folder(output.parent) as folder:
        yield folder / output.name


def write_json(record: dict[str, Any], destination: str | Path) -> None:
    """Writes a record to a file, or prints it where the destination is `-`."""
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
    if destination == "-":
        print(text)
        return
    with whole_file(Path(destination)) as file:
        file.write_text(text + "\n", encoding="utf-8")


def refuse_other_settings(folder: Path, begun: dict[str, Any], settings: dict[str, Any]) -> None:
    """Raises a ValueError if results in a folder were begun with other settings than those of this run."""
    changed = [name for name, value in settings.items() if begun.get(name) != value]
    if changed:
        raise ValueError(f"'{folder}' was begun with other settings ({', '.join(changed)}): choose another folder")
