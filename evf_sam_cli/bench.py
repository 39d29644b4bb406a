"""`evf-sam bench`: seconds, FLOPs and memory of a model, stage by stage, beside what it is compared with."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from evf_sam_cli.models import find_model
from evf_sam_cli.options import DEFAULT_MODEL, DeviceOption, JsonOption, ModelOption

if TYPE_CHECKING:
    from rich.table import Table

    from modeling_evf_sam import EvfSamModel, EvfSamProcessor


def run(
    model: ModelOption = DEFAULT_MODEL,
    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help="A system of the paper with random weights, such as evf-sam.")
    ] = None,
    prompts: Annotated[str, typer.Option(metavar="N,N,...", help="Numbers of sentences on a photo.")] = "1,10,100",
    photos: Annotated[int, typer.Option(min=1, help="Photos in a call.")] = 1,
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16", "int8"] | None,
        typer.Option(help="Precision.", show_default="the one that the checkpoint is loaded in"),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Timed runs of everything, in turns.")] = 5,
    exported: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Measure calls of what evf-sam export wrote there, too; may be repeated."),
    ] = None,
    json_path: JsonOption = None,
    chart: Annotated[Path | None, typer.Option(metavar="PNG", help="Draw the result; needs matplotlib.")] = None,
    device: DeviceOption = None,
) -> None:
    """Measures how fast a model is on this machine.

    Shows seconds, FLOPs, share of the device's best rate and peak memory for each stage and for whole calls, beside
    the image encoder of transformers and the original's way of working, a call for each sentence.
    """
    counts = _counts(prompts)
    if preset is not None and model != DEFAULT_MODEL:
        raise ValueError("--model and --preset are two models: give one of them")
    source = find_model(model)

    from rich.console import Console
    from rich.progress import track

    from modeling_evf_sam.bench.chart import check_matplotlib, draw_chart
    from modeling_evf_sam.bench.record import run_benchmark
    from modeling_evf_sam.bench.report import findings, headline
    from modeling_evf_sam.files import whole_file, write_json

    if chart is not None:
        check_matplotlib()
    shown = Console(stderr=True)
    with shown.status("loading"):
        network, processor = _load(source, preset, device, dtype and "float32")
    record: dict[str, Any] = {
        "model": preset or Path(model).name,
        "weights": "random" if preset else "trained",
        **run_benchmark(
            network,
            processor,
            counts=counts,
            dtype=dtype,
            num_photos=photos,
            repeats=repeats,
            exported=exported or (),
            progress=lambda turns: track(turns, "measuring", console=shown),
        ),
    }
    if json_path is not None:
        write_json(record, json_path)
    if chart is not None:
        with whole_file(chart) as file:
            draw_chart(record, file)
    console = Console(stderr=json_path == "-")
    console.print(headline(record), _table(record), sep="\n")
    for finding in findings(record):
        console.print(finding, highlight=False, soft_wrap=True)


def _counts(text: str) -> list[int]:
    numbers = [part.strip() for part in text.split(",")]
    if not all(number.isdecimal() and int(number) for number in numbers):
        raise ValueError(f"--prompts '{text}' must be numbers above 0 with commas between them, such as 1,10,100")
    return sorted({int(number) for number in numbers})


def _load(
    source: str, preset: str | None, device: str | None, dtype: str | None
) -> "tuple[EvfSamModel, EvfSamProcessor]":
    """Loads a checkpoint; or builds a preset, whose sentences the tokenizer of the embedded checkpoint reads."""
    import torch

    from modeling_evf_sam import EvfSamModel, EvfSamProcessor
    from modeling_evf_sam.inference.loading import load_model

    model, processor = load_model(source, device, dtype)
    if preset is None:
        return model, processor
    torch.manual_seed(0)
    network = EvfSamModel.from_preset(preset).eval().to(model.device, model.dtype)
    return network, EvfSamProcessor.from_config(network.config, processor.tokenizer)


def _table(record: dict[str, Any]) -> "Table":
    """The record without the columns that a narrow screen has no room for."""
    from rich.table import Table

    from modeling_evf_sam.bench.report import COLUMNS, rows

    shown = [index for index, column in enumerate(COLUMNS) if column not in ("spread", "per sentence")]
    table = Table(box=None, padding=(0, 1, 0, 0))
    for index in shown:
        table.add_column(COLUMNS[index], justify="right" if index else "left")
    for row in rows(record):
        table.add_row(*(row[index] for index in shown))
    return table
