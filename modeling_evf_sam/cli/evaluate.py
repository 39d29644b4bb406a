"""`evf-sam evaluate`: the figures of a checkpoint on a dataset, as a table and as JSON."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from modeling_evf_sam import DEFAULT_CHECKPOINT
from modeling_evf_sam.cli.options import DeviceOption, JsonOption, ModelOption
from modeling_evf_sam.cli.writing import write_json

if TYPE_CHECKING:
    from rich.table import Table

    from modeling_evf_sam.data.referring_sample import ReferringSample
    from modeling_evf_sam.evaluation.evaluator import EvaluationResult

DATASETS = ("rendered_scenes",)
SENTENCES_PER_SCENE = 4


def run(
    model: ModelOption = DEFAULT_CHECKPOINT,
    dataset: Annotated[str, typer.Option(help=f"One of {', '.join(DATASETS)}.")] = "rendered_scenes",
    split: Annotated[str, typer.Option(help="The part of the dataset to score.")] = "test",
    size: Annotated[int, typer.Option(min=1, help="Number of photos.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Another seed renders other photos.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Photos computed at a time.")] = 8,
    json_path: JsonOption = None,
    device: DeviceOption = None,
) -> None:
    """Scores a checkpoint on a dataset.

    Shows gIoU, cIoU and the share of sentences with an IoU of at least 0.5, 0.7 and 0.9, overall and by kind.
    """
    from rich.console import Console
    from rich.progress import track

    from modeling_evf_sam.cli.loading import load_model
    from modeling_evf_sam.evaluation.evaluator import evaluate_model

    samples = _open_dataset(dataset, split, size, seed)
    network, processor = load_model(model, device)
    shown = Console(stderr=True)

    def progress(items: "Iterable[ReferringSample]") -> "Iterable[ReferringSample]":
        return track(items, f"{dataset} {split}", total=size, console=shown)

    result = evaluate_model(network, processor, samples, batch_size=batch_size, progress=progress)
    if json_path is not None:
        source = {"model": model, "dataset": dataset, "split": split, "photos": size, "seed": seed}
        write_json({**source, **result.to_dict()}, json_path)
    Console(stderr=json_path == "-").print(_table(result, f"{dataset} {split}, in percent"))


def _open_dataset(name: str, split: str, size: int, seed: int) -> "Iterator[ReferringSample]":
    from modeling_evf_sam.data.rendered_scenes import RenderedScenes

    if name not in DATASETS:
        raise ValueError(f"dataset '{name}' is unknown: choose one of {', '.join(DATASETS)}")
    scenes = RenderedScenes(split, size, sentences_per_scene=SENTENCES_PER_SCENE, seed=seed)
    return (scenes[index] for index in range(size))


def _table(result: "EvaluationResult", title: str) -> "Table":
    from rich.table import Table

    overall = result.overall
    figures = [name for name in overall if name != "sentences"]
    table = Table("kind", title=title)
    for name in ("sentences", *figures):
        table.add_column(name.replace("iou", "IoU").replace("precision", "P"), justify="right")
    for kind, row in {"all": overall, **result.by_kind}.items():
        table.add_row(kind, str(row["sentences"]), *(f"{100 * row[name]:.1f}" for name in figures))
    return table
