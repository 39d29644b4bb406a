"""`evf-sam evaluate`: the figures of a checkpoint on a dataset, as a table and as JSON."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evf_sam_cli.evaluation_tables import print_figures, print_published, published_column
from evf_sam_cli.models import find_model
from evf_sam_cli.options import DEFAULT_MODEL, DeviceOption, DtypeOption, JsonOption, ModelOption
from evf_sam_cli.paths import check_folder

if TYPE_CHECKING:
    from modeling_evf_sam.data.referring_dataset import ReferringDataset
    from modeling_evf_sam.data.referring_sample import ReferringSample
    from modeling_evf_sam.evaluation.evaluator import EvaluationResult
    from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes

SENTENCES_PER_SCENE = 4
SCENES = 500
WORST = 20


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
    seed: Annotated[int, typer.Option(min=0, help="Of rendered_scenes, and of --absent: another seed, others.")] = 0,
    absent: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Share of sentences from other photos, about what is not in this one; of rendered_scenes: that one "
            "word makes untrue.",
        ),
    ] = 0.0,
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
    diagram: Annotated[
        Path | None,
        typer.Option(
            "--reliability",
            metavar="PNG",
            help="Draw how presence and quality compare with the targets; needs matplotlib.",
        ),
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
    overall and by kind; and how well it tells what is there from what is not, where sentences name nothing or the
    checkpoint gives probabilities. Several processes share the photos: torchrun --nproc-per-node 4 -m
    modeling_evf_sam evaluate ...
    """
    if worst is not None and dump is None:
        raise ValueError("--worst draws into the folder of --dump: give --dump DIR too")
    if diagram is not None:
        _check_diagram(diagram)
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
        samples = _open_dataset(dataset, split, size, seed, absent, legacy_overlap)
        read = _reader(samples, absent, seed)
        column = published_column(samples, title) if table else None
        photos = min(size or len(samples), len(samples))
        share = processes.share(photos)
        with _dump_folder(dump if processes.rank == 0 else None) as folder:
            network, processor = load_model(source, device, dtype)
            if diagram is not None and network.config.presence is None and network.config.quality is None:
                raise ValueError(f"--reliability: '{model}' estimates neither presence nor quality: leave it away")
            part = evaluate_model(
                network,
                processor,
                map(read, share),
                batch_size=batch_size,
                progress=lambda items: _track(items, title, len(share)) if processes.rank == 0 else items,
            )
            result = processes.join(part)
            if result is None:
                return
            if folder is not None:
                _write_dump(result, read, folder, WORST if worst is None else worst)
    if json_path is not None:
        of_photos = max(photos, SCENES) if dataset == "rendered_scenes" else len(samples)
        about = {"model": model, "dataset": dataset, "split": split, "photos": photos, "of_photos": of_photos}
        write_json({**about, "seed": seed, "absent": absent, **result.to_dict()}, json_path)
    console = Console(stderr=json_path == "-")
    console.print(f"{title}, in percent")
    print_figures(console, result)
    if column is not None:
        print_published(console, result, Path(model).name, column)
    warning = photo_warning(network.config)
    if warning is not None and dataset != "rendered_scenes":
        console.print(f"Note: {warning}.", highlight=False, soft_wrap=True)
    if diagram is not None:
        _write_diagram(result, diagram)


def _open_dataset(
    name: str, split: str | None, size: int | None, seed: int, absent: float, legacy_overlap: bool
) -> "RenderedScenes | ReferringDataset":
    from modeling_evf_sam.data.open_dataset import open_dataset
    from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes as Scenes

    if name == "rendered_scenes":
        if legacy_overlap:
            raise ValueError("--legacy-overlap is for datasets refer:... and hub:... alone")
        count = size or SCENES
        return Scenes(split or "", count, sentences_per_scene=SENTENCES_PER_SCENE, absent=absent, seed=seed)
    return open_dataset(name, split, legacy_overlap=legacy_overlap)


def _reader(
    samples: "RenderedScenes | ReferringDataset", absent: float, seed: int
) -> "Callable[[int], ReferringSample]":
    from modeling_evf_sam.data.referring_dataset import ReferringDataset

    if not absent or not isinstance(samples, ReferringDataset):  # scenes are drawn with untrue sentences
        return samples.__getitem__

    import numpy as np

    return lambda index: samples.draw(index, negatives=absent, rng=np.random.default_rng((seed, index)))


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
    result: "EvaluationResult", read: "Callable[[int], ReferringSample]", folder: Path, worst: int
) -> None:
    from modeling_evf_sam.evaluation.dump import write_sentences, write_worst

    write_sentences(result, folder / "sentences.jsonl")
    if worst:
        write_worst(result, read, folder / "worst.png", count=worst)


def _check_diagram(path: Path) -> None:
    from modeling_evf_sam.evaluation.reliability_diagram import check_matplotlib

    check_folder(path.parent)
    check_matplotlib()


def _write_diagram(result: "EvaluationResult", path: Path) -> None:
    from modeling_evf_sam.evaluation.reliability_diagram import draw_reliability
    from modeling_evf_sam.files import whole_file

    with whole_file(path) as file:
        draw_reliability(result.reliability, file)
