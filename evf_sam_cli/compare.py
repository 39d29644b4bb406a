"""`evf-sam compare`: several checkpoints on the same photo and sentences, side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from evf_sam_cli.models import find_model
from evf_sam_cli.options import DeviceOption, DtypeOption
from evf_sam_cli.paths import check_folder, check_photo


def run(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="An image file.", show_default=False)],
    sentences: Annotated[
        list[str], typer.Argument(metavar="SENTENCE", help="What to segment; one row for each.", show_default=False)
    ],
    models: Annotated[
        list[str],
        typer.Option(
            "--model", help="Name, folder or Hub id of a checkpoint; give one for each column.", show_default=False
        ),
    ],
    output: Annotated[Path, typer.Option(metavar="FILE", help="The picture.")] = Path("comparison.png"),
    device: DeviceOption = None,
    dtype: DtypeOption = None,
) -> None:
    """Draws what several checkpoints find for the same sentences."""
    titles = _titles(models)
    check_photo(photo)
    check_folder(output.parent)
    sources = [find_model(model) for model in models]

    from rich.console import Console

    from modeling_evf_sam.files import whole_file
    from modeling_evf_sam.inference.drawing import comparison
    from modeling_evf_sam.inference.loading import load_model
    from modeling_evf_sam.inference.segmenting import segment
    from modeling_evf_sam.photos import open_photo

    image = open_photo(photo)
    with Console(stderr=True).status("segmenting"):
        found = {
            title: segment(*load_model(source, device, dtype), [image], [sentences])[0]
            for title, source in zip(titles, sources, strict=True)
        }
    masks = {title: result.masks for title, result in found.items()}
    scores = {title: result.scores.tolist() for title, result in found.items()}
    with whole_file(output) as file:
        comparison(image, sentences, masks, scores).save(file)
    print(output)
    for title, result in found.items():
        if result.warning is not None:
            print(f"Note on {title}: {result.warning}.")


def _titles(models: Sequence[str]) -> list[str]:
    """The models' last names, or their whole ones where two would be the same.

    Raises:
        ValueError: a model is given twice.
    """
    if len(set(models)) < len(models):
        raise ValueError("a model is given twice: give each --model once")
    short = [Path(model).name for model in models]
    return short if len(set(short)) == len(short) else list(models)
