"""Libraries that a part of the package needs, and how to get them."""

from importlib import import_module


def install_hint(extra: str) -> str:
    """How to install an extra of setup.cfg. The package is in no index yet: this is the one place that says so."""
    return f"in a clone of the repository, pip install --constraint constraints.txt '.[{extra}]'"


def require(library: str, *, extra: str, what: str) -> None:
    """Makes sure that a library of an extra is there.

    Args:
        library: its module.
        extra: the extra that installs it.
        what: what needs it, as the start of a message: "a chart".

    Raises:
        ValueError: it is missing; the message names the fix.
    """
    try:
        import_module(library)
    except ImportError:
        raise ValueError(f"{what} needs {library}: {install_hint(extra)}") from None
