"""Model cards: the README.md that the Hub shows beside a checkpoint."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import EvalResult, ModelCardData
from transformers.utils.hub import cached_file

from modeling_evf_sam.configuration_evf_sam import EvfSamConfig
from modeling_evf_sam.hub.code import TASK
from modeling_evf_sam.modeling_evf_sam import EvfSamModel

HUB_TASK = "image-segmentation"  # the closest of the Hub's own tasks
TAGS = ["referring-expression-segmentation", "evf-sam"]
FIGURES = {"giou": "gIoU", "ciou": "cIoU"}  # and P@0.5 for "precision@0.5", at whatever thresholds there are
RENDERED_PHOTOS = 500  # what makes a whole evaluation of rendered scenes, of which a split has no end
DRAWN = "rendered_scenes"  # `EvfSamConfig.trained_on` of a checkpoint that has seen no photo
SENTENCES = ("the zebra on the left", "the tallest tree")
DRAWN_SENTENCES = ("the pink star", "the largest circle")
KINDS = {
    "beit3": "BEIT-3",
    "clip": "CLIP",
    "vilt": "ViLT",
    "sam": "SAM",
    "sam2": "SAM-2",
    "efficient_sam": "EfficientSAM",
}

DRAWN_ALONE = """

**It knows drawn shapes alone**: coloured circles, squares, triangles and stars. It has never seen a photograph. For
photos, take a released checkpoint: `evf-sam segment photo.jpg "zebra top left" --model evf-sam-multitask`."""

USE_PIPELINE = """\
```python
import modeling_evf_sam  # knows the task
from transformers import pipeline

segment = pipeline("{task}", model="{place}")
for found in segment("photo.jpg", text=["{first}", "{second}"]):
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
inputs = processor(images=photo, text=["{first}", "{second}"])
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
print(segment("photo.jpg", text="{first}"))
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


def usage(place: str | Path, *, with_code: bool = False, drawn: bool = False) -> str:
    """How to use a checkpoint, as code that runs.

    Args:
        place: what the code loads, a Hub id or a folder.
        with_code: whether it lies there with the code of the package.
        drawn: whether it knows drawn shapes alone, so that one is asked for.
    """
    parts = [USE_PIPELINE, "Or by hand:", USE_MODEL, *([USE_CODE] if with_code else [])]
    return fill("\n\n".join(parts), place, DRAWN_SENTENCES if drawn else SENTENCES)


def fill(example: str, place: str | Path, sentences: tuple[str, str] = SENTENCES) -> str:
    """An example that loads `place` and asks for two things."""
    return example.format(task=TASK, place=place, first=sentences[0], second=sentences[1])


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
        evaluations: records that `evf-sam evaluate --json` wrote about this checkpoint. One of a part of a split is
            shown as such, and is not in the metadata.
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
    drawn = config.trained_on == DRAWN
    whole = [record for record in evaluations if not _is_part(record)]
    sections = {"Use": usage(place, with_code=with_code, drawn=drawn), "Sizes": _sizes(config)}
    if evaluations:
        sections["Scores"] = _scores(evaluations)
    return assemble(
        title,
        "A sentence in, a mask out: an EVF-SAM ([paper](https://arxiv.org/abs/2406.20076)), whose encoder turns "
        f"{reads} into a prompt for a Segment Anything model."
        + (DRAWN_ALONE if drawn else "")
        + (f"\n\n![A result of this checkpoint]({picture})" if picture else ""),
        {**sections, "Limits": _limits(config, semantic), "Citation": CITATION},
        metadata(
            license=license,
            base_model=list(base_models) or None,
            datasets=list(datasets) or None,
            metrics=_figures(whole) or None,
            tags=["custom_code"] if with_code else [],
            model_name=title,
            eval_results=[result for record in whole for result in _eval_results(record)] or None,
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
    for name in _figures([record]):
        yield EvalResult(
            task_type=HUB_TASK,
            dataset_type=_dataset(record),
            dataset_name=_dataset(record),
            dataset_split=record["split"],
            metric_type=name,
            metric_name=_label(name),
            metric_value=round(100 * record[name], 2),
        )


def _figures(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the figures that some record has."""
    names = dict.fromkeys(name for record in records for name in record)
    return [*(name for name in FIGURES if name in names), *(name for name in names if name.startswith("precision@"))]


def _label(name: str) -> str:
    return FIGURES.get(name, name.replace("precision", "P"))


def _is_part(record: Mapping[str, Any]) -> bool:
    """Whether fewer photos were scored than the split has."""
    whole = record.get("of_photos", RENDERED_PHOTOS if record["dataset"] == DRAWN else 0)
    return record.get("photos", whole) < whole


def _scores(evaluations: Sequence[Mapping[str, Any]]) -> str:
    names = _figures(evaluations)
    rows = [["dataset", "split", "kind", "sentences", *map(_label, names)]]
    for record in evaluations:
        for kind, figures in {"all": record, **record.get("by_kind", {})}.items():
            numbers = [f"{100 * figures[name]:.1f}" if name in figures else "" for name in names]
            rows.append([_dataset(record), _split(record), kind, str(figures["sentences"]), *numbers])
    return "In percent, by `evf-sam evaluate`.\n\n" + _table(rows)


def _split(record: Mapping[str, Any]) -> str:
    part = f" ({record['photos']} photos alone: no score of the split)" if _is_part(record) else ""
    return f"{record['split'] or ''}{part}"


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
