"""`evf-sam export`: a checkpoint as three graphs, for other programs and for machines without torch."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from evf_sam_cli.models import find_model
from evf_sam_cli.options import DEFAULT_MODEL, ModelOption
from evf_sam_cli.paths import check_folder, find_photos


def run(
    output: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the graphs.", show_default=False)],
    model: ModelOption = DEFAULT_MODEL,
    format: Annotated[
        Literal["onnx", "openvino", "torch", "web"], typer.Option(help="Of the files; web is a page.")
    ] = "onnx",
    int8: Annotated[
        bool, typer.Option("--int8", help="The encoders' linear layers in 8 bits.", show_default=False)
    ] = False,
    calibrate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PHOTO",
            help="For int8 in openvino: a photo, folder or glob like what is to be segmented; may be repeated.",
        ),
    ] = None,
) -> None:
    """Writes a checkpoint as three graphs: for a photo, for a sentence, and for a mask by both.

    Beside them lie evf_sam.json and tokenizer.json, which `segment --backend onnxruntime` and
    `EvfSamPredictor.from_exported` read, and report.json with versions, sizes, seconds to load and the largest
    differences from the model. See docs/export.md.
    """
    photos = [photo for argument in calibrate or [] for photo in find_photos(argument)]
    check_folder(output)
    source = find_model(model)

    from rich.console import Console

    from modeling_evf_sam.export.exporting import export
    from modeling_evf_sam.export.formats import check_format
    from modeling_evf_sam.export.int8 import check_int8
    from modeling_evf_sam.inference.loading import load_model

    check_format(format)
    if int8:
        check_int8(format, photos)
    elif photos:
        raise ValueError("--calibrate is for --int8: give both, or leave it out")
    console = Console(stderr=True)
    with console.status("loading"):
        network, processor = load_model(source, "cpu", "float32")
    with console.status("exporting"):
        report = export(network, processor, output, format, int8=int8, photos=photos)
    for name, size in report["bytes"].items():
        print(f"{output / name}: {size / 1e6:.1f} MB")
    found = ", ".join(f"{name} {value:.1e}" for name, value in report["differences"].items())
    print(f"{report['backend']} loads them in {report['seconds_to_load']:.1f} s; largest differences: {found}")
