"""`evf-sam card`: the model card of a checkpoint."""

import json
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from evf_sam_cli.models import find_model


def run(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Folder, Hub id or short name of a checkpoint.")],
    evaluation: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="What `evaluate --json` wrote; may be repeated.")
    ] = None,
    image: Annotated[Path | None, typer.Option(metavar="FILE", help="A picture of a result.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The card; the picture is put beside it.", show_default="printed"),
    ] = None,
    repository: Annotated[
        str | None, typer.Option(metavar="ID", help="Hub id that the examples load.", show_default="MODEL")
    ] = None,
    license: Annotated[str, typer.Option(metavar="ID", help="Licence of the weights.")] = "apache-2.0",
    base_model: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Hub id of what it was made from; may be repeated.")
    ] = None,
    dataset: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Hub id of what it was trained on; may be repeated.")
    ] = None,
) -> None:
    """Writes the model card of a checkpoint.

    It holds the Hub's metadata, examples that run, sizes, the figures of evaluations, limits and the citation.
    """
    if image is not None and not image.is_file():
        raise ValueError(f"picture '{image}' does not exist: check the path")
    records = [_read_record(file) for file in evaluation or []]
    found = find_model(model)

    from modeling_evf_sam.files import whole_folder
    from modeling_evf_sam.hub.card import checkpoint_card

    card = checkpoint_card(
        found,
        repository=repository,
        evaluations=records,
        picture=image.name if image else None,
        license=license,
        base_models=base_model or [],
        datasets=dataset or [],
    )
    if output is None:
        print(card, end="")
        return
    with whole_folder(output.parent) as folder:
        (folder / output.name).write_text(card, encoding="utf-8")
        if image is not None:
            shutil.copyfile(image, folder / image.name)
    print(output)


def _read_record(file: Path) -> dict[str, Any]:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"evaluation '{file}' does not exist: check the path") from None
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise ValueError(f"'{file}' is no evaluation: give what `evf-sam evaluate --json` wrote")
    return record
