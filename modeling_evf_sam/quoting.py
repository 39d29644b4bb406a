"""Values in messages: short, whatever they are."""

from reprlib import Repr
from typing import Any

LENGTH = 60  # characters

_short = Repr()
_short.maxlevel = 4  # of lists in lists, which may hold each other many times
_short.maxstring = _short.maxother = _short.maxlong = LENGTH


def quoted(value: Any) -> str:
    """A value as Python writes it, cut where that is long."""
    try:
        text = _short.repr(value)
    except ValueError:  # a number of very many digits
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= LENGTH else f"{text[: LENGTH - 3]}..."
