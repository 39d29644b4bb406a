"""What `segment` and `segment-dataset` write for other tools: options, and the writing itself."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from modeling_evf_sam.annotations.annotation import AnnotatedPhoto

FORMATS = ("coco", "coco-polygons", "yolo", "masks", "labelstudio")
FormatOption = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        metavar="NAME",
        help=f"Write a data set, too: {', '.join(FORMATS)}; may be repeated. See docs/bulk.md.",
    ),
]
PresenceOption = Annotated[
    float, typer.Option("--min-presence", min=0, max=1, help="Least presence of what goes into a data set.")
]
QualityOption = Annotated[
    float, typer.Option("--min-quality", min=0, max=1, help="Least quality of what goes into a data set.")
]
AreaOption = Annotated[int, typer.Option("--min-area", min=1, help="Least pixels of what goes into a data set.")]


def check_formats(formats: Sequence[str]) -> None:
    """Raises a ValueError if one of them is unknown."""
    for format in formats:
        if format not in FORMATS:
            raise ValueError(f"--format '{format}' is unknown: use {', '.join(FORMATS)}")


def write_data_sets(
    formats: Sequence[str], photos: "Iterable[AnnotatedPhoto]", labels: Sequence[str], output: Path
) -> None:
    """Writes a folder for each format into `output`, and prints what it holds."""
    from modeling_evf_sam.annotations.formats import write_data_set

    count = sum(len(photo.annotations) for photo in photos) if formats else 0
    for format in dict.fromkeys(formats):
        folder = output / format.replace("-", "_")
        write_data_set(format, photos, labels, folder)
        print(f"{folder}: {count} annotations, {len(labels)} labels")
