"""The trial of a pickle, as a program of its own: reads it from standard input under limits, and answers by its end.

It stands alone (standard library only), so that it begins in milliseconds and an end by force takes nothing with it.
"""

import gc
import io
import pickle
import sys
from collections.abc import Iterable
from typing import Any

MAX_DEPTH = 20  # of containers within containers; RefCOCO has 5
MAX_ELEMENTS = 20_000_000  # that a walk through everything sees
LEAVES = {str, bytes, int, float, bool, type(None)}


class PlainUnpickler(pickle.Unpickler):
    """Builds what pickle makes without looking up any name; without names there is nothing that could be called."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="latin-1")

    def find_class(self, module: str, name: str) -> Any:
        """Refuses every name."""
        raise ValueError(f"asks for {module}.{name}, which could run code")


def check(value: Any) -> None:
    """Raises ValueError for anything but lists, dicts, tuples, strings and numbers, or for too much of them."""
    elements, _ = _size([value], 0, {})
    if elements > MAX_ELEMENTS:
        raise ValueError(f"holds more than {MAX_ELEMENTS} elements, or itself")


def _size(value: Any, depth: int, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Elements and levels of a container as a walk sees them, which comes to a shared one again and again."""
    if id(value) not in known:
        _check_depth(depth)
        known[id(value)] = (MAX_ELEMENTS + 1, 0)  # of one that holds itself: no end
        inner = [_size(each, depth + 1, known) for each in _members(value) if not _is_leaf(each)]
        levels = 1 + max((levels for _, levels in inner), default=0)
        _check_depth(depth + levels - 1)
        known[id(value)] = (len(value) + sum(elements for elements, _ in inner), levels)
    return known[id(value)]


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"has more than {MAX_DEPTH} levels")


def _members(value: Any) -> Iterable[Any]:
    if type(value) is dict:
        return (*value, *value.values())
    if type(value) in (list, tuple):
        return value
    raise ValueError(f"holds a {type(value).__name__}")


def _is_leaf(value: Any) -> bool:
    if type(value) is int and abs(value) >= 2**63:
        raise ValueError("holds a whole number of more than 64 bits")
    return type(value) in LEAVES


def _limit(seconds: int, memory: int) -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


if __name__ == "__main__":
    _limit(int(sys.argv[1]), int(sys.argv[2]))
    gc.disable()  # the many new objects all stay
    try:
        check(PlainUnpickler(sys.stdin.buffer.read()).load())
    except Exception as error:  # a damaged pickle may raise nearly anything
        sys.stdout.buffer.write((str(error) or type(error).__name__)[:1000].encode(errors="replace"))
        sys.exit(1)
