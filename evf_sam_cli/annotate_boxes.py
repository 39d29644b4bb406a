"""`evf-sam annotate-boxes`: masks for annotations that have boxes alone."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evf_sam_cli.models import find_model
from evf_sam_cli.options import DeviceOption

if TYPE_CHECKING:
    from modeling_evf_sam.data.box_segmenter import BoxSegmenter

SHOWN_PHOTOS = 20


def run(
    annotations: Annotated[
        Path, typer.Argument(metavar="ANNOTATIONS", help="A COCO file with boxes.", show_default=False)
    ],
    photos: Annotated[Path, typer.Argument(metavar="PHOTOS", help="The folder of its photos.", show_default=False)],
    model: Annotated[
        str, typer.Option(metavar="M", help="Folder or Hub id of a SAM, a SAM-2, or an EVF-SAM whose SAM is used.")
    ],
    output: Annotated[Path, typer.Option(metavar="DIR", help="Where the masks go; a run that was stopped goes on.")],
    shard: Annotated[
        str, typer.Option(metavar="K/N", help="Do part K of N, counted from 0; give all parts the same DIR.")
    ] = "0/1",
    batch_size: Annotated[int, typer.Option(min=1, help="Boxes decoded at a time.")] = 64,
    device: DeviceOption = None,
) -> None:
    """Makes masks for box annotations with a SAM, as the paper did for Objects365.

    Each photo is encoded once for all its boxes. When all parts are done, DIR/annotations.json holds the record with
    a run-length mask for each box; photos that cannot be read are listed and left out of it.
    """
    number, shards = _parse_shard(shard)
    found = find_model(model)

    from rich.console import Console
    from rich.progress import track

    from modeling_evf_sam.data.box_annotations import BoxAnnotations, MaskShards
    from modeling_evf_sam.files import write_json
    from modeling_evf_sam.inference.known_limits import photo_warning

    boxes = BoxAnnotations(annotations, photos)
    if not boxes.boxes:
        raise ValueError(f"'{annotations}' has no box without a mask: there is nothing to do")
    source = {"annotations": annotations.name, "boxes": sum(map(len, boxes.boxes.values())), "model": model}
    parts = MaskShards(output, source, boxes)

    def shown(images: Sequence[int]) -> Iterable[int]:
        return track(images, f"masks, part {shard}", console=Console(stderr=True))

    segmenter = _load(found, device, batch_size)
    parts.run(segmenter, shard=number, shards=shards, progress=shown)
    warning = photo_warning(segmenter.model.config)
    if warning is not None:
        print(f"Note: {warning}.")
    lines = parts.read()
    missing = len(boxes.boxes.keys() - lines.keys())
    if missing:
        print(f"{output}: part {shard} is done; {missing} photos are left to the others")
        return
    write_json(boxes.with_masks(lines), str(output / "annotations.json"))
    _report(output, lines)


def _report(output: Path, lines: dict[int, dict[str, Any]]) -> None:
    bad = [line["error"] for line in lines.values() if "error" in line]
    masks = [mask for line in lines.values() for mask in line.get("masks", {}).values()]
    empty = sum(mask["area"] == 0 for mask in masks)
    for error in bad[:SHOWN_PHOTOS]:
        print(error)
    if len(bad) > SHOWN_PHOTOS:
        print(f"... and {len(bad) - SHOWN_PHOTOS} more")
    print(f"{output / 'annotations.json'}: {len(masks)} masks, {empty} of them empty; {len(bad)} bad photos left out")


def _parse_shard(text: str) -> tuple[int, int]:
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        raise ValueError(f"--shard '{text}' must be K/N with K below N, such as 0/4")
    return int(number), int(count)


def _load(source: str, device: str | None, batch_size: int) -> "BoxSegmenter":
    from modeling_evf_sam.data.box_segmenter import BoxSegmenter, load_sam
    from modeling_evf_sam.inference import loading
    from modeling_evf_sam.inference.precision import default_dtype

    loading.check_source(source)
    target = loading.find_device(device)
    segmenter = load_sam(source, target, default_dtype(target), batch_size=batch_size)
    if segmenter is not None:
        return segmenter
    model, processor = loading.load_model(source, device)
    views = processor.image_processor
    return BoxSegmenter(model, image_size=views.image_size, image_layout=views.image_layout, batch_size=batch_size)
