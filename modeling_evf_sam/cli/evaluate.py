"""`evf-sam evaluate`: the figures of a checkpoint on a dataset, as a table and as JSON."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from modeling_evf_sam import DEFAULT_CHECKPOINT
from modeling_evf_sam.cli.options import DeviceOption, JsonOption, ModelOption
from modeling_evf_sam.cli.writing import write_json

if TYPE_CHECKING:
    from rich.table import Table

    from modeling_evf_sam.data.referring_dataset import ReferringDataset
    from modeling_evf_sam.data.referring_sample import ReferringSample
    from modeling_evf_sam.data.rendered_scenes import RenderedScenes
    from modeling_evf_sam.evaluation.evaluator import EvaluationResult

SENTENCES_PER_SCENE = 4
SCENES = 500


def run(
    model: ModelOption = DEFAULT_CHECKPOINT,
    dataset: Annotated[
        str, typer.Option(help="rendered_scenes, or files: refer:ROOT:refcoco:unc, jsonl:FOLDER; see docs/data.md.")
    ] = "rendered_scenes",
    split: Annotated[
        str | None, typer.Option(help="The part of the dataset to score.", show_default="test, of rendered_scenes")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=1, help="Number of photos.", show_default="all; 500 of rendered_scenes")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="For rendered_scenes: another seed, other photos.")] = 0,
    legacy_overlap: Annotated[
        bool,
        typer.Option(
            "--legacy-overlap",
            help="As the original: pixels in two polygons of an object are not in its mask.",
            show_default=False,
        ),
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Photos computed at a time.")] = 8,
    json_path: JsonOption = None,
    device: DeviceOption = None,
) -> None:
    """Scores a checkpoint on a dataset.

    Shows gIoU (the mean over all sentences), cIoU, and the share of sentences with an IoU of at least 0.5, 0.7 and
    0.9, overall and by kind.
    """
    from rich.console import Console
    from rich.progress import track

    from modeling_evf_sam.cli.loading import load_model
    from modeling_evf_sam.evaluation.evaluator import evaluate_model

    if dataset == "rendered_scenes":
        split = split or "test"
    samples = _open_dataset(dataset, split, size, seed, legacy_overlap)
    photos = min(size or len(samples), len(samples))
    title = f"{dataset} {split or ''}".strip()
    network, processor = load_model(model, device)
    shown = Console(stderr=True)

    def progress(items: "Iterable[ReferringSample]") -> "Iterable[ReferringSample]":
        return track(items, title, total=photos, console=shown)

    result = evaluate_model(
        network, processor, (samples[index] for index in range(photos)), batch_size=batch_size, progress=progress
    )
    if json_path is not None:
        source = {"model": model, "dataset": dataset, "split": split, "photos": photos, "seed": seed}
        write_json({**source, **result.to_dict()}, json_path)
    Console(stderr=json_path == "-").print(_table(result, f"{title}, in percent"))


def _open_dataset(
    name: str, split: str | None, size: int | None, seed: int, legacy_overlap: bool
) -> "RenderedScenes | ReferringDataset":
    from modeling_evf_sam.data.open_dataset import open_dataset
    from modeling_evf_sam.data.rendered_scenes import RenderedScenes as Scenes

    if name == "rendered_scenes":
        if legacy_overlap:
            raise ValueError("--legacy-overlap is for datasets refer:... alone")
        return Scenes(split or "", size or SCENES, sentences_per_scene=SENTENCES_PER_SCENE, seed=seed)
    return open_dataset(name, split, legacy_overlap=legacy_overlap)


def _table(result: "EvaluationResult", title: str) -> "Table":
    from rich.table import Table

    overall = result.overall
    figures = [name for name in overall if name != "sentences"]
    table = Table("kind", title=title)
    for name in ("sentences", *figures):
        table.add_column(name.replace("iou", "IoU").replace("precision", "P").replace("_", " "), justify="right")
    for kind, row in {"all": overall, **result.by_kind}.items():
        table.add_row(kind, str(row["sentences"]), *(_percent(row.get(name)) for name in figures))
    return table


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"
