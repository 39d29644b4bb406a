"""Values of others in messages: short, in one line, and made in no time, however large the value is."""

import reprlib

LENGTH = 200  # characters
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60
_SHORT.maxlevel = _SHORT.maxlist = _SHORT.maxdict = 4


def quoted(value: object) -> str:
    """The value as Python writes it, with `...` for most of a long one."""
    try:
        text = " ".join(line.strip() for line in _SHORT.repr(value).splitlines())  # arrays have several
    except ValueError:  # a whole number of thousands of digits
        return f"a very long {type(value).__name__}"
    return text if len(text) <= LENGTH else f"{text[: LENGTH - 3]}..."
