"""Files that appear whole or not at all."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]

PREFIX = ".evf-sam-"
ANCESTORS = 3  # of an output, where its hidden folder may have been


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
    remove_stale(output)
    try:
        staging, lock = _locked_folder(nearest)
    except OSError as error:
        raise ValueError(f"cannot write into '{output}' ({error.strerror}): choose another folder") from None
    try:
        whole = staging / "whole"
        whole.mkdir()
        yield whole
        output.parent.mkdir(parents=True, exist_ok=True)
        if replace and output.exists():
            output.rename(staging / "former")
        try:
            whole.rename(output)
        except OSError:  # it exists by now
            for file in sorted(whole.iterdir()):
                os.replace(file, output / file.name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        os.close(lock)


def remove_stale(output: Path) -> None:
    """Removes what killed runs left where `whole_folder(output)` works; a live run's folders are locked, and stay."""
    for folder in (output, *output.absolute().parents[:ANCESTORS]):
        _remove_stale_in(folder.absolute())


@cache  # once in a process: there may be many files
def _remove_stale_in(folder: Path) -> None:
    for staging in folder.glob(f"{PREFIX}*"):
        with suppress(OSError):
            lock = os.open(staging, os.O_RDONLY)
            try:
                _lock(lock)
                shutil.rmtree(staging)
            finally:
                os.close(lock)


def _locked_folder(parent: Path) -> tuple[Path, int]:
    """A new hidden folder, and the open file that keeps it locked while this process lives."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        with suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY)
            with suppress(OSError):  # a file system without locks, where nothing is ever taken for stale
                _lock(lock)
            if folder.exists():  # not taken for stale before it was locked
                return folder, lock
            os.close(lock)


def _lock(file: int) -> None:
    if fcntl is None:
        raise OSError("there are no locks of folders on this system")
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def saving(output: Path, then: str = "start again") -> Iterator[None]:
    """Turns whatever the libraries raise when a file cannot be written into an OSError that says what was written.

    Args:
        output: what is being written.
        then: what to do when there is room.
    """
    try:
        yield
    except Exception as error:
        # torch raises a RuntimeError, safetensors an error of its own, tokenizers a bare Exception
        if not isinstance(error, OSError | RuntimeError) and type(error).__name__ not in (
            "SafetensorError",
            "Exception",
        ):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise OSError(f"cannot write '{output}' ({reason}): make room, then {then}") from error


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
