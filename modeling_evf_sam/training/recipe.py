"""Recipes with a `data` section: the paper's training, on annotated photos, as data that is checked first."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from huggingface_hub.dataclasses import strict

from modeling_evf_sam.training.freezing import PAPERS_PARTS, Part
from modeling_evf_sam.training.recipe_files import build, count, random_seed, read_recipe


@strict
@dataclass(kw_only=True)
class DatasetName:
    """A dataset, as `evf-sam evaluate` names it.

    Attributes:
        name: as in docs/data.md; `{root}` in it becomes `data.root`.
        split: for those that have splits.
    """

    name: str
    split: str | None = None


@strict
@dataclass(kw_only=True)
class DatasetShare(DatasetName):
    """A dataset to train on, with the share of its draws in any unit."""

    rate: float = 1.0


@strict
@dataclass(kw_only=True)
class DataSettings:
    """What is trained on.

    Attributes:
        datasets: drawn from by their rates.
        root: what `{root}` stands for in names.
        validation: scored every `eval_every` steps.
        validation_photos: how many of its photos; default all.
        sentences_per_photo: at the most.
        negatives: share of the sentences that give their place to one of another photo of the same dataset, about what
            the photo does not show; 0.5 for as many as are there.
        flips: share of the photos that are shown the other way round, with "left" and "right" exchanged in their
            sentences; for English alone. A sentence with a number, writing or a person's own side leaves its photo as
            it is.
        include_held_out: train on photos that a RefCOCO benchmark tests on, as the paper does.
        bad_samples: "stop" at a file that cannot be read, or "skip" it and count it.
    """

    datasets: list[DatasetShare]
    root: str | None = None
    validation: DatasetName | None = None
    validation_photos: int | None = None
    sentences_per_photo: int = 3
    negatives: float = 0.0
    flips: float = 0.0
    include_held_out: bool = False
    bad_samples: Literal["stop", "skip"] = "stop"


@strict
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


@strict
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
        fsdp: "full_shard", or the path of a JSON file with transformers' `fsdp_config`: FSDP2 over all processes.
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
    trained_parts: list[Part] = field(default_factory=lambda: list(PAPERS_PARTS))
    steps: int = count(default=15_000)
    batch_size: int = count(default=128)
    per_device_batch_size: int = count(default=16)
    learning_rate: float = 1e-4
    warmup_steps: int = 100
    betas: list[float] = field(default_factory=lambda: [0.9, 0.95])
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    activation_checkpointing: bool = False
    embedding_cache: str | None = None
    embedding_dtype: Literal["float32", "bfloat16"] = "float32"
    lora: LoraSettings | None = None
    deepspeed: str | None = None
    fsdp: str | None = None
    eval_every: int = count(default=1000)
    eval_batch_size: int = count(default=8)
    save_every: int = count(default=500)
    keep_checkpoints: int = count(default=2)
    log_every: int = count(default=10)
    workers: int = 4
    seed: int = random_seed(default=0)

    def validate_betas(self) -> None:
        """AdamW has two."""
        if len(self.betas) != 2:
            raise ValueError(f"betas is {self.betas}: write two numbers, as [0.9, 0.95]")

    def validate_cache(self) -> None:
        """The image encoder's outputs can be kept only while it stays as it is."""
        if self.embedding_cache and "image_encoder" in self.trained_parts:
            raise ValueError(
                "an embedding_cache needs a frozen image encoder: take image_encoder out of trained_parts"
            )

    def validate_sharding(self) -> None:
        """One way to shard at a time; what LoRA trains is too little for it."""
        if self.fsdp and (self.deepspeed or self.lora):
            raise ValueError(f"fsdp goes without {'deepspeed' if self.deepspeed else 'lora'}: take one of them out")

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


def load_finetune_recipe(name: str, changes: Iterable[str] = ()) -> FinetuneRecipe:
    """Read a recipe with a `data` section by the name of a shipped one or by its file.

    Args:
        name: such as "refcoco", or the path of a YAML file.
        changes: entries to replace, as "data.root=photos"; values are read as YAML.

    Raises:
        ValueError: for an unknown recipe or key, or a value of a wrong kind; the message names it.
    """
    recipe = build(FinetuneRecipe, read_recipe(name, changes))
    root = recipe.data.root
    for dataset in (*recipe.data.datasets, *filter(None, [recipe.data.validation])):
        if "{root}" in dataset.name and not root:
            raise ValueError(f"dataset '{dataset.name}' needs data.root: add --set data.root=DIR")
        dataset.name = dataset.name.replace("{root}", root or "")
    return recipe
