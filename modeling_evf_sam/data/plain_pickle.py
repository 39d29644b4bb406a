"""Pickles that hold data and nothing else."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from modeling_evf_sam.data import pickle_trial
from modeling_evf_sam.quoting import quoted

MAX_BYTES = 2**26  # of a file; the largest of the published ones has two thirds of it
MAX_SECONDS = 4  # of the trial's processor time
MAX_MEMORY = 800 * 10**6  # of the trial, in bytes
PATIENCE = 60  # seconds that are waited for a trial, on systems that limit no processor time


def load_plain_pickle(path: Path) -> Any:
    """Reads a pickle of lists, dicts, tuples, strings and numbers; strings of Python 2 are taken as Latin-1.

    A process of its own, with little time and memory, tries it first; what passes there is read here.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged or too large, or holds anything else, and then nothing of it has been run.
    """
    try:
        content = _bounded_bytes(path)
        _try(content)
        return pickle_trial.PlainUnpickler(content).load()
    except FileNotFoundError:
        raise FileNotFoundError(f"'{path}' does not exist: check the path of the dataset") from None
    except ValueError as error:
        raise ValueError(
            f"'{path}' is refused ({quoted(str(error))[1:-1]}): a pickle of plain data is needed"
        ) from None


def _bounded_bytes(path: Path) -> bytes:
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise ValueError("it is no regular file")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes")
    return path.read_bytes()


def _try(content: bytes) -> None:
    command = [sys.executable, "-I", pickle_trial.__file__, str(MAX_SECONDS), str(MAX_MEMORY)]
    try:
        trial = subprocess.run(command, input=content, capture_output=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise ValueError("takes too long") from None
    if trial.returncode:
        raise ValueError(trial.stdout.decode(errors="replace") or "takes too much time or memory")
