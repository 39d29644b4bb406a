"""`evf-sam evaluate`: the figures of a checkpoint on a dataset, as a table and as JSON."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evf_sam_cli.models import find_model
from evf_sam_cli.options import DEFAULT_MODEL, DeviceOption, DtypeOption, JsonOption, ModelOption

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from modeling_evf_sam.data.referring_dataset import ReferringDataset
    from modeling_evf_sam.data.referring_sample import ReferringSample
    from modeling_evf_sam.evaluation.evaluator import EvaluationResult
    from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes

SENTENCES_PER_SCENE = 4
SCENES = 500
WORST = 20
HEADINGS = {"giou": "gIoU", "ciou": "cIoU", "no_target_accuracy": "N-acc", "target_accuracy": "T-acc"}


def run(
    model: ModelOption = DEFAULT_MODEL,
    dataset: Annotated[
        str, typer.Option(help="rendered_scenes, or files: refer:ROOT:refcoco:unc, jsonl:FOLDER; see docs/data.md.")
    ] = "rendered_scenes",
    split: Annotated[
        str | None, typer.Option(help="The part of the dataset to score.", show_default="test, of rendered_scenes")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option("--size", "--limit", min=1, help="Number of photos.", show_default="all; 500 of rendered_scenes"),
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
    dump: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the result of each sentence, and a picture of the worst, into DIR."),
    ] = None,
    worst: Annotated[
        int | None, typer.Option(min=0, help="Sentences in that picture.", show_default=str(WORST))
    ] = None,
    table: Annotated[
        bool,
        typer.Option("--table", help="Show the cIoU below those of the paper's Table 2.", show_default=False),
    ] = False,
    json_path: JsonOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
) -> None:
    """Scores a checkpoint on a dataset.

    Shows gIoU (the mean over all sentences), cIoU, and the share of sentences with an IoU of at least 0.5 to 0.9,
    overall and by kind. Several processes share the photos: torchrun --nproc-per-node 4 -m modeling_evf_sam
    evaluate ...
    """
    if worst is not None and dump is None:
        raise ValueError("--worst draws into the folder of --dump: give --dump DIR too")
    source = find_model(model)

    from rich.console import Console

    from modeling_evf_sam.evaluation.evaluator import evaluate_model
    from modeling_evf_sam.evaluation.processes import joined_processes
    from modeling_evf_sam.files import write_json
    from modeling_evf_sam.inference.known_limits import photo_warning
    from modeling_evf_sam.inference.loading import load_model

    if dataset == "rendered_scenes":
        split = split or "test"
    title = f"{dataset} {split or ''}".strip()
    with joined_processes() as processes:
        samples = _open_dataset(dataset, split, size, seed, legacy_overlap)
        column = _published_column(samples, title) if table else None
        photos = min(size or len(samples), len(samples))
        share = processes.share(photos)
        with _dump_folder(dump if processes.rank == 0 else None) as folder:
            network, processor = load_model(source, device, dtype)
            part = evaluate_model(
                network,
                processor,
                (samples[index] for index in share),
                batch_size=batch_size,
                progress=lambda items: _track(items, title, len(share)) if processes.rank == 0 else items,
            )
            result = processes.join(part)
            if result is None:
                return
            if folder is not None:
                _write_dump(result, samples, folder, WORST if worst is None else worst)
    if json_path is not None:
        of_photos = max(photos, SCENES) if dataset == "rendered_scenes" else len(samples)
        about = {"model": model, "dataset": dataset, "split": split, "photos": photos, "of_photos": of_photos}
        write_json({**about, "seed": seed, **result.to_dict()}, json_path)
    console = Console(stderr=json_path == "-")
    console.print(f"{title}, in percent")
    console.print(_table(result))
    if column is not None:
        _print_published(console, result, model, column)
    warning = photo_warning(network.config)
    if warning is not None and dataset != "rendered_scenes":
        console.print(f"Note: {warning}.", highlight=False, soft_wrap=True)


def _open_dataset(
    name: str, split: str | None, size: int | None, seed: int, legacy_overlap: bool
) -> "RenderedScenes | ReferringDataset":
    from modeling_evf_sam.data.open_dataset import open_dataset
    from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes as Scenes

    if name == "rendered_scenes":
        if legacy_overlap:
            raise ValueError("--legacy-overlap is for datasets refer:... and hub:... alone")
        return Scenes(split or "", size or SCENES, sentences_per_scene=SENTENCES_PER_SCENE, seed=seed)
    return open_dataset(name, split, legacy_overlap=legacy_overlap)


def _track(items: "Iterable[ReferringSample]", title: str, total: int) -> "Iterable[ReferringSample]":
    from rich.console import Console
    from rich.progress import track

    return track(items, title, total=total, console=Console(stderr=True))


@contextmanager
def _dump_folder(dump: Path | None) -> Iterator[Path | None]:
    if dump is None:
        yield None
        return
    from modeling_evf_sam.files import whole_folder

    with whole_folder(dump) as folder:
        yield folder


def _write_dump(
    result: "EvaluationResult", samples: "RenderedScenes | ReferringDataset", folder: Path, worst: int
) -> None:
    from modeling_evf_sam.evaluation.dump import write_sentences, write_worst

    write_sentences(result, folder / "sentences.jsonl")
    if worst:
        write_worst(result, samples.__getitem__, folder / "worst.png", count=worst)


def _table(result: "EvaluationResult") -> "Table":
    from rich.table import Table

    overall = result.overall
    figures = [name for name in overall if name != "sentences"]
    table = Table("kind", box=None, padding=(0, 1, 0, 0))
    for name in ("sentences", *figures):
        table.add_column(HEADINGS.get(name, name.replace("precision", "P")), justify="right")
    for kind, row in {"all": overall, **result.by_kind}.items():
        table.add_row(kind, str(row["sentences"]), *(_percent(row.get(name)) for name in figures))
    return table


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def _published_column(samples: "RenderedScenes | ReferringDataset", title: str) -> int:
    """Which of the published splits this is."""
    from modeling_evf_sam.evaluation.published import PUBLISHED_SPLITS

    benchmark = getattr(samples, "benchmark", None)
    if benchmark not in PUBLISHED_SPLITS:
        known = ", ".join(" ".join(split) for split in PUBLISHED_SPLITS)
        raise ValueError(f"--table: '{title}' is not in Table 2: choose one of {known}")
    return PUBLISHED_SPLITS.index(benchmark)


def _print_published(console: "Console", result: "EvaluationResult", model: str, column: int) -> None:
    from rich.table import Table

    from modeling_evf_sam.data.references import PUBLISHED_SIZES
    from modeling_evf_sam.evaluation.published import CIOU, NAMES, PUBLISHED_SPLITS

    table = Table("cIoU in percent", box=None, padding=(0, 1, 0, 0))
    for dataset, _, split in PUBLISHED_SPLITS:
        table.add_column(f"{NAMES[dataset]}\n{split}", justify="right")
    table.add_column("mean", justify="right")
    for method, figures in CIOU.items():
        table.add_row(method, *map(str, figures))
    name, ours = Path(model).name, [""] * len(PUBLISHED_SPLITS)
    ours[column] = _percent(result.overall["ciou"])
    table.add_row(name, *ours, style="bold")
    console.print("", table, sep="\n")
    scored, published = result.overall["sentences"], PUBLISHED_SIZES[PUBLISHED_SPLITS[column]][2]
    if scored != published:
        console.print(f"{name} was scored on {scored} of the {published} sentences: not to be compared")
