"""`evf-sam segment`: a photo and sentences -> mask files, an overlay picture and a JSON record."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evf_sam_cli.options import DeviceOption, DtypeOption, JsonOption, ModelOption
from modeling_evf_sam import DEFAULT_CHECKPOINT
from modeling_evf_sam.files import whole_folder, write_json

if TYPE_CHECKING:
    from PIL.Image import Image

    from modeling_evf_sam import EvfSamModel, EvfSamProcessor

ATTENTION = "attention.png"


def run(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="An image file.", show_default=False)],
    sentences: Annotated[
        list[str], typer.Argument(metavar="SENTENCE", help="What to segment; one mask for each.", show_default=False)
    ],
    model: ModelOption = DEFAULT_CHECKPOINT,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the results.", show_default="<photo>_masks")
    ] = None,
    semantic: Annotated[
        bool, typer.Option("--semantic", help="Every pixel of a category, not one object.", show_default=False)
    ] = False,
    point: Annotated[
        list[str] | None, typer.Option(metavar="x,y", help="A photo pixel on every object; may be repeated.")
    ] = None,
    box: Annotated[
        str | None, typer.Option(metavar="x0,y0,x1,y1", help="A box in photo pixels around every object.")
    ] = None,
    attention: Annotated[
        bool, typer.Option("--attention", help="Draw where the encoder looks, too: attention.png.", show_default=False)
    ] = False,
    json_path: JsonOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
) -> None:
    """Segments what sentences name in a photo.

    Writes one mask per sentence, overlay.png with all of them, and result.json with scores, boxes and run lengths.
    """
    from rich.console import Console

    from modeling_evf_sam.inference.loading import load_model
    from modeling_evf_sam.inference.segmentation import result_record, write_pictures
    from modeling_evf_sam.photos import open_photo

    prompts = _spatial_prompts(point or [], box, len(sentences))
    image = open_photo(photo)
    output = output or Path(f"{photo.stem}_masks")
    former = _pictures_of(output / "result.json")
    with whole_folder(output) as folder, Console(stderr=True).status("segmenting"):
        result = predict(
            *load_model(model, device, dtype), image, sentences, attention=attention, semantic=semantic, **prompts
        )
        masks = write_pictures(folder, image, sentences, result)
        record = result_record(image, name=str(photo), model=model, semantic=semantic, masks=masks)
        write_json(record, str(folder / "result.json"))
        if json_path is not None:
            write_json(record, json_path)
    pictures = ["overlay.png", *([ATTENTION] if attention else [])]
    for file in former.difference(pictures, (entry["file"] for entry in masks)):
        (output / file).unlink(missing_ok=True)
    messages = sys.stderr if json_path == "-" else sys.stdout
    for entry in masks:
        print(f"{output / entry['file']}: score {entry['score']:.2f}, {entry['area']} pixels", file=messages)
    print(", ".join(str(output / name) for name in [*pictures, "result.json"]), file=messages)


def _pictures_of(record: Path) -> set[str]:
    """Names of the pictures that an earlier run wrote beside its record."""
    try:
        names = {Path(entry["file"]).name for entry in json.loads(record.read_bytes())["masks"]}
    except (OSError, ValueError, KeyError, TypeError):  # none, or not one of ours
        return set()
    return {ATTENTION, *(name for name in names if name.endswith(".png"))}


def _spatial_prompts(points: list[str], box: str | None, count: int) -> dict[str, Any]:
    """The points and the box, given to each of the `count` sentences of the one photo."""
    prompts: dict[str, Any] = {}
    if points:
        prompts["input_points"] = [[[_numbers("--point", text, 2) for text in points]] * count]
    if box is not None:
        prompts["input_boxes"] = [[_numbers("--box", box, 4)] * count]
    return prompts


def _numbers(option: str, text: str, count: int) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise ValueError(f"{option} '{text}' must be {count} numbers with commas between them, in photo pixels")
    return numbers


def predict(
    model: "EvfSamModel",
    processor: "EvfSamProcessor",
    image: "Image",
    sentences: list[str],
    *,
    attention: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Runs all sentences in one forward: masks (P, H, W) bool, scores (P,) and boxes (P, 4) as numpy arrays.

    Where `attention` is asked for, also the maps (P, g, g).
    """
    import torch

    from modeling_evf_sam.inference.attention_maps import attention_maps

    inputs = processor(images=[image], text=[sentences], return_tensors="pt", **options).to(model.device)
    with torch.no_grad():
        outputs = model(**inputs)
    (result,) = processor.post_process_referring_segmentation(outputs, inputs)
    if attention:
        result["attention"] = attention_maps(model, inputs)[0]
    return {name: values.cpu().numpy() for name, values in result.items()}
