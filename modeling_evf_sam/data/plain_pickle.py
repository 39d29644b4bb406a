"""Pickles that hold data and nothing else."""

import io
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from modeling_evf_sam.quoting import quoted

MAX_BYTES = 2**26  # of a file; the largest of the published ones has two thirds of it
MAX_COST = 700_000_000  # of all steps; about the bytes that they can take
MAX_DEPTH = 20  # of containers within containers; RefCOCO has 5
MAX_ELEMENTS = 20_000_000  # that a walk through everything sees

Step = Callable[[Any], None]


def _costs(cost: int, codes: str) -> dict[int, int]:
    return {getattr(pickle, code)[0]: cost for code in codes.split()}


# What there is to build lists, dicts, tuples, strings and numbers, with the bytes that a step may take, and its time.
# Names are read to be told. Sets and whole numbers of many digits are left out: both can be made to take hours.
COSTS = {
    **_costs(60, "PROTO FRAME STOP MARK POP POP_MARK DUP GET BINGET LONG_BINGET APPEND APPENDS SETITEM SETITEMS"),
    **_costs(80, "NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT STRING BINSTRING"),
    **_costs(80, "SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES"),
    **_costs(100, "PUT BINPUT LONG_BINPUT MEMOIZE GLOBAL STACK_GLOBAL INST"),
    **_costs(250, "EMPTY_LIST LIST EMPTY_DICT DICT EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3"),
}


def _small(step: Step) -> Step:
    def checked(unpickler: Any) -> None:
        step(unpickler)
        number = unpickler.stack[-1]
        if abs(number) >= 2**63:
            raise ValueError("holds a whole number of more than 64 bits")

    return checked


class _Steps(dict[int, tuple[int, Step]]):
    """Opcode -> cost, and what it does; each look-up is one step, and all of them together have a bound."""

    left = MAX_COST

    def __getitem__(self, code: int) -> Any:
        cost, step = self.get(code) or _refuse(code)
        self.left -= cost
        if self.left < 0:
            raise ValueError("holds too much")
        return step


def _refuse(code: int) -> Any:
    raise ValueError(f"does what plain data does not need (opcode {code:#04x})")


class _PlainUnpickler(pickle._Unpickler):
    """Builds lists, dicts, tuples, strings and numbers: what pickle makes without looking up any name.

    It is the slow one of Python's two, because that keeps numbered objects in a dict. The fast one, before it was
    mended, keeps an array as long as the highest number, and a file of ten bytes can make it fill the memory.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="latin-1")
        numbers = {pickle.INT[0], pickle.LONG[0], pickle.LONG1[0]}
        steps: dict[int, Step] = {**super().dispatch}
        steps = {**steps, **{code: _small(steps[code]) for code in numbers}}
        self.dispatch = _Steps({code: (cost, steps[code]) for code, cost in COSTS.items()})  # type: ignore

    def find_class(self, module: str, name: str) -> Any:
        raise ValueError(f"asks for {quoted(f'{module}.{name}')[1:-1]}, which could run code")


def load_plain_pickle(path: Path) -> Any:
    """Reads a pickle of lists, dicts, tuples, strings and numbers; strings of Python 2 are taken as Latin-1.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged or too large, or holds anything else, and then nothing of it has been run.
    """
    try:
        value = _PlainUnpickler(_bounded_bytes(path)).load()
        _check_size(value)
    except FileNotFoundError:
        raise FileNotFoundError(f"'{path}' does not exist: check the path of the dataset") from None
    except Exception as error:  # a damaged pickle may raise nearly anything
        reason = quoted(str(error) or type(error).__name__)[1:-1]
        raise ValueError(f"'{path}' is refused ({reason}): a pickle of plain data is needed") from None
    return value


def _bounded_bytes(path: Path) -> bytes:
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise ValueError("it is no regular file")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes")
    return path.read_bytes()


def _check_size(value: Any) -> None:
    elements, _ = _size(value, 0, {})
    if elements > MAX_ELEMENTS:
        raise ValueError(f"holds more than {MAX_ELEMENTS} elements, or itself")


def _size(value: Any, depth: int, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Elements and levels of a container as a walk sees them, which comes to a shared one again and again."""
    if id(value) not in known:
        if depth > MAX_DEPTH:
            raise ValueError(f"has more than {MAX_DEPTH} levels")
        known[id(value)] = (MAX_ELEMENTS + 1, 0)  # of one that holds itself: no end
        inner = [_size(each, depth + 1, known) for each in _members(value) if isinstance(each, (list, tuple, dict))]
        levels = 1 + max((levels for _, levels in inner), default=0)
        if levels > MAX_DEPTH:
            raise ValueError(f"has more than {MAX_DEPTH} levels")
        known[id(value)] = (len(value) + sum(elements for elements, _ in inner), levels)
    return known[id(value)]


def _members(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value
