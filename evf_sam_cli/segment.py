"""`evf-sam segment`: photos and sentences -> mask files, overlay pictures and JSON records."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from evf_sam_cli.data_sets import (
    AreaOption,
    FormatOption,
    PresenceOption,
    QualityOption,
    check_formats,
    write_data_sets,
)
from evf_sam_cli.models import find_model
from evf_sam_cli.options import (
    DEFAULT_MODEL,
    BackendOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelOption,
    read_numbers,
)
from evf_sam_cli.paths import check_folder, photos_and_sentences

if TYPE_CHECKING:
    from PIL.Image import Image
    from rich.console import Console

    from modeling_evf_sam.inference.segmentation import Segmentation

EXPLANATION = "explain_{:0>2}.png"  # of each sentence
MANY = Path("masks")  # folder for the results of several photos


class SegmentCommand(TyperCommand):
    """Has photos and sentences for arguments; what stands behind `--` are sentences."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The line of `--help`."""
        return [self.options_metavar or "", "PHOTO...", "SENTENCE..."]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Gives each sentence behind `--` an option of its own."""
        if "--" in args:
            end = args.index("--")
            args = [*args[:end], *(f"--sentence={text}" for text in args[end + 1 :])]
        return super().parse_args(ctx, args)


def run(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="PHOTO SENTENCE",
            help="Image files, folders or globs; and then what to segment, one mask for each sentence.",
            show_default=False,
        ),
    ],
    sentence: Annotated[
        list[str] | None,
        typer.Option(
            "--sentence", "-s", metavar="TEXT", help="A sentence; all arguments are photos then. Also: -- SENTENCE..."
        ),
    ] = None,
    model: ModelOption = DEFAULT_MODEL,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for the results; of several photos, each gets a folder in it.",
            show_default="<photo>_masks, or masks for several photos",
        ),
    ] = None,
    semantic: Annotated[
        bool, typer.Option("--semantic", help="Every pixel of a category, not one object.", show_default=False)
    ] = False,
    point: Annotated[
        list[str] | None, typer.Option(metavar="x,y", help="A photo pixel on every object; may be repeated.")
    ] = None,
    not_point: Annotated[
        list[str] | None, typer.Option(metavar="x,y", help="A photo pixel beside every object; may be repeated.")
    ] = None,
    box: Annotated[
        str | None, typer.Option(metavar="x0,y0,x1,y1", help="A box in photo pixels around every object.")
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="A name of what no sentence means, such as a part; may be repeated."),
    ] = None,
    present_threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Least presence of what is taken to be in the photo.")
    ] = 0.4,
    always: Annotated[
        bool, typer.Option("--always", help="A mask for every sentence, there or not.", show_default=False)
    ] = False,
    instances: Annotated[
        bool, typer.Option("--instances", help="The objects of each answer one by one, too.", show_default=False)
    ] = False,
    label_map: Annotated[
        bool,
        typer.Option(
            "--label-map", help="One map of all sentences, too: labels.png, labels_legend.png.", show_default=False
        ),
    ] = False,
    attention: Annotated[
        bool, typer.Option("--attention", help="Draw where the encoder looks, too: attention.png.", show_default=False)
    ] = False,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Draw each mask without each word, too: explain_01.png.", show_default=False),
    ] = False,
    format: FormatOption = None,
    min_presence: PresenceOption = 0.0,
    min_quality: QualityOption = 0.0,
    min_area: AreaOption = 1,
    json_path: JsonOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    backend: BackendOption = "torch",
) -> None:
    """Segments what sentences name in photos.

    Writes one mask per sentence, overlay.png with all of them, and result.json with scores, boxes and run lengths.
    With --instances also a map of each sentence's objects: pixels have the number of the object, 0 outside.
    """
    check_formats(format or ())
    photos, sentences = photos_and_sentences(arguments, sentence or [])
    prompts = _spatial_prompts(point or [], not_point or [], box, len(sentences))
    if explain and prompts:
        raise ValueError("--explain leaves out words, not points or boxes: leave --point, --not-point and --box away")
    if exclude:
        prompts["exclude"] = [[exclude] * len(sentences)]
    folders = dict(zip(photos, _folders(photos, output), strict=True))
    for folder in [*folders.values(), *([] if json_path in (None, "-") else [Path(json_path).parent])]:
        check_folder(folder)
    source = find_model(model)

    from rich.console import Console

    from modeling_evf_sam.annotations.annotation import Least, annotated
    from modeling_evf_sam.files import write_json
    from modeling_evf_sam.inference import explaining
    from modeling_evf_sam.inference.backends import load
    from modeling_evf_sam.inference.segmenting import segment
    from modeling_evf_sam.photos import open_photo

    console = Console(stderr=True)
    if len(photos) == 1:
        open_photo(photos[0])  # a damaged one is told before the model is loaded
    with console.status("loading"):
        network, processor = load(source, device, dtype, backend)

    options: dict[str, Any] = {"semantic": semantic, "present_threshold": 0.0 if always else present_threshold}
    more = {"attention": attention, "instances": instances, "label_map": label_map, **prompts}

    def find(image: "Image") -> "Segmentation":
        return segment(network, processor, [image], [sentences], **options, **more)[0]

    def draw_explanations(image: "Image") -> "Iterator[Image]":
        for text in sentences if explain else ():
            yield explaining.explain(network, processor, image, text, **options).plot(image)

    records, errors = _segment_photos(folders, find, draw_explanations, model, console)
    if json_path is not None:
        write_json(records[0] if len(photos) == 1 else {"photos": records}, json_path)
    with redirect_stdout(sys.stderr if json_path == "-" else sys.stdout):
        drawn = ["attention.png"] if attention else []
        drawn += [EXPLANATION.format(number) for number, _ in enumerate(sentences, 1) if explain]
        _report(records, folders, drawn)
        if format:
            photos_found = annotated(records, least=Least(presence=min_presence, quality=min_quality, area=min_area))
            place = folders[photos[0]] if len(photos) == 1 else output or MANY
            write_data_sets(format, photos_found, list(dict.fromkeys(sentences)), place)
    if errors:
        raise ValueError(f"{len(errors)} of {len(photos)} photos could not be read: {'; '.join(map(str, errors))}")


def _folders(photos: list[Path], output: Path | None) -> list[Path]:
    """Where the results of each photo go."""
    if len(photos) == 1:
        return [output or Path(f"{photos[0].stem}_masks")]
    folders: list[Path] = []
    for photo in photos:
        folder, number = (output or MANY) / photo.stem, 1
        while folder in folders:
            number += 1
            folder = folder.with_name(f"{photo.stem}_{number}")
        folders.append(folder)
    return folders


def _spatial_prompts(points: list[str], not_points: list[str], box: str | None, count: int) -> dict[str, Any]:
    """The points and the box, given to each of the `count` sentences of a photo."""
    prompts: dict[str, Any] = {}
    if points or not_points:
        numbers = [read_numbers("--point", text, 2) for text in points]
        numbers += [read_numbers("--not-point", text, 2) for text in not_points]
        prompts["points"] = [[numbers] * count]
        prompts["point_labels"] = [[[1] * len(points) + [0] * len(not_points)] * count]
    if box is not None:
        prompts["boxes"] = [[read_numbers("--box", box, 4)] * count]
    return prompts


def _segment_photos(
    folders: dict[Path, Path],
    find: "Callable[[Image], Segmentation]",
    draw_explanations: "Callable[[Image], Iterator[Image]]",
    model: str,
    console: "Console",
) -> tuple[list[dict[str, Any]], list[Exception]]:
    """Segments photo after photo into its folder: their records, and what is wrong with those that cannot be read."""
    from rich.progress import track

    from modeling_evf_sam.photos import open_photo

    records: list[dict[str, Any]] = []
    errors: list[Exception] = []
    quiet = not console.is_terminal
    for photo, folder in track(folders.items(), "segmenting", len(folders), console=console, disable=quiet):
        try:
            image = open_photo(photo)
        except (ValueError, OSError) as error:
            errors.append(error)
        else:
            found = find(image)
            for former in folder.glob(EXPLANATION.format("[0-9][0-9]")):
                former.unlink()
            records.append(found.save(folder, image, name=str(photo), model=model))
            _write_explanations(draw_explanations(image), folder)
    return records, errors


def _write_explanations(pictures: "Iterable[Image]", folder: Path) -> None:
    from modeling_evf_sam.files import whole_file

    for number, picture in enumerate(pictures, 1):
        with whole_file(folder / EXPLANATION.format(number)) as file:
            picture.save(file)


def _report(records: list[dict[str, Any]], folders: dict[Path, Path], drawn: list[str]) -> None:
    """Prints what was written: each mask of a single photo, or a line for each of several."""
    names = ["overlay.png", *drawn, "result.json"]
    for record in records:
        folder, masks = folders[Path(record["photo"])], record["masks"]
        if len(folders) > 1:
            scores = ", ".join(f"{mask['sentence']} {_verdict(mask)}" for mask in masks)
            print(f"{folder / 'overlay.png'}: {scores}")
            continue
        for mask in masks:
            if "file" in mask:
                print(f"{folder / mask['file']}: {_verdict(mask)}, {mask['area']} pixels")
            else:
                print(f"{mask['sentence']}: {_verdict(mask)}")
        labels = ["labels.png", "labels_legend.png"] if "label_map" in record else []
        print(", ".join(str(folder / name) for name in [*names, *labels]))
    for warning in {record["warning"] for record in records if "warning" in record}:
        print(f"Note: {warning}.")


def _verdict(mask: dict[str, Any]) -> str:
    """A sentence's answer in a few words."""
    if not mask.get("present", True):
        return f"not in the photo (presence {mask['presence']:.2f})"
    figures = [f"{name} {mask[name]:.2f}" for name in ("score", "quality", "presence") if name in mask]
    return ", ".join([*figures, *([f"instances {len(mask['instances'])}"] if "instances" in mask else [])])
