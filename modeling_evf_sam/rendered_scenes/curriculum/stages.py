"""Runs a recipe: builds the model, trains it stage by stage, and saves it as a checkpoint."""

import os
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import TrainingArguments, set_seed

from modeling_evf_sam.configuration_evf_sam import EvfSamConfig
from modeling_evf_sam.data.open_dataset import open_dataset
from modeling_evf_sam.files import saving, whole_file, whole_folder
from modeling_evf_sam.modeling_evf_sam import EvfSamModel
from modeling_evf_sam.processing_evf_sam import EvfSamProcessor
from modeling_evf_sam.rendered_scenes.curriculum.objectives import (
    EmbeddingObjective,
    Objective,
    PatchObjective,
    PresenceObjective,
    PromptObjective,
    ScoreObjective,
    SightObjective,
    TextObjective,
    WholeObjective,
)
from modeling_evf_sam.rendered_scenes.curriculum.positions import init_positions
from modeling_evf_sam.rendered_scenes.curriculum.recipe import Budget, ObjectiveName, Recipe
from modeling_evf_sam.rendered_scenes.curriculum.strangers import Strangers
from modeling_evf_sam.rendered_scenes.curriculum.tokenizer import train_tokenizer
from modeling_evf_sam.rendered_scenes.curriculum.trainer import DrawnScenes, ObjectiveTrainer
from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes
from modeling_evf_sam.training.arguments import training_arguments
from modeling_evf_sam.training.calibration import calibrate

OBJECTIVES: dict[ObjectiveName, type[Objective]] = {
    "embedding": EmbeddingObjective,
    "prompts": PromptObjective,
    "sight": SightObjective,
    "patches": PatchObjective,
    "text": TextObjective,
    "presence": PresenceObjective,
    "whole": WholeObjective,
    "scores": ScoreObjective,
}


def run_recipe(recipe: Recipe, output: Path, only: str | None = None) -> Path | None:
    """Train every stage of a recipe that `output` does not hold yet.

    Args:
        recipe: what to train.
        output: folder for the stages' weights and logs and, at the end, the checkpoint `output/model`.
        only: run this stage alone; stages that do not build on each other can run side by side.

    Returns:
        The folder of the checkpoint, or None while stages are missing.

    Raises:
        ValueError: for an unknown stage.
    """
    if only is not None and only not in recipe.stages:
        raise ValueError(f"no stage {only!r}: the recipe has {', '.join(recipe.stages)}")
    output.mkdir(parents=True, exist_ok=True)
    processor = build_processor(recipe, output / "processor")
    set_seed(recipe.seed)
    model = EvfSamModel(EvfSamConfig(**recipe.model))
    init_positions(model)
    files = {name: output / name / "weights.safetensors" for name in recipe.stages}
    for name, stage in recipe.stages.items():
        if not files[name].exists() and only in (None, name):
            set_seed(recipe.seed)  # so that a stage starts alike in a run of its own
            objective = OBJECTIVES[stage.objective](model, processor)
            load_stages(objective, files.values())
            train_stage(objective, stage, recipe, files[name])
    if not all(file.exists() for file in files.values()):
        return None
    load_stages(Objective(model, processor), files.values())
    if model.config.presence is not None:
        scenes = RenderedScenes("validation", recipe.calibration_scenes, absent=0.5)
        calibrate(model, processor, (scenes[index] for index in range(len(scenes))))
    if os.environ.get("RANK", "0") == "0":
        with saving(output / "model"), whole_folder(output / "model") as whole:
            model.save_pretrained(whole)
            processor.save_pretrained(whole)
    return output / "model"


def build_processor(recipe: Recipe, folder: Path) -> EvfSamProcessor:
    """The processor that fits the recipe's model; its tokenizer is trained once and kept in `folder`."""
    if not folder.exists():
        processor = EvfSamProcessor.from_config(EvfSamConfig(**recipe.model), train_tokenizer(**recipe.tokenizer))
        with saving(folder), whole_folder(folder) as whole:
            processor.save_pretrained(whole)
    return EvfSamProcessor.from_pretrained(folder)


def load_stages(objective: Objective, files: Iterable[Path]) -> None:
    """Load what earlier stages trained; heads that this objective has not are left out."""
    for file in files:
        if file.exists():
            own = objective.state_dict()
            objective.load_state_dict({k: v for k, v in load_file(file).items() if k in own}, strict=False)


def train_stage(objective: Objective, budget: Budget, recipe: Recipe, weights: Path) -> None:
    """Spend a budget on an objective, and write the tensors that it trained to `weights`, whole or not at all."""
    objective.requires_grad_(False)
    for module in objective.trained_modules():
        module.requires_grad_(True)
    codes = objective.model.sam.prompt_encoder.shared_embedding  # SAM's random Fourier matrix is never trained
    codes.requires_grad_(False)

    strangers = None
    if budget.strangers:
        strangers = Strangers([open_dataset(one.name, one.split, training=True) for one in recipe.photos])

    def scenes(split: str, size: int) -> DrawnScenes:
        return DrawnScenes(
            RenderedScenes(
                split,
                size,
                sentences_per_scene=budget.sentences_per_scene,
                kinds=budget.kinds,
                absent=budget.absent,
                seed=recipe.seed,
            ),
            strangers,
            budget.strangers,
            budget.denied,
        )

    trainer = ObjectiveTrainer(
        model=objective,
        args=_arguments(budget, recipe, weights.parent),
        data_collator=objective.collate,
        train_dataset=scenes("train", budget.steps * budget.batch_size),
        eval_dataset=scenes("validation", recipe.eval_scenes),
        decoder_learning_rate=budget.decoder_learning_rate,
    )
    trainer.train()
    if trainer.is_world_process_zero():
        with whole_file(weights.parent / "trainer_state.json") as log:
            trainer.state.save_to_json(str(log))
        save_trained(objective, weights)
    trainer.accelerator.wait_for_everyone()


def save_trained(objective: Objective, weights: Path) -> None:
    """Write every tensor of the trained modules, whole or not at all."""
    own = {id(parameter) for module in objective.trained_modules() for parameter in module.parameters()}
    tensors = {name: tensor.cpu() for name, tensor in objective.named_parameters() if id(tensor) in own}
    with saving(weights), whole_file(weights) as unfinished:
        save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, unfinished)


def _arguments(budget: Budget, recipe: Recipe, folder: Path) -> TrainingArguments:
    """The Trainer's settings for one budget; processes that torchrun started share its batches."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    return training_arguments(
        folder,
        seed=recipe.seed,
        workers=recipe.workers,
        max_steps=budget.steps,
        per_device_train_batch_size=budget.batch_size // processes,
        per_device_eval_batch_size=budget.batch_size // processes,
        learning_rate=budget.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=budget.warmup_steps,
        weight_decay=budget.weight_decay,
        adam_beta2=0.98,
        max_grad_norm=1.0,
        bf16=torch.cuda.is_available(),
        logging_steps=50,
        eval_strategy="steps",
        eval_steps=budget.eval_every,
        save_strategy="no",
    )
