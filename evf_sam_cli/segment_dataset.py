"""`evf-sam segment-dataset`: many photos and sentences -> parquet, over processes and machines."""

import hashlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evf_sam_cli.data_sets import (
    AreaOption,
    FormatOption,
    PresenceOption,
    QualityOption,
    check_formats,
    write_data_sets,
)
from evf_sam_cli.models import find_model
from evf_sam_cli.options import DEFAULT_MODEL, BackendOption, DeviceOption, DtypeOption, ModelOption

if TYPE_CHECKING:
    from rich.console import Console


def run(
    images: Annotated[
        str,
        typer.Argument(
            metavar="IMAGES", help="A folder, a glob in quotes, or a text or parquet list.", show_default=False
        ),
    ],
    prompts: Annotated[
        Path,
        typer.Argument(
            metavar="PROMPTS",
            help="A text file of sentences for all photos, or JSONL or parquet with image, text, semantic and label.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the results.", show_default=False)],
    model: ModelOption = DEFAULT_MODEL,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes with a model each.", show_default="one for each GPU, or 1")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Photos computed at a time.")] = 8,
    part_size: Annotated[int, typer.Option(min=1, help="Photos in a file of the results.")] = 256,
    instances: Annotated[
        bool, typer.Option("--instances", help="A row for each object of an answer.", show_default=False)
    ] = False,
    format: FormatOption = None,
    min_presence: PresenceOption = 0.0,
    min_quality: QualityOption = 0.0,
    min_area: AreaOption = 1,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    backend: BackendOption = "torch",
) -> None:
    """Segments a whole collection of photos.

    Writes parquet files with image, sentence, score, box, area and run lengths, and failures.jsonl with the photos
    that could not be read; and from them the data sets that other tools read. Photos that DIR already holds are not
    done again. See docs/bulk.md.
    """
    formats = [name for name in format or () if name != "parquet"]  # which is always written
    check_formats(formats)
    source = find_model(model)
    if Path(source).exists():
        source = str(Path(source).absolute())

    from rich.console import Console

    from modeling_evf_sam.segment_dataset import check_ray

    check_ray()
    from modeling_evf_sam.annotations.annotation import Least
    from modeling_evf_sam.inference.known_limits import photo_warning
    from modeling_evf_sam.segment_dataset.annotated import AnnotatedParts
    from modeling_evf_sam.segment_dataset.on_ray import segment_dataset
    from modeling_evf_sam.segment_dataset.reading import read_job
    from modeling_evf_sam.segment_dataset.results import FAILURES, keep_settings

    job = read_job(images, prompts)
    config, processor = _read_settings(source, backend)
    if job.shared:  # a mistake in them ends the run before it begins
        processor(text=[[prompt.text for prompt in job.shared]])
    output.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(prompts.read_bytes()).hexdigest()
    settings = {"model": source, "dtype": dtype, "prompts": digest, "instances": instances or None}
    keep_settings(output, settings, root=str(job.root))
    start = time.perf_counter()
    summary = segment_dataset(
        job,
        output.absolute(),
        model=source,
        device=device,
        dtype=dtype,
        backend=backend,
        workers=workers,
        batch_size=batch_size,
        part_size=part_size,
        instances=instances,
        progress=lambda counts, total: _show_progress(counts, total, Console(stderr=True)),
    )
    print(f"{output}: {summary.done} photos segmented in {time.perf_counter() - start:.0f} s")
    if summary.done_before:
        print(f"{summary.done_before} photos were already there")
    if summary.without_sentence:
        print(f"{summary.without_sentence} photos have no sentence")
    if summary.failed:
        print(f"{summary.failed} photos failed: {output / FAILURES}")
    least = Least(presence=min_presence, quality=min_quality, area=min_area)
    write_data_sets(formats, AnnotatedParts(output, job.root, least), job.labels, output)
    warning = photo_warning(config)
    if warning is not None:
        print(f"Note: {warning}.")


def _read_settings(source: str, backend: str) -> tuple[Any, Any]:
    """The configuration and the processor of a model."""
    if backend != "torch":
        from modeling_evf_sam.exported.loading import load_settings

        return load_settings(Path(source))
    from modeling_evf_sam import EvfSamConfig, EvfSamProcessor

    return EvfSamConfig.from_pretrained(source), EvfSamProcessor.from_pretrained(source)


def _show_progress(counts: Iterable[int], total: int, console: "Console") -> Iterator[int]:
    from rich.progress import Progress

    with Progress(console=console) as progress:
        task = progress.add_task("segmenting", total=total)
        for count in counts:
            progress.advance(task, count)
            yield count
