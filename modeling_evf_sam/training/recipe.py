"""Recipes with a `data` section: the paper's training, on annotated photos, as data that is checked first."""

import dataclasses
import typing
from dataclasses import dataclass, field
from types import UnionType
from typing import Any

from modeling_evf_sam.rendered_scenes.curriculum.recipe import build, read_recipe
from modeling_evf_sam.training.freezing import PAPERS_PARTS, PARTS

PRECISIONS = ("auto", "float32", "bfloat16")
EMBEDDING_DTYPES = ("float32", "bfloat16")
BAD_SAMPLES = ("stop", "skip")


@dataclass(kw_only=True)
class DatasetName:
    """A dataset, as `evf-sam evaluate` names it.

    Attributes:
        name: as in docs/data.md; `{root}` in it becomes `data.root`.
        split: for those that have splits.
    """

    name: str
    split: str | None = None


@dataclass(kw_only=True)
class DatasetShare(DatasetName):
    """A dataset to train on, with the share of its draws in any unit."""

    rate: float = 1.0


@dataclass(kw_only=True)
class DataSettings:
    """What is trained on.

    Attributes:
        datasets: drawn from by their rates.
        root: what `{root}` stands for in names.
        validation: scored every `eval_every` steps.
        validation_photos: how many of its photos; default all.
        sentences_per_photo: at the most.
        include_held_out: train on photos that a RefCOCO benchmark tests on, as the paper does.
        bad_samples: "stop" at a file that cannot be read, or "skip" it and count it.
    """

    datasets: list[DatasetShare]
    root: str | None = None
    validation: DatasetName | None = None
    validation_photos: int | None = None
    sentences_per_photo: int = 3
    include_held_out: bool = False
    bad_samples: str = "stop"


@dataclass(kw_only=True)
class LoraSettings:
    """Low-rank changes of the multimodal encoder's linear layers, instead of all its weights.

    Attributes:
        rank: of each change.
        alpha: a change is scaled by alpha / rank.
        dropout: of what a change reads.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0


@dataclass(kw_only=True)
class FinetuneRecipe:
    """A whole run; what is not given is the paper's, or that of LISA, the code that it names as its base.

    Attributes:
        model: the start: "rendered_scenes" (the embedded checkpoint), a preset (fresh weights), a folder, a Hub id,
            or a mapping with arguments of `EvfSamConfig` (fresh weights).
        data: what is trained on.
        tokenizer: folder or Hub id of a tokenizer, where the model has fresh weights.
        sam: file with published weights of a SAM, where the model is otherwise fresh.
        beit3: file with published weights of a BEIT-3, where the model is otherwise fresh.
        semantic_prompts: teach `[semantic]` to a model that does not know it; default: as the model says.
        trained_parts: names from `freezing.PARTS`.
        steps: optimiser steps.
        batch_size: photos of a step, over all processes and micro-batches.
        per_device_batch_size: photos that one process computes at a time.
        learning_rate: peak; after a linear warm-up it decays linearly to zero.
        warmup_steps: steps of the warm-up.
        betas: AdamW's.
        weight_decay: AdamW's.
        max_grad_norm: bound of the gradient's norm.
        precision: "float32", "bfloat16" (mixed), or "auto": the latter on a GPU that has it.
        activation_checkpointing: compute activations twice instead of keeping them.
        embedding_cache: folder for the image encoder's outputs; the run then does without the encoder.
        embedding_dtype: of the files in it.
        lora: train low-rank changes of the multimodal encoder instead of the whole.
        deepspeed: "zero2", "zero3", or the path of a DeepSpeed configuration.
        eval_every: steps between evaluations; one more follows the last step.
        eval_batch_size: photos that one process scores at a time.
        save_every: steps between checkpoints.
        keep_checkpoints: how many.
        log_every: steps between lines of the log.
        workers: processes that prepare batches, for each training process.
        seed: of fresh weights and of the order of the data.
    """

    model: str | dict[str, Any]
    data: DataSettings
    tokenizer: str | None = None
    sam: str | None = None
    beit3: str | None = None
    semantic_prompts: bool | None = None
    trained_parts: list[str] = field(default_factory=lambda: list(PAPERS_PARTS))
    steps: int = 15_000
    batch_size: int = 128
    per_device_batch_size: int = 16
    learning_rate: float = 1e-4
    warmup_steps: int = 100
    betas: list[float] = field(default_factory=lambda: [0.9, 0.95])
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    precision: str = "auto"
    activation_checkpointing: bool = False
    embedding_cache: str | None = None
    embedding_dtype: str = "float32"
    lora: LoraSettings | None = None
    deepspeed: str | None = None
    eval_every: int = 1000
    eval_batch_size: int = 8
    save_every: int = 500
    keep_checkpoints: int = 2
    log_every: int = 10
    workers: int = 4
    seed: int = 0

    def micro_batches(self, processes: int) -> int:
        """Micro-batches that each of the processes computes for a step.

        Raises:
            ValueError: the batch does not divide.
        """
        together = self.per_device_batch_size * processes
        if self.batch_size % together:
            raise ValueError(
                f"batch_size {self.batch_size} is no multiple of per_device_batch_size {self.per_device_batch_size} x "
                f"{processes} processes: change one of them"
            )
        return self.batch_size // together


def load_finetune_recipe(name: str, changes: list[str] | None = None) -> FinetuneRecipe:
    """Read a recipe with a `data` section by the name of a shipped one or by its file.

    Args:
        name: such as "refcoco", or the path of a YAML file.
        changes: entries to replace, as "data.root=photos"; values are read as YAML.

    Raises:
        ValueError: for an unknown recipe or key, or a value of a wrong kind; the message names it.
    """
    values = read_recipe(name, changes)
    if not isinstance(values.get("data"), dict) or not isinstance(values["data"].get("datasets"), list):
        raise ValueError(f"{name} has no data.datasets: list what to train on")
    data = dict(values["data"])
    data["datasets"] = [_typed(DatasetShare, entry, f"data.datasets.{i}.") for i, entry in enumerate(data["datasets"])]
    if data.get("validation") is not None:
        data["validation"] = _typed(DatasetName, data["validation"], "data.validation.")
    values["data"] = _typed(DataSettings, data, "data.")
    if values.get("lora") is not None:
        values["lora"] = _typed(LoraSettings, values["lora"], "lora.")
    recipe = _typed(FinetuneRecipe, values, "")
    _check(recipe)
    return recipe


def _typed(cls: type, values: Any, where: str) -> Any:
    """An instance of `cls` whose values are of the declared types, with the errors of `build` and of `_value`."""
    if not isinstance(values, dict):
        raise ValueError(f"{where.rstrip('.')} is {values!r}: write a mapping with {_names(cls)}")
    built = build(cls, values, where)
    types = typing.get_type_hints(cls)
    for name in values:
        setattr(built, name, _value(types[name], values[name], where + name))
    return built


def _names(cls: type) -> str:
    return ", ".join(entry.name for entry in dataclasses.fields(cls))


def _value(kind: Any, value: Any, name: str) -> Any:
    """The value as one of the declared kinds; YAML reads 1e-4, without a point, as a string."""
    kinds = typing.get_args(kind) if isinstance(kind, UnionType) else (kind,)
    kinds = tuple(typing.get_origin(each) or each for each in kinds)
    if float in kinds and not isinstance(value, bool):
        try:
            return value if value is None else float(value)
        except (TypeError, ValueError):
            raise ValueError(f"{name} is {value!r}: write a number") from None
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        expected = " or ".join("null" if each is type(None) else each.__name__ for each in kinds)
        raise ValueError(f"{name} is {value!r}: expected {expected}")
    return value


def _check(recipe: FinetuneRecipe) -> None:
    data = recipe.data
    counts = ("steps", "batch_size", "per_device_batch_size", "eval_every", "eval_batch_size", "save_every")
    for name in (*counts, "keep_checkpoints", "log_every"):
        if getattr(recipe, name) < 1:
            raise ValueError(f"{name} is {getattr(recipe, name)}: it must be at least 1")
    choices = [
        ("precision", recipe.precision, PRECISIONS),
        ("embedding_dtype", recipe.embedding_dtype, EMBEDDING_DTYPES),
        ("data.bad_samples", data.bad_samples, BAD_SAMPLES),
        *(("trained_parts", part, tuple(PARTS)) for part in recipe.trained_parts),
    ]
    for name, value, known in choices:
        if value not in known:
            raise ValueError(f"{name} is {value!r}, expected one of {', '.join(known)}")
    if len(recipe.betas) != 2 or not all(isinstance(beta, float) for beta in recipe.betas):
        raise ValueError(f"betas is {recipe.betas}: write two numbers, as [0.9, 0.95]")
    if recipe.embedding_cache and "image_encoder" in recipe.trained_parts:
        raise ValueError("an embedding_cache needs a frozen image encoder: take image_encoder out of trained_parts")
    for dataset in (*data.datasets, *filter(None, [data.validation])):
        if "{root}" in dataset.name and not data.root:
            raise ValueError(f"dataset '{dataset.name}' needs data.root: add --set data.root=DIR")
        dataset.name = dataset.name.replace("{root}", data.root or "")
