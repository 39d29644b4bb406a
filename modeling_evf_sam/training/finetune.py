"""Runs a recipe with a `data` section: from annotated photos to a checkpoint."""

import dataclasses
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate import PartialState
from PIL import Image, ImageOps
from rich.console import Console
from rich.progress import track
from transformers import TrainingArguments
from transformers.integrations.deepspeed import set_hf_deepspeed_config, unset_hf_deepspeed_config

from modeling_evf_sam.data.mixture import DatasetMixture
from modeling_evf_sam.data.referring_dataset import ReferringDataset
from modeling_evf_sam.files import saving, whole_file, whole_folder
from modeling_evf_sam.modeling_evf_sam import EvfSamModel
from modeling_evf_sam.processing_evf_sam import EvfSamProcessor
from modeling_evf_sam.training.arguments import training_arguments
from modeling_evf_sam.training.checkpoints import STAGING, THEN, newest_checkpoint
from modeling_evf_sam.training.collate import ReferringCollator
from modeling_evf_sam.training.draws import Draws, training_datasets, validation_dataset
from modeling_evf_sam.training.embedding_cache import CachedProcessor, EmbeddingCache
from modeling_evf_sam.training.freezing import Part, freeze_all_but
from modeling_evf_sam.training.lora import add_lora, merge_lora
from modeling_evf_sam.training.recipe import FinetuneRecipe
from modeling_evf_sam.training.recipe_files import build, read_settings
from modeling_evf_sam.training.starting_model import starting_model
from modeling_evf_sam.training.trainer import ReferringTrainer

logger = logging.getLogger(__name__)

DEEPSPEED = files(__package__) / "deepspeed"
RECIPE_FILE = "recipe.yaml"
FREE_KEYS = {  # a run may go on with other values of these: they do not touch what is learned
    *("per_device_batch_size", "activation_checkpointing", "embedding_cache", "workers"),
    *("eval_every", "eval_batch_size", "save_every", "keep_checkpoints", "log_every"),
}


def run_finetune(recipe: FinetuneRecipe, output: Path, *, resume: bool = False) -> Path:
    """Train a model on annotated photos, alone or as one of the processes that a launcher started.

    Args:
        recipe: what to train on what.
        output: folder for checkpoints and logs and, at the end, `output/model`.
        resume: go on from the newest whole checkpoint in `output`; from the start where there is none.

    Returns:
        The folder of the trained model.

    Raises:
        ValueError, OSError: a dataset, file or value is wrong, or `output` holds another run.
    """
    micro_batches = recipe.micro_batches(int(os.environ.get("WORLD_SIZE", "1")))
    checkpoint = _checkpoint_of(recipe, output, resume)
    datasets, validation = training_datasets(recipe.data), validation_dataset(recipe.data)
    mixture = DatasetMixture(
        datasets,
        rates=[entry.rate for entry in recipe.data.datasets],
        size=recipe.steps * recipe.batch_size,
        sentences_per_photo=recipe.data.sentences_per_photo,
        negatives=recipe.data.negatives,
        flips=recipe.data.flips,
        seed=recipe.seed,
    )
    arguments = _arguments(
        recipe, output, micro_batches, evaluate=validation is not None, resumed=checkpoint is not None
    )
    with _whole_weights(arguments):
        model, processor = starting_model(recipe)
        head: list[Part] = [] if model.presence_head is None else ["presence_head"]  # it has to follow what it reads
        freeze_all_but(model, {*recipe.trained_parts, *head})
        photos = [*datasets, *filter(None, [validation])]
        views, image_encoder = _with_cache(recipe, arguments, model, processor, photos)
        if recipe.lora is not None:
            add_lora(model, recipe.lora)
    if recipe.activation_checkpointing and not recipe.fsdp:  # which has its own
        new = hasattr(model, "activation_checkpointing_enable")  # since transformers 5.23
        getattr(model, "activation_checkpointing_enable" if new else "gradient_checkpointing_enable")()
    _start_folder(recipe, arguments)

    skip = recipe.data.bad_samples == "skip"
    trainer = ReferringTrainer(
        model=model,
        args=arguments,
        processing_class=processor,
        data_collator=ReferringCollator(views),
        train_dataset=Draws(mixture, processor, skip=skip),
        eval_dataset=validation,
        skip_faults=skip,
        image_encoder=image_encoder,
    )
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    if validation is not None and recipe.steps % recipe.eval_every:
        trainer.evaluate()
    if validation is not None and head:
        trainer.calibrate(recipe.data.negatives)
    trainer.report_faults()
    _save_model(trainer, recipe, output)
    return output / "model"


def _arguments(
    recipe: FinetuneRecipe, output: Path, micro_batches: int, *, evaluate: bool, resumed: bool
) -> TrainingArguments:
    """The Trainer's settings for a recipe."""
    return training_arguments(
        output,
        seed=recipe.seed,
        workers=recipe.workers,
        max_steps=recipe.steps,
        per_device_train_batch_size=recipe.per_device_batch_size,
        per_device_eval_batch_size=recipe.eval_batch_size,
        gradient_accumulation_steps=micro_batches,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="linear",
        train_sampling_strategy="sequential",  # the draws are in a random order already, the same in every start
        warmup_steps=recipe.warmup_steps,
        adam_beta1=recipe.betas[0],
        adam_beta2=recipe.betas[1],
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        bf16=_use_bfloat16(recipe),
        deepspeed=_deepspeed_file(recipe.deepspeed),
        fsdp=bool(recipe.fsdp),
        fsdp_config=recipe.fsdp and _fsdp_config(recipe.fsdp, recipe.activation_checkpointing),
        ddp_find_unused_parameters=False,  # what no gradient reaches is frozen
        eval_strategy="steps" if evaluate else "no",
        eval_steps=recipe.eval_every,
        eval_on_start=evaluate and not resumed,
        save_strategy="steps",
        save_steps=recipe.save_every,
        save_total_limit=recipe.keep_checkpoints,
        logging_steps=recipe.log_every,
    )


def _use_bfloat16(recipe: FinetuneRecipe) -> bool:
    if recipe.precision == "auto":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return recipe.precision == "bfloat16"


def _deepspeed_file(name: str | None) -> str | None:
    if name is None:
        return None
    shipped = Path(str(DEEPSPEED / f"{name}.json"))
    path = shipped if shipped.is_file() else Path(name)
    if not path.is_file():
        raise ValueError(f"deepspeed '{name}' is no file: give zero2, zero3, or a DeepSpeed configuration")
    return str(path)


def _fsdp_config(name: str, activation_checkpointing: bool) -> dict[str, Any]:
    """Parameters are gathered for a forward and once more for its backward; checkpoints hold whole tensors."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        raise ValueError("fsdp shards a model over several processes: start them with torchrun, or take it out")
    config = {"version": 2, "reshard_after_forward": True, "activation_checkpointing": activation_checkpointing}
    if name == "full_shard":
        return config
    try:
        return config | json.loads(Path(name).read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(
            f"fsdp '{name}': give full_shard, or a JSON file of transformers' fsdp_config ({error})"
        ) from None


def _checkpoint_of(recipe: FinetuneRecipe, output: Path, resume: bool) -> Path | None:
    """Where to go on; refuses to mix two runs in one folder."""
    used = (output / RECIPE_FILE).exists()
    if used and not resume:
        raise ValueError(f"'{output}' holds a run: go on with --resume, or choose another --output")
    if not used:
        return None
    written = build(FinetuneRecipe, read_settings(output / RECIPE_FILE) or {})  # keys that are newer have defaults
    before, now = dataclasses.asdict(written), dataclasses.asdict(recipe)
    changed = [key for key in now if key not in FREE_KEYS and now[key] != before[key]]
    if changed:
        raise ValueError(f"'{output}' holds a run with another {', '.join(changed)}: choose another --output")
    return newest_checkpoint(output)


@contextmanager
def _whole_weights(arguments: TrainingArguments) -> Iterator[None]:
    """Keep transformers from cutting weights up for ZeRO-3 while they are loaded: DeepSpeed does it afterwards."""
    unset_hf_deepspeed_config()
    yield
    if arguments.deepspeed:
        set_hf_deepspeed_config(arguments.hf_deepspeed_config)


def _start_folder(recipe: FinetuneRecipe, arguments: TrainingArguments) -> None:
    """Clean up after a run that was stopped, and note the recipe."""
    output = Path(arguments.output_dir)
    with arguments.main_process_first():
        if arguments.process_index == 0:
            output.mkdir(parents=True, exist_ok=True)
            if (output / STAGING).exists():
                logger.warning("a checkpoint in '%s' was not finished: removed", output)
                shutil.rmtree(output / STAGING)
            with whole_file(output / RECIPE_FILE) as file:
                file.write_text(yaml.safe_dump(dataclasses.asdict(recipe), sort_keys=False))


def _with_cache(
    recipe: FinetuneRecipe,
    arguments: TrainingArguments,
    model: EvfSamModel,
    processor: EvfSamProcessor,
    datasets: list[ReferringDataset],
) -> tuple[Any, Path | None]:
    """Where there is a cache: fill it, take the image encoder out of the model, and let the processor read the cache.

    Returns:
        The processor to prepare batches with, and the file of the image encoder.
    """
    if recipe.embedding_cache is None:
        return processor, None
    dtype = getattr(torch, recipe.embedding_dtype)
    cache = EmbeddingCache(recipe.embedding_cache, model, processor.image_processor, dtype)
    views = 2 if recipe.data.flips else 1  # of each photo
    photos = track(
        _photos(datasets, arguments, views, skip=recipe.data.bad_samples == "skip"),
        "encoding photos",
        total=views * sum(len(range(arguments.process_index, len(each), arguments.world_size)) for each in datasets),
        console=Console(stderr=True),
        disable=arguments.process_index > 0,
    )
    model.sam.to(arguments.device)
    with torch.autocast(arguments.device.type, torch.bfloat16, enabled=arguments.bf16):
        cache.fill(photos, model, processor.image_processor)
    PartialState().wait_for_everyone()
    with arguments.main_process_first():
        image_encoder = cache.set_encoder_aside(model)
    return CachedProcessor(processor, cache), image_encoder


def _photos(
    datasets: list[ReferringDataset], arguments: TrainingArguments, views: int, *, skip: bool
) -> Iterator[Image.Image]:
    """This process' share of all photos, with two views each the other way round as well.

    Those that cannot be read are left to the draws to count, if so wished.
    """
    for dataset in datasets:
        for index in range(arguments.process_index, len(dataset), arguments.world_size):
            try:
                photo, _ = dataset.read(index)
            except (ValueError, OSError):
                if not skip:
                    raise
                continue
            yield photo
            if views == 2:
                yield ImageOps.mirror(photo)


def _save_model(trainer: ReferringTrainer, recipe: FinetuneRecipe, output: Path) -> None:
    """Write the trained model as a checkpoint of its own, with its processor and beside it the log."""
    with saving(output / "model", THEN):
        if recipe.lora is not None:
            merge_lora(trainer.model, output / "adapter")
        if trainer.is_fsdp_enabled:  # whose checkpoints may be in shards
            trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
        with whole_folder(output / "model") as folder:
            trainer.save_model(str(folder))
            (folder / "training_args.bin").unlink(missing_ok=True)
        if trainer.is_world_process_zero():
            with whole_file(output / "trainer_state.json") as log:
                trainer.state.save_to_json(str(log))
