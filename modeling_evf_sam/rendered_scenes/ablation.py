"""The paper's ablations re-run: every row is trained with one budget, then scored.

Rows start from a SAM that knows points and boxes, and from encoders that no referring sentence was shown: each is
pretrained in its own way on photos and captions, all for the same number of steps.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import BertTokenizer, CLIPTextModel, CLIPTokenizer, PreTrainedTokenizerBase, set_seed

from modeling_evf_sam.configuration_evf_sam import EvfSamConfig
from modeling_evf_sam.evaluation.evaluator import evaluate_model
from modeling_evf_sam.files import whole_folder, write_json
from modeling_evf_sam.modeling_evf_sam import EvfSamModel
from modeling_evf_sam.processing_evf_sam import EvfSamProcessor
from modeling_evf_sam.rendered_scenes.curriculum.objectives import Drawn, Objective
from modeling_evf_sam.rendered_scenes.curriculum.positions import init_positions
from modeling_evf_sam.rendered_scenes.curriculum.pretraining import PRETRAINING, EncoderName
from modeling_evf_sam.rendered_scenes.curriculum.reading import coverage, union_mask
from modeling_evf_sam.rendered_scenes.curriculum.recipe import Budget, Recipe, load_recipe
from modeling_evf_sam.rendered_scenes.curriculum.stages import build_processor, run_recipe, train_stage
from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes, expression_corpus
from modeling_evf_sam.training.freezing import PAPERS_PARTS, PARTS, Part
from modeling_evf_sam.training.recipe_files import build, read_recipe

TOKENIZERS: dict[str, type[PreTrainedTokenizerBase]] = {"clip": CLIPTokenizer, "vilt": BertTokenizer}


@strict
@dataclass(kw_only=True)
class Row:
    """One system.

    Attributes:
        encoder: which of the ablation's `encoders`.
        model: arguments of `EvfSamConfig` in which it differs from the recipe's model.
        train: names from `freezing.PARTS`.
    """

    encoder: EncoderName = "beit3"
    model: dict[str, Any] = field(default_factory=dict)
    train: list[Part] = field(default_factory=lambda: list(PAPERS_PARTS))


@strict
@dataclass(kw_only=True)
class Ablation:
    """What `recipes/ablation.yaml` holds.

    Attributes:
        recipe: name of the recipe with the model, the tokenizer and the stages that SAM is trained in.
        sam_stage: the last of these stages.
        encoders: name -> configuration of each encoder; what it leaves out is as in the recipe's model.
        pretraining: how each encoder is trained before any row, by its objective of `pretraining`.
        budget: how every row is trained.
        rows: name -> `Row`.
        tables: for the report: titles, and rows of an encoder, a label, a row's name and the paper's figure.
        seeds: every row is trained with each of them.
        test_scenes: held-out scenes on which rows are scored.
    """

    recipe: str
    sam_stage: str
    encoders: dict[EncoderName, dict[str, Any]]
    pretraining: Budget
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
    build_processor(load_recipe(ablation.recipe), foundation / "processor")
    encoders = {ablation.rows[name].encoder for name in names}
    jobs_before = [partial(_pretrain, ablation, foundation, output, encoder) for encoder in sorted(encoders)]
    jobs_before.append(partial(_train_sam, ablation, foundation))
    rows = [
        partial(_run_one, ablation, foundation, output, name, seed)
        for seed in ablation.seeds
        for name in names
        if read_score(ablation, output, name, seed) is None
    ]
    threads = max(1, torch.get_num_threads() // jobs)
    with ProcessPoolExecutor(jobs, get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        for together in (jobs_before, rows):
            for future in [pool.submit(job) for job in together]:
                future.result()


def read_score(ablation: Ablation, output: Path, name: str, seed: int) -> dict[str, Any] | None:
    """What a row scored with a seed, or None if that was not run with these settings."""
    file = _score_file(output, name, seed)
    record = json.loads(file.read_text()) if file.exists() else {}
    return record if record.get("settings") == _settings(ablation, name, seed) else None


def _settings(ablation: Ablation, name: str, seed: int) -> dict[str, Any]:
    row = ablation.rows[name]
    return {
        "row": asdict(row),
        "sam": [ablation.recipe, ablation.sam_stage],
        "seed": seed,
        "test_scenes": ablation.test_scenes,
        "budget": asdict(ablation.budget),
        "encoder": ablation.encoders[row.encoder],
        "pretraining": asdict(ablation.pretraining),
    }


def _train_sam(ablation: Ablation, foundation: Path) -> None:
    """The stages of the recipe up to that with SAM's weights, where they are missing."""
    recipe = load_recipe(ablation.recipe)
    for name in list(recipe.stages)[: list(recipe.stages).index(ablation.sam_stage) + 1]:
        run_recipe(recipe, foundation, only=name)


def _pretrain(ablation: Ablation, foundation: Path, output: Path, encoder: EncoderName) -> None:
    """The encoder's weights, where they are missing."""
    weights = _encoder_weights(output, encoder)
    if weights.exists():
        return
    row = Row(encoder=encoder, model={"fusion": "late" if encoder == "clip" else "early"})
    recipe = _row_recipe(ablation, row, seed=0)
    weights.parent.mkdir(parents=True, exist_ok=True)
    objective = PRETRAINING[encoder](*_build(recipe, encoder, foundation, output))
    train_stage(objective, ablation.pretraining, recipe, weights)


def _run_one(ablation: Ablation, foundation: Path, output: Path, name: str, seed: int) -> None:
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
    record = {"settings": _settings(ablation, name, seed), **result.to_dict(), "curve": _curve(file.parent)}
    write_json(record, str(file))


def _curve(folder: Path) -> list[tuple[int, float]]:
    """The gIoU of the batches since the last line of a training's log, and that line's step."""
    lines = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    return [(line["step"], line["giou"]) for line in lines if "giou" in line]


def _row_recipe(ablation: Ablation, row: Row, seed: int) -> Recipe:
    recipe = load_recipe(ablation.recipe)
    recipe.model["multimodal_config"] = ablation.encoders[row.encoder] or recipe.model["multimodal_config"]
    recipe.model |= {"presence": None, **row.model}  # the paper's systems have no such head
    recipe.seed, recipe.workers = seed, 0  # rows side by side keep every core busy
    return recipe


def _build(
    recipe: Recipe, encoder: EncoderName, foundation: Path, output: Path
) -> tuple[EvfSamModel, EvfSamProcessor]:
    """A model with fresh weights, and its processor."""
    set_seed(recipe.seed)
    model = EvfSamModel(EvfSamConfig(**recipe.model))
    init_positions(model)
    if encoder == "beit3":
        tokenizer = build_processor(recipe, foundation / "processor").tokenizer
    else:
        tokenizer = _train_tokenizer(TOKENIZERS[encoder], output / f"{encoder}_tokenizer", model, recipe)
    return model, EvfSamProcessor.from_config(model.config, tokenizer)


def _train_tokenizer(
    kind: type[PreTrainedTokenizerBase], folder: Path, model: EvfSamModel, recipe: Recipe
) -> PreTrainedTokenizerBase:
    """A tokenizer of the encoder's kind, with its special tokens; trained once."""
    if not folder.exists():
        corpus = expression_corpus(recipe.tokenizer.get("num_expressions", 40_000))
        size = model.config.multimodal_config.get_text_config().vocab_size
        with whole_folder(folder) as whole:
            kind().train_new_from_iterator(corpus, size).save_pretrained(whole)
    return kind.from_pretrained(folder)


def _start(ablation: Ablation, row: Row, model: EvfSamModel, foundation: Path, output: Path) -> Mapping[str, Tensor]:
    """The weights of SAM and of the encoder that a row starts from: those tensors that it has."""
    sam = foundation / ablation.sam_stage / "weights.safetensors"
    tensors = load_file(sam) | load_file(_encoder_weights(output, row.encoder))
    own = model.state_dict()
    names = {name: name.removeprefix("model.") for name in tensors}
    if isinstance(model.multimodal_encoder, CLIPTextModel):  # has no towers to tell apart
        names = {name: new.replace("encoder.text_model.", "encoder.") for name, new in names.items()}
    return {new: tensors[name] for name, new in names.items() if new in own}


def _encoder_weights(output: Path, encoder: EncoderName) -> Path:
    return output / f"pretraining_{encoder}" / "weights.safetensors"


def _score_file(output: Path, name: str, seed: int) -> Path:
    return output / name / f"seed_{seed}" / "scores.json"
