"""Recipe files: YAML with changes of single entries, checked against strict dataclasses before anything is built."""

import dataclasses
import math
import re
from collections.abc import Iterable
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from huggingface_hub.dataclasses import as_validated_field
from huggingface_hub.errors import StrictDataclassClassValidationError, StrictDataclassFieldValidationError

from modeling_evf_sam.quoting import quoted
from modeling_evf_sam.training.plain_yaml import MAX_CHARACTERS, load_settings

T = TypeVar("T")

PACKAGE = Path(__file__).parents[1]  # each of its rooms may ship recipes
WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", NoneType: "null"}


@as_validated_field
def count(value: int) -> None:
    """A field of a strict dataclass that is 1 or more."""
    if value < 1:
        raise ValueError("it must be at least 1")


@as_validated_field
def random_seed(value: int) -> None:
    """A field of a strict dataclass that numpy, Python and torch take as a seed."""
    if not 0 <= value < 2**32:
        raise ValueError("it must be 0 to 4294967295")


def read_recipe(name: str, changes: Iterable[str] = ()) -> dict[str, Any]:
    """The entries of a recipe of any kind, changed, but not checked yet.

    Args:
        name: of a shipped recipe, or the path of a YAML file.
        changes: entries to replace, as "stages.text.steps=100"; values are read as YAML.

    Raises:
        ValueError: there is no such recipe, it is not YAML, or a change does not fit.
    """
    shipped = {path.stem: path for path in sorted(PACKAGE.glob("*/recipes/*.yaml"))}
    path = Path(name) if Path(name).suffix in (".yaml", ".yml") else shipped.get(name)
    if path is None or not path.is_file():
        raise ValueError(f"no recipe {name}: give a YAML file or one of {', '.join(sorted(shipped))}")
    values = read_settings(path)
    if not isinstance(values, dict):
        raise ValueError(f"{path} is not a recipe: it must be a mapping")
    for change in changes:
        _set(values, change)
    return values


def read_settings(path: Path) -> Any:
    """What a YAML file of settings holds.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such file; names it.
    """
    if path.stat().st_size > 4 * MAX_CHARACTERS:
        raise ValueError(f"{path} has {path.stat().st_size} bytes: it is no recipe")
    try:
        return load_settings(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not YAML ({error})") from None
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None


def _set(values: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    *parents, last = key.split(".")
    name = f"--set {quoted(change)[1:-1]}"
    if not equals:
        raise ValueError(f"{name}: write key=value")
    place: Any = values
    for parent in parents:
        place = place.get(parent)
        if not isinstance(place, dict):
            raise ValueError(f"{name}: the recipe has no {quoted(parent)[1:-1]}")
    try:
        place[last] = load_settings(text)
    except ValueError as error:
        raise ValueError(f"{name}: the value {error}") from None


def build(cls: type[T], values: Any, where: str = "") -> T:
    """An instance of a strict dataclass, and of those that its fields hold, from the entries of a recipe.

    Args:
        cls: decorated with `huggingface_hub.dataclasses.strict`, which checks the values.
        values: a mapping.
        where: the dotted name of the mapping, for messages.

    Raises:
        ValueError: for unknown, missing and wrong entries; the message names the entry and what is expected.
    """
    kinds, prefix = get_type_hints(cls), f"{where}." if where else ""
    if not isinstance(values, dict):
        raise ValueError(f"{where} is {quoted(values)}: write a mapping with {', '.join(kinds)}")
    unknown = [f"{prefix}{quoted(key)[1:-1]}" for key in values if key not in kinds][:10]
    missing = [prefix + name for name in _required(cls) if name not in values]
    if unknown:
        raise ValueError(f"unknown recipe keys: {', '.join(unknown)}; known: {', '.join(kinds)}")
    if missing:
        raise ValueError(f"the recipe lacks {', '.join(missing)}")
    try:
        return cls(**{name: _convert(kinds[name], value, prefix + name) for name, value in values.items()})
    except StrictDataclassFieldValidationError as error:
        (name,) = re.findall(r"^Validation error for field '(\w+)':", str(error))
        expected = error.__cause__ if isinstance(error.__cause__, ValueError) else f"write {_expected(kinds[name])}"
        raise ValueError(f"{prefix}{name} is {quoted(values[name])}: {expected}") from None
    except StrictDataclassClassValidationError as error:
        raise ValueError(f"{prefix}{error.__cause__}") from None


def _required(cls: type) -> list[str]:
    return [
        field.name
        for field in dataclasses.fields(cls)
        if field.default is field.default_factory is dataclasses.MISSING
    ]


def _convert(kind: Any, value: Any, name: str) -> Any:
    """Make instances of mappings, and numbers of whole ones and of 1e-4, which YAML reads as a string."""
    origin, inner = get_origin(kind), get_args(kind)
    if value is None:
        return None
    if origin is UnionType:
        for each in inner:
            value = _convert(each, value, name)
        return value
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return build(kind, value, name)
    if origin is list and isinstance(value, list):
        return [_convert(inner[0], each, f"{name}.{index}") for index, each in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {key: _convert(inner[1], each, f"{name}.{quoted(key)[1:-1]}") for key, each in value.items()}
    if kind is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        return _finite(value)
    return value


def _finite(value: int | float | str) -> float | str:
    """A number that is one; text is refused later, with the name of its entry."""
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return quoted(value)
    return number if math.isfinite(number) else quoted(value)


def _expected(kind: Any) -> str:
    """A type in the words of a message."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return " or ".join(map(_expected, inner))
    if origin is Literal:
        return f"one of {', '.join(inner)}"
    if origin is list:
        return f"a list, each {_expected(inner[0])}"
    if origin is dict or dataclasses.is_dataclass(kind):
        return "a mapping"
    return WORDS.get(kind, str(kind))
