"""`evf-sam compare`: several checkpoints on the same photo and sentences, side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from evf_sam_cli.options import DeviceOption
from modeling_evf_sam.files import whole_folder


def run(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="An image file.", show_default=False)],
    sentences: Annotated[
        list[str], typer.Argument(metavar="SENTENCE", help="What to segment; one row for each.", show_default=False)
    ],
    models: Annotated[
        list[str],
        typer.Option(
            "--model", help="Folder or Hub id of a checkpoint; give one for each column.", show_default=False
        ),
    ],
    output: Annotated[Path, typer.Option(metavar="FILE", help="The picture.")] = Path("comparison.png"),
    device: DeviceOption = None,
) -> None:
    """Draws what several checkpoints find for the same sentences."""
    from rich.console import Console

    from evf_sam_cli.segment import predict
    from modeling_evf_sam.inference.drawing import comparison
    from modeling_evf_sam.inference.loading import load_model
    from modeling_evf_sam.photos import open_photo

    image = open_photo(photo)
    with whole_folder(output.parent) as folder, Console(stderr=True).status("segmenting"):
        masks = {
            title: predict(*load_model(model, device), image, sentences)["masks"]
            for title, model in zip(_titles(models), models, strict=True)
        }
        comparison(image, sentences, masks).save(folder / output.name)
    print(output)


def _titles(models: Sequence[str]) -> list[str]:
    """The models' last names, or their whole ones where two would be the same.

    Raises:
        ValueError: a model is given twice.
    """
    if len(set(models)) < len(models):
        raise ValueError("a model is given twice: give each --model once")
    short = [Path(model).name for model in models]
    return short if len(set(short)) == len(short) else list(models)
