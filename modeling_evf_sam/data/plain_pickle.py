"""Pickles that hold data and nothing else."""

import io
import pickle
from pathlib import Path
from typing import Any, ClassVar, cast

REFUSED = (pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.PERSID, pickle.BINPERSID)
MAX_BYTES = 500_000_000  # the largest one published has about a tenth of that


class _PlainUnpickler(pickle._Unpickler):
    """Builds lists, dicts, tuples, sets, strings and numbers: what pickle makes without looking up any name.

    It is the slow one of Python's two, because that keeps numbered objects in a dict. The fast one, before it was
    mended, keeps an array as long as the highest number, and a file of ten bytes can make it fill the memory.
    """

    def find_class(self, module: str, name: str) -> Any:
        raise ValueError(f"asks for {module}.{name}, which could run code")

    def refuse(self) -> None:
        """What is done where a pickle asks for anything outside it, or for room before it shows what goes there."""
        raise ValueError("holds what is no plain data")

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        **dict.fromkeys([code[0] for code in REFUSED], cast(Any, refuse)),
    }


def load_plain_pickle(path: Path) -> Any:
    """Reads a pickle of containers, strings and numbers; strings of Python 2 are taken as Latin-1.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or holds anything else, and then nothing of it has been run.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES:,} bytes")
        return _PlainUnpickler(io.BytesIO(path.read_bytes()), encoding="latin-1").load()
    except FileNotFoundError:
        raise FileNotFoundError(f"'{path}' does not exist: check the path of the dataset") from None
    except Exception as error:  # a damaged pickle may raise nearly anything
        reason = str(error) or type(error).__name__
        raise ValueError(f"'{path}' is refused ({reason}): a pickle of plain data is needed") from None
