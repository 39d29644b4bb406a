"""Model cards: the README.md that the Hub shows beside a checkpoint."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import EvalResult, ModelCardData
from transformers.utils.hub import cached_file

from modeling_evf_sam import EvfSamConfig, EvfSamModel
from modeling_evf_sam.evaluation.metrics import PRECISION_THRESHOLDS
from modeling_evf_sam.hub.code import TASK

HUB_TASK = "image-segmentation"  # the closest of the Hub's own tasks
TAGS = ["referring-expression-segmentation", "evf-sam"]
FIGURES = {
    "giou": "gIoU",
    "ciou": "cIoU",
    **{f"precision@{threshold}": f"P@{threshold}" for threshold in PRECISION_THRESHOLDS},
}
KINDS = {
    "beit3": "BEIT-3",
    "clip": "CLIP",
    "vilt": "ViLT",
    "sam": "SAM",
    "sam2": "SAM-2",
    "efficient_sam": "EfficientSAM",
}

USE_PIPELINE = """\
```python
import modeling_evf_sam  # knows the task
from transformers import pipeline

segment = pipeline("{task}", model="{place}")
for found in segment("photo.jpg", text=["the zebra on the left", "the tallest tree"]):
    print(found["label"], found["score"], found["box"])
    found["mask"].save(found["label"] + ".png")
```"""

USE_MODEL = """\
```python
import torch
from PIL import Image
from modeling_evf_sam import EvfSamModel, EvfSamProcessor

model = EvfSamModel.from_pretrained("{place}")
processor = EvfSamProcessor.from_pretrained("{place}")
photo = Image.open("photo.jpg")
inputs = processor(images=photo, text=["the zebra on the left", "the tallest tree"])
with torch.no_grad():
    outputs = model(**inputs)
(result,) = processor.post_process_referring_segmentation(outputs, inputs)
print(result["masks"].shape, result["scores"], result["boxes"])
```"""

USE_CODE = """\
Without the package, with transformers alone, which then runs the code of this repository:

```python
from transformers import pipeline

segment = pipeline("{task}", model="{place}", trust_remote_code=True)
print(segment("photo.jpg", text="the zebra on the left"))
```"""

CITATION = """\
```bibtex
@article{zhang2024evfsam,
  title   = {EVF-SAM: Early Vision-Language Fusion for Text-Prompted Segment Anything Model},
  author  = {Zhang, Yuxuan and Cheng, Tianheng and Hu, Rui and Liu, Lei and Liu, Heng and Ran, Longjin and
             Chen, Xiaoxin and Liu, Wenyu and Wang, Xinggang},
  journal = {arXiv preprint arXiv:2406.20076},
  year    = {2024}
}
```"""


def assemble(title: str, text: str, sections: Mapping[str, str], metadata: ModelCardData) -> str:
    """A whole card: metadata, heading, text, and sections by their headings."""
    parts = [f"# {title}", text, *(f"## {heading}\n\n{body}" for heading, body in sections.items())]
    return f"---\n{metadata.to_yaml()}\n---\n\n" + "\n\n".join(parts) + "\n"


def metadata(**more: Any) -> ModelCardData:
    """Metadata of any EVF-SAM; `more` are further arguments of `ModelCardData`, tags being added to the usual ones."""
    tags = [*TAGS, *more.pop("tags", [])]
    return ModelCardData(library_name="transformers", pipeline_tag=HUB_TASK, tags=tags, **more)


def usage(place: str | Path, with_code: bool = False) -> str:
    """How to use a checkpoint, as code that runs.

    Args:
        place: what the code loads, a Hub id or a folder.
        with_code: whether it lies there with the code of the package.
    """
    parts = [USE_PIPELINE, "Or by hand:", USE_MODEL, *([USE_CODE] if with_code else [])]
    return "\n\n".join(parts).format(task=TASK, place=place)


def checkpoint_card(
    model: str,
    *,
    repository: str | None = None,
    evaluations: Sequence[Mapping[str, Any]] = (),
    picture: str | None = None,
    license: str = "apache-2.0",
    base_models: Sequence[str] = (),
    datasets: Sequence[str] = (),
) -> str:
    """The card of a checkpoint.

    Args:
        model: a folder or a Hub id; its configuration is read, not its weights.
        repository: the Hub id that the examples load; default `model`.
        evaluations: records that `evf-sam evaluate --json` wrote about this checkpoint.
        picture: name of a picture of a result, which lies beside the card.
        license: identifier of the weights' licence on the Hub.
        base_models: Hub ids of what it was made from.
        datasets: Hub ids of what it was trained on.

    Raises:
        ValueError: a record that is none, or that is about another checkpoint.
        OSError: no such checkpoint.
    """
    config = EvfSamConfig.from_pretrained(model)
    with_code = "auto_map" in _read_file(model, "config.json")
    semantic = _read_file(model, "processor_config.json").get("semantic_prompts", config.semantic_prompts)
    reads = "a sentence and a small view of the photo" if config.multimodal_view_size else "a sentence"
    place = repository or model
    title = Path(place).name
    for record in evaluations:
        _check_record(record, model)
    sections = {"Use": usage(place, with_code), "Sizes": _sizes(config)}
    if evaluations:
        sections["Scores"] = _scores(evaluations)
    return assemble(
        title,
        "A sentence in, a mask out: an EVF-SAM ([paper](https://arxiv.org/abs/2406.20076)), whose encoder turns "
        f"{reads} into a prompt for a Segment Anything model."
        + (f"\n\n![A result of this checkpoint]({picture})" if picture else ""),
        {**sections, "Limits": _limits(config, semantic), "Citation": CITATION},
        metadata(
            license=license,
            base_model=list(base_models) or None,
            datasets=list(datasets) or None,
            metrics=[name for name in FIGURES if any(name in record for record in evaluations)] or None,
            tags=["custom_code"] if with_code else [],
            model_name=title,
            eval_results=[result for record in evaluations for result in _eval_results(record)] or None,
        ),
    )


def _read_file(model: str, name: str) -> dict[str, Any]:
    """A JSON file of a checkpoint; empty where there is none."""
    file = cached_file(model, name, _raise_exceptions_for_missing_entries=False)
    return json.loads(Path(file).read_text(encoding="utf-8")) if file else {}


def _check_record(record: Mapping[str, Any], model: str) -> None:
    missing = [name for name in ("model", "dataset", "split", "sentences", "giou") if name not in record]
    if missing:
        raise ValueError(f"no {', '.join(missing)} in an evaluation: give what `evf-sam evaluate --json` wrote")
    if Path(record["model"]).name != Path(model).name:
        raise ValueError(f"an evaluation is about {record['model']}, not about {model}: evaluate this checkpoint")


def _dataset(record: Mapping[str, Any]) -> str:
    """The dataset without the folder of this machine: "refcoco unc" of "refer:FOLDER:refcoco:unc"."""
    parts = record["dataset"].split(":")
    return " ".join(parts[2:]) or Path(parts[-1]).name


def _eval_results(record: Mapping[str, Any]) -> Iterable[EvalResult]:
    for name, label in FIGURES.items():
        if name in record:
            yield EvalResult(
                task_type=HUB_TASK,
                dataset_type=_dataset(record),
                dataset_name=_dataset(record),
                dataset_split=record["split"],
                metric_type=name,
                metric_name=label,
                metric_value=round(100 * record[name], 2),
            )


def _scores(evaluations: Sequence[Mapping[str, Any]]) -> str:
    names = [name for name in FIGURES if any(name in record for record in evaluations)]
    rows = [["dataset", "split", "kind", "sentences", *(FIGURES[name] for name in names)]]
    for record in evaluations:
        for kind, figures in {"all": record, **record.get("by_kind", {})}.items():
            numbers = [f"{100 * figures[name]:.1f}" if name in figures else "" for name in names]
            rows.append([_dataset(record), record["split"] or "", kind, str(figures["sentences"]), *numbers])
    return "In percent, by `evf-sam evaluate`.\n\n" + _table(rows)


def _sizes(config: EvfSamConfig) -> str:
    with torch.device("meta"):
        model = EvfSamModel(config)
    views = {"multimodal_encoder": config.multimodal_view_size, "sam": config.view_size}
    kinds = {"multimodal_encoder": config.multimodal_config.model_type, "sam": config.sam_config.model_type}
    rows = [["part", "kind", "view", "parameters"]]
    for name, part in model.named_children():
        view = f"{views[name]} px" if views.get(name) else ""
        rows.append([name.replace("_", " "), KINDS.get(kinds.get(name, ""), ""), view, f"{_parameters(part):,}"])
    return _table([*rows, ["all", "", "", f"{_parameters(model):,}"]])


def _parameters(part: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in part.parameters())


def _limits(config: EvfSamConfig, semantic: bool) -> str:
    aim = (
        "With `semantic=True` it looks for every pixel of a category, otherwise for one object."
        if semantic
        else "It looks for one object; it was not trained to find every pixel of a category (`semantic=True`)."
    )
    return "\n".join(
        [
            "- A sentence about something that is not in the photo still gets a mask.",
            "- Scores are the model's own estimates of a mask's IoU.",
            f"- A sentence has at most {config.max_tokens} tokens, its start and end included.",
            f"- {aim}",
        ]
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
