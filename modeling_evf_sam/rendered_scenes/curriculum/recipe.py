"""Recipes: a training run as data, read from YAML and checked before anything is built."""

import dataclasses
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

RECIPES = files("modeling_evf_sam.training") / "recipes"


@dataclass(kw_only=True)
class Stage:
    """One stage of a run.

    Attributes:
        objective: what is learned: "prompts", "sight", "patches", "text" or "scores" (`training.objectives`).
        steps: optimiser steps.
        batch_size: scenes per step.
        learning_rate: peak of the schedule: linear warm-up, then cosine decay to zero.
        decoder_learning_rate: the same for SAM's mask decoder; default `learning_rate`.
        warmup_steps: steps of the warm-up.
        weight_decay: AdamW's decay of weight matrices.
        kinds: kinds of sentences to draw, default all; as a mapping, with the share of each.
        sentences_per_scene: sentences of each scene.
        eval_every: steps between evaluations on held-out scenes.
    """

    objective: str
    steps: int
    batch_size: int
    learning_rate: float
    decoder_learning_rate: float | None = None
    warmup_steps: int = 200
    weight_decay: float = 0.01
    kinds: list[str] | dict[str, float] | None = None
    sentences_per_scene: int = 4
    eval_every: int = 1000


@dataclass(kw_only=True)
class Recipe:
    """A whole run.

    Attributes:
        model: arguments of `EvfSamConfig`.
        tokenizer: arguments of `training.tokenizer.train_tokenizer`.
        stages: name -> `Stage`, in the order in which they run.
        seed: seed of weights, scenes and order.
        workers: processes that prepare batches.
        eval_scenes: held-out scenes of an evaluation during training.
    """

    model: dict[str, Any]
    tokenizer: dict[str, Any]
    stages: dict[str, Stage]
    seed: int = 0
    workers: int = 1
    eval_scenes: int = 128


def load_recipe(name: str, changes: list[str] | None = None) -> Recipe:
    """Read a recipe by the name of a shipped one or by its file.

    Args:
        name: "rendered_scenes", or the path of a YAML file.
        changes: entries to replace, as "stages.text.steps=100"; values are read as YAML.

    Raises:
        ValueError: for an unknown recipe or key; the message lists the known ones.
    """
    values = read_recipe(name, changes)
    stages = values.pop("stages", None) or {}
    if not stages:
        raise ValueError(f"{name} has no stages")
    return build(
        Recipe, {**values, "stages": {key: build(Stage, stage, f"stages.{key}.") for key, stage in stages.items()}}
    )


def read_recipe(name: str, changes: list[str] | None = None) -> dict[str, Any]:
    """The entries of a recipe of any kind, changed, but not checked yet.

    Raises:
        ValueError: there is no such recipe, it is not YAML, or a change does not fit.
    """
    shipped = RECIPES / f"{name}.yaml"
    path = Path(name) if Path(name).suffix in (".yaml", ".yml") else Path(str(shipped))
    if not path.is_file():
        known = sorted(Path(str(entry)).stem for entry in RECIPES.iterdir())
        raise ValueError(f"no recipe {name}: give a YAML file or one of {', '.join(known)}")
    try:
        values = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML ({error})") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} is not a recipe: it must be a mapping")
    for change in changes or []:
        _set(values, change)
    return values


def _set(values: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    *parents, last = key.split(".")
    if not equals:
        raise ValueError(f"--set {change}: write key=value")
    place: Any = values
    for parent in parents:
        place = place.get(parent)
        if not isinstance(place, dict):
            raise ValueError(f"--set {change}: the recipe has no {parent}")
    try:
        place[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ValueError(f"--set {change}: the value is not YAML") from None


def build(cls: type, values: dict[str, Any], where: str = "") -> Any:
    """An instance of a dataclass; `where` begins the names in messages.

    Raises:
        ValueError: for unknown and missing entries; the message lists the known ones.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}
    unknown = [where + key for key in values if key not in fields]
    missing = [
        where + name
        for name, field in fields.items()
        if name not in values and field.default is field.default_factory is dataclasses.MISSING
    ]
    if unknown:
        raise ValueError(f"unknown recipe keys: {', '.join(unknown)}; known: {', '.join(fields)}")
    if missing:
        raise ValueError(f"the recipe lacks {', '.join(missing)}")
    return cls(**values)
