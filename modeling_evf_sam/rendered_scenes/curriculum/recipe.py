"""Recipes with stages: how a model is trained from nothing, read from YAML and checked before anything is built."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from huggingface_hub.dataclasses import strict

from modeling_evf_sam.training.recipe import DatasetName
from modeling_evf_sam.training.recipe_files import build, count, random_seed, read_recipe

ObjectiveName = Literal["embedding", "prompts", "sight", "patches", "text", "presence", "whole", "scores"]


@strict
@dataclass(kw_only=True)
class Budget:
    """How long and how fast is trained, and on which scenes.

    Attributes:
        steps: optimiser steps.
        batch_size: scenes per step.
        learning_rate: peak of the schedule: linear warm-up, then cosine decay to zero.
        decoder_learning_rate: the same for SAM's mask decoder; default `learning_rate`.
        warmup_steps: steps of the warm-up.
        weight_decay: AdamW's decay of weight matrices.
        kinds: kinds of sentences to draw, default all; as a mapping, with the share of each.
        sentences_per_scene: sentences of each scene.
        absent: share of the sentences that one word makes untrue.
        denied: whether each sentence is followed by one that differs in a word and is untrue.
        strangers: share of the scenes that give way to a photo, if the recipe has some, and of those of which one
            sentence gives way to one about the world; all that is untrue.
        eval_every: steps between evaluations on held-out scenes.
    """

    steps: int = count()
    batch_size: int = count()
    learning_rate: float
    decoder_learning_rate: float | None = None
    warmup_steps: int = 200
    weight_decay: float = 0.01
    kinds: list[str] | dict[str, float] | None = None
    sentences_per_scene: int = count(default=4)
    absent: float = 0.0
    denied: bool = False
    strangers: float = 0.0
    eval_every: int = count(default=1000)


@strict
@dataclass(kw_only=True)
class Stage(Budget):
    """One stage of a run: what is learned (see `objectives`), and its budget."""

    objective: ObjectiveName


@strict
@dataclass(kw_only=True)
class TokenizerSettings:
    """Arguments of `tokenizer.train_tokenizer`."""

    vocab_size: int = count()
    max_length: int = count()
    num_expressions: int = count(default=40_000)


@strict
@dataclass(kw_only=True)
class Recipe:
    """A whole run.

    Attributes:
        model: arguments of `EvfSamConfig`.
        tokenizer: arguments of `tokenizer.train_tokenizer`.
        stages: name -> `Stage`, in the order in which they run.
        seed: seed of weights, scenes and order.
        workers: processes that prepare batches.
        eval_scenes: held-out scenes of an evaluation during training.
        calibration_scenes: held-out scenes that presence and scores are compared with at the end.
        photos: datasets of photos that show none of the shapes, for stages with strangers.
    """

    model: dict[str, Any]
    tokenizer: dict[str, Any]
    stages: dict[str, Stage]
    seed: int = random_seed(default=0)
    workers: int = 1
    eval_scenes: int = 128
    calibration_scenes: int = 1000
    photos: list[DatasetName] = field(default_factory=list)

    def validate_tokenizer(self) -> None:
        """Its entries are checked before hours are spent."""
        build(TokenizerSettings, self.tokenizer, "tokenizer")

    def validate_stages(self) -> None:
        """A run without stages would be a model with random weights."""
        if not self.stages:
            raise ValueError("stages is empty: write at least one")


def load_recipe(name: str, changes: Iterable[str] = ()) -> Recipe:
    """Read a recipe by the name of a shipped one or by its file.

    Args:
        name: "rendered_scenes", or the path of a YAML file.
        changes: entries to replace, as "stages.text.steps=100"; values are read as YAML.

    Raises:
        ValueError: for an unknown recipe or key, or a value of a wrong kind; the message names it.
    """
    return build(Recipe, read_recipe(name, changes))
