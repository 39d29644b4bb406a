"""The paper's ablations re-run: every row is trained with one budget and several seeds, then scored."""

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPTokenizer, set_seed

from modeling_evf_sam.configuration_evf_sam import EvfSamConfig
from modeling_evf_sam.evaluation.evaluator import evaluate_model
from modeling_evf_sam.files import whole_folder, write_json
from modeling_evf_sam.modeling_evf_sam import EvfSamModel
from modeling_evf_sam.processing_evf_sam import EvfSamProcessor
from modeling_evf_sam.rendered_scenes.curriculum.objectives import Drawn, Objective
from modeling_evf_sam.rendered_scenes.curriculum.positions import init_positions
from modeling_evf_sam.rendered_scenes.curriculum.reading import coverage, union_mask
from modeling_evf_sam.rendered_scenes.curriculum.recipe import Budget, Recipe, load_recipe
from modeling_evf_sam.rendered_scenes.curriculum.stages import build_processor, run_recipe, train_stage
from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes, expression_corpus
from modeling_evf_sam.training.freezing import PAPERS_PARTS, PARTS, Part
from modeling_evf_sam.training.recipe_files import build, read_recipe


@strict
@dataclass(kw_only=True)
class Row:
    """One system.

    Attributes:
        encoder: "beit3" or "clip".
        model: arguments of `EvfSamConfig` in which it differs from the recipe's model.
        train: names from `freezing.PARTS`.
    """

    encoder: Literal["beit3", "clip"] = "beit3"
    model: dict[str, Any] = field(default_factory=dict)
    train: list[Part] = field(default_factory=lambda: list(PAPERS_PARTS))


@strict
@dataclass(kw_only=True)
class Ablation:
    """What `recipes/ablation.yaml` holds.

    Attributes:
        recipe: name of the recipe with the model, the tokenizer and the stages that rows start from.
        sam_stage: the stage with SAM's weights.
        beit3_stage: the stage with BEIT-3's weights.
        contrast: how CLIP's weights are trained.
        clip: CLIP's configuration.
        budget: how every row is trained.
        rows: name -> `Row`.
        tables: for the report: titles, and rows of an encoder, a label, a row's name and the paper's figure.
        seeds: every row is trained with each of them.
        test_scenes: held-out scenes on which rows are scored.
    """

    recipe: str
    sam_stage: str
    beit3_stage: str
    contrast: Budget
    clip: dict[str, Any]
    budget: Budget
    rows: dict[str, Row]
    tables: list[dict[str, Any]]
    seeds: list[int]
    test_scenes: int


def load_ablation(name: str = "ablation", changes: Iterable[str] = ()) -> Ablation:
    """Read an ablation by the name of a shipped one or by its file.

    Args:
        name: "ablation", or the path of a YAML file.
        changes: entries to replace, as "budget.steps=100"; values are read as YAML.

    Raises:
        ValueError: for an unknown file or key; the message lists the known ones.
    """
    return build(Ablation, read_recipe(name, changes))


class SentenceObjective(Objective):
    """The paper's training and nothing beside it: sentences to masks, by the model's own loss."""

    parts: Sequence[Part] = PAPERS_PARTS

    def trained_modules(self) -> list[nn.Module]:
        """The parts of the row."""
        return [self.model.get_submodule(PARTS[part]) for part in self.parts]

    def collate(self, drawn: Sequence[Drawn]) -> dict[str, Tensor]:
        """Sentences, views, and the masks at the resolution of SAM's logits."""
        batch = {**self._text(drawn), **self._views(drawn, "pixel_values")}
        if self.model.config.fusion != "text":
            batch |= self._views(drawn, "multimodal_pixel_values")
        labels = torch.zeros(*batch["input_ids"].shape[:2], self.mask_side, self.mask_side)
        for own, (scene, expressions) in zip(labels, drawn, strict=True):
            for label, expression in zip(own, expressions, strict=False):
                label.copy_(coverage(union_mask(scene, expression.targets)[None], self.mask_side)[0])
        return {**batch, "labels": labels}

    def forward(self, labels: Tensor, **inputs: Tensor) -> dict[str, Tensor]:
        """The model's loss; the IoU is that of the masks."""
        output = self.model(labels=labels, **inputs)
        present = inputs["attention_mask"].any(-1)
        predicted, true = output.pred_masks[:, :, 0][present] > 0, labels[present] > 0.5
        return {
            "loss": output.loss,
            "intersections": (predicted & true).sum((1, 2)),
            "unions": (predicted | true).sum((1, 2)),
        }


class ContrastObjective(Objective):
    """CLIP's own training: among the photos and sentences of a batch, which belong together?"""

    def trained_modules(self) -> list[nn.Module]:
        """Both towers."""
        return [self.model.multimodal_encoder]

    def collate(self, drawn: Sequence[Drawn]) -> dict[str, Tensor]:
        """One sentence for each photo."""
        return {**self._text(drawn), **self._views(drawn, "multimodal_pixel_values")}

    def forward(self, multimodal_pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """Cross-entropy both ways; in place of an IoU, the share of photos that find their sentence."""
        logits = self.model.multimodal_encoder(
            pixel_values=multimodal_pixel_values, input_ids=input_ids[:, 0], attention_mask=attention_mask[:, 0]
        ).logits_per_image
        own = torch.arange(len(logits), device=logits.device)
        loss = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
        return {"loss": loss, "intersections": (logits.argmax(1) == own).long(), "unions": torch.ones_like(own)}


def run_ablation(
    ablation: Ablation, foundation: Path, output: Path, names: Sequence[str] | None = None, jobs: int = 1
) -> None:
    """Train and score what `output` does not hold yet, or holds with other settings.

    Args:
        ablation: what to do.
        foundation: folder of a run of the ablation's recipe; stages that it lacks are trained.
        output: folder for weights, logs and scores, by row and seed.
        names: the rows, default all.
        jobs: rows trained side by side, each with its share of the cores.

    Raises:
        ValueError: for an unknown row.
    """
    names = names or list(ablation.rows)
    unknown = sorted(set(names) - set(ablation.rows))
    if unknown:
        raise ValueError(f"no rows {', '.join(unknown)}: choose from {', '.join(ablation.rows)}")
    output.mkdir(parents=True, exist_ok=True)
    lay_foundation(ablation, foundation, output, clip=any(ablation.rows[name].encoder == "clip" for name in names))
    left = [
        (name, seed) for seed in ablation.seeds for name in names if read_score(ablation, output, name, seed) is None
    ]
    threads = max(1, torch.get_num_threads() // jobs)
    with ProcessPoolExecutor(jobs, get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        for _ in pool.map(partial(_run_one, ablation, foundation, output), left):
            pass


def read_score(ablation: Ablation, output: Path, name: str, seed: int) -> dict[str, Any] | None:
    """What a row scored with a seed, or None if that was not run with these settings."""
    file = _score_file(output, name, seed)
    record = json.loads(file.read_text()) if file.exists() else {}
    return record if record.get("settings") == _settings(ablation, name, seed) else None


def _settings(ablation: Ablation, name: str, seed: int) -> dict[str, Any]:
    row = asdict(ablation.rows[name])
    budgets = {"budget": asdict(ablation.budget)}
    if row["encoder"] == "clip":
        budgets["contrast"] = asdict(ablation.contrast)
    return {"row": row, "seed": seed, "test_scenes": ablation.test_scenes, **budgets}


def lay_foundation(ablation: Ablation, foundation: Path, output: Path, clip: bool) -> None:
    """Train the weights that rows start from, where they are missing; those of CLIP only for rows with CLIP."""
    recipe = load_recipe(ablation.recipe)
    for last in (ablation.sam_stage, ablation.beit3_stage):
        if not _weights(foundation, last).exists():
            for name in list(recipe.stages)[: list(recipe.stages).index(last) + 1]:
                run_recipe(recipe, foundation, only=name)
    weights = _weights(output, "contrast")
    if clip and not weights.exists():
        recipe = _row_recipe(ablation, Row(encoder="clip", model={"fusion": "late"}), seed=0)
        model, processor = _build(recipe, "clip", foundation, output)
        weights.parent.mkdir(parents=True, exist_ok=True)
        train_stage(ContrastObjective(model, processor), ablation.contrast, recipe, weights)


def _run_one(ablation: Ablation, foundation: Path, output: Path, task: tuple[str, int]) -> None:
    name, seed = task
    row, file = ablation.rows[name], _score_file(output, name, seed)
    recipe = _row_recipe(ablation, row, seed)
    model, processor = _build(recipe, row.encoder, foundation, output)
    model.load_state_dict(_start(ablation, row, model, foundation, output), strict=False)
    objective = SentenceObjective(model, processor)
    objective.parts = row.train
    file.parent.mkdir(parents=True, exist_ok=True)
    train_stage(objective, ablation.budget, recipe, file.with_name("weights.safetensors"))
    scenes = RenderedScenes("test", ablation.test_scenes)
    result = evaluate_model(model, processor, (scenes[index] for index in range(len(scenes))))
    write_json({"settings": _settings(ablation, name, seed), **result.to_dict()}, str(file))


def _row_recipe(ablation: Ablation, row: Row, seed: int) -> Recipe:
    recipe = load_recipe(ablation.recipe)
    if row.encoder == "clip":
        recipe.model["multimodal_config"] = ablation.clip
    recipe.model |= {"presence": None, **row.model}  # the paper's systems have no such head
    recipe.seed, recipe.workers = seed, 0  # rows side by side keep every core busy
    return recipe


def _build(recipe: Recipe, encoder: str, foundation: Path, output: Path) -> tuple[EvfSamModel, EvfSamProcessor]:
    """A model with fresh weights, and its processor."""
    set_seed(recipe.seed)
    model = EvfSamModel(EvfSamConfig(**recipe.model))
    init_positions(model)
    tokenizer = build_processor(recipe, foundation / "processor").tokenizer
    if encoder == "clip":
        tokenizer = _clip_tokenizer(output / "clip_tokenizer", recipe)
    return model, EvfSamProcessor.from_config(model.config, tokenizer)


def _clip_tokenizer(folder: Path, recipe: Recipe) -> CLIPTokenizer:
    """A tokenizer of CLIP's kind, which ends sentences with the token that CLIP reads; trained once."""
    if not folder.exists():
        corpus = expression_corpus(recipe.tokenizer.get("num_expressions", 40_000))
        size = recipe.model["multimodal_config"]["text_config"]["vocab_size"]
        with whole_folder(folder) as whole:
            CLIPTokenizer().train_new_from_iterator(corpus, size).save_pretrained(whole)
    return CLIPTokenizer.from_pretrained(folder)


def _start(ablation: Ablation, row: Row, model: EvfSamModel, foundation: Path, output: Path) -> Mapping[str, Tensor]:
    """The weights of SAM and of the encoder that a row starts from: those tensors that it has."""
    contrast = row.encoder == "clip"
    encoder = _weights(output, "contrast") if contrast else _weights(foundation, ablation.beit3_stage)
    tensors = load_file(_weights(foundation, ablation.sam_stage)) | load_file(encoder)
    own = model.state_dict()
    names = {name: name.removeprefix("model.") for name in tensors}
    if contrast and row.model["fusion"] == "text":
        names = {name: new.replace("encoder.text_model.", "encoder.") for name, new in names.items()}
    return {new: tensors[name] for name, new in names.items() if new in own}


def _weights(folder: Path, stage: str) -> Path:
    return folder / stage / "weights.safetensors"


def _score_file(output: Path, name: str, seed: int) -> Path:
    return output / name / f"seed_{seed}" / "scores.json"
