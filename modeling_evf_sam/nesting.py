"""Values of photos and their sentences, [photo][sentence]: from what a user gives, and to padded tensors."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def where(photo: int, sentence: int) -> str:
    """How messages call a sentence."""
    return f"photo {photo}, sentence {sentence}"


def nesting(images: Any, text: Any) -> Callable[[str, Any], list[list[Any]]]:
    """A function of a name and values that brings values of the same nesting as `text` into [photo][sentence].

    Raises:
        ValueError: `text` is neither a sentence nor a list; or, from the function, there are not as many values.
    """
    if not isinstance(text, (str, list, tuple)):
        raise ValueError(f"text must be a string or a list of them, not {type(text).__name__}")
    nested = isinstance(images, (list, tuple)) or any(isinstance(entry, (list, tuple)) for entry in text)

    def nest(name: str, values: Any) -> list[list[Any]]:
        if isinstance(text, str):
            return [[values]]
        if not nested:
            return [entries(name, values, len(text), "sentence")]
        rows = zip(entries(name, values, len(text), "photo"), text, strict=True)
        return [
            entries(f"{name}, photo {photo}", row, len(sentences), "sentence")
            if isinstance(sentences, (list, tuple))
            else [row]
            for photo, (row, sentences) in enumerate(rows)
        ]

    return nest


def entries(name: str, values: Any, count: int, unit: str) -> list[Any]:
    """`values` as a list of `count`; None stands for none of them.

    Raises:
        ValueError: they are not as many.
    """
    if values is None:
        return [None] * count
    if not hasattr(values, "__len__") or len(values) != count:
        raise ValueError(f"{name}: give one entry for each {unit}, {count} in all")
    return list(values)


def check_depth(name: str, values: Any, form: str, depth: int) -> None:
    """Refuse lists in too many lists, or in too few.

    Args:
        name: what messages call the values.
        values: numbers in nested lists, arrays or tensors.
        form: how they should look.
        depth: how many lists are in each other.
    """
    found = _depth(values)
    if found != depth:
        levels = abs(found - depth)
        excess = f"{levels} level{'s'[: levels - 1]} too {'many' if found > depth else 'few'}"
        raise ValueError(f"{name} for one sentence is {form}, got {_described(values)}: {excess}")


def _depth(values: Any) -> int:
    if hasattr(values, "ndim"):
        return values.ndim
    if not isinstance(values, (list, tuple)):
        return 0
    return 1 + max(map(_depth, values), default=0)


def _described(values: Any) -> str:
    if hasattr(values, "shape"):
        return f"an array of shape {tuple(values.shape)}"
    text = repr(values)
    return text if len(text) <= 60 else f"{text[:57]}..."


def stack(rows: list[list[Tensor]], fill: int, least: int = 0) -> Tensor:
    """(B, P, *largest size) from the values of P_i sentences of B photos, filled up with `fill`.

    Args:
        rows: [photo][sentence], tensors of as many dimensions as each other.
        fill: the value of absent sentences and of what is short.
        least: what the first size is at the least.
    """
    values = [value for row in rows for value in row]
    size = [max(sides) for sides in zip(*(value.shape for value in values), strict=True)]
    size[0] = max(size[0], least)
    stacked = torch.full((len(rows), max(map(len, rows)), *size), fill, dtype=values[0].dtype)
    for photo, row in enumerate(rows):
        for index, value in enumerate(row):
            stacked[photo, index][tuple(slice(side) for side in value.shape)] = value
    return stacked
