"""`evf-sam segment-video`: a film and sentences -> masks of every frame, and the film with them drawn in."""

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evf_sam_cli.models import find_model
from evf_sam_cli.options import DEFAULT_MODEL, DeviceOption, DtypeOption, ModelOption, read_numbers
from evf_sam_cli.paths import check_film, check_folder

if TYPE_CHECKING:
    from rich.console import Console

    from modeling_evf_sam.segment_video.film import Film
    from modeling_evf_sam.segment_video.run import Summary


class BadFrames(StrEnum):
    """What becomes of a run that meets a damaged frame."""

    STOP = "stop"
    SKIP = "skip"


class Layout(StrEnum):
    """Names of `modeling_evf_sam.segment_video.formats.FORMATS`, which is slow to import."""

    COCO = "coco"
    MOT = "mot"


def run(
    film: Annotated[
        Path,
        typer.Argument(metavar="FILM", help="A film file, or a folder of PNG or JPEG frames.", show_default=False),
    ],
    sentences: Annotated[
        list[str],
        typer.Argument(metavar="SENTENCE", help="What to follow, an object each.", show_default=False),
    ],
    model: ModelOption = DEFAULT_MODEL,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the results.", show_default="<film>_masks")
    ] = None,
    semantic: Annotated[
        bool, typer.Option("--semantic", help="Every pixel of a category, not one object.", show_default=False)
    ] = False,
    key_frame: Annotated[
        str,
        typer.Option(
            metavar="first|best|N", help="The frame on which a memory reads the sentences: best tries five of them."
        ),
    ] = "first",
    redetect: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Read the sentence of a lost object again every N frames."),
    ] = None,
    point: Annotated[
        list[str] | None, typer.Option(metavar="N:x,y", help="A pixel of frame N on every object; may be repeated.")
    ] = None,
    not_point: Annotated[
        list[str] | None, typer.Option(metavar="N:x,y", help="A pixel of frame N beside every object.")
    ] = None,
    box: Annotated[
        list[str] | None, typer.Option(metavar="N:x0,y0,x1,y1", help="A box on frame N around every object.")
    ] = None,
    layouts: Annotated[
        list[Layout] | None,
        typer.Option("--format", help="Write youtube_vis.json (coco) or mot.txt (mot), too; may be repeated."),
    ] = None,
    overlay: Annotated[
        bool, typer.Option("--overlay/--no-overlay", help="Write the film with the masks drawn in.")
    ] = True,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the first N frames.")] = None,
    bad_frames: Annotated[BadFrames, typer.Option(help="What a damaged frame does.")] = BadFrames.STOP,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
) -> None:
    """Follows what sentences name through a film.

    Writes masks.jsonl with a line for each frame and object, and overlay.mp4. A model over SAM-2 follows objects by
    its memory; with any other, each frame is a photo. A run that was stopped goes on. See docs/video.md.
    """
    check_film(film)
    output = output or Path(f"{film.stem or 'film'}_masks")
    check_folder(output)
    key = _key_frame(key_frame)
    corrections = _by_frame(point or [], not_point or [], box or [])
    source = find_model(model)

    from rich.console import Console

    from modeling_evf_sam.inference.known_limits import photo_warning
    from modeling_evf_sam.inference.loading import load_model
    from modeling_evf_sam.inference.video import EvfSamVideoPredictor
    from modeling_evf_sam.segment_video.opening import check_av, open_film
    from modeling_evf_sam.segment_video.run import segment_video
    from modeling_evf_sam.segment_video.walking import Correction, Question

    console = Console(stderr=True)
    question = Question(
        sentences=sentences,
        semantic=semantic,
        key_frame=key,
        redetect=redetect,
        corrections=[Correction(**each) for each in corrections],
    )
    if overlay:
        check_av()  # before the work
    with console.status("reading the film"):
        opened = open_film(film, limit=limit, skip_damaged=bad_frames is BadFrames.SKIP)
        question.check(opened)
    with console.status("loading"):
        network, processor = load_model(source, device, dtype, for_films=True)
    summary = segment_video(
        EvfSamVideoPredictor(network, processor),
        opened,
        question,
        output,
        settings={"model": str(source), "dtype": dtype},
        formats=[layout.value for layout in layouts or []],
        overlay=overlay,
        progress=lambda items, name, count: _show_progress(items, name, count, console),
    )
    _report(summary, opened, sentences, output, photo_warning(network.config))


def _key_frame(text: str) -> int | str:
    if text in ("first", "best"):
        return text
    if not text.isdecimal():
        raise ValueError(f"--key-frame '{text}' is none: give first, best, or a frame's number, from 0")
    return int(text)


def _by_frame(points: Sequence[str], not_points: Sequence[str], boxes: Sequence[str]) -> list[dict[str, Any]]:
    """What was said about each frame, as `Correction` takes it."""
    found: dict[int, dict[str, Any]] = {}

    def read(option: str, text: str, count: int) -> tuple[dict[str, Any], list[float]]:
        frame, colon, numbers = text.partition(":")
        if not colon or not frame.isdecimal():
            raise ValueError(f"{option} '{text}' names no frame: begin with its number and a colon, such as 0:{text}")
        entry = found.setdefault(int(frame), {"frame": int(frame), "points": [], "labels": [], "box": None})
        return entry, read_numbers(option, numbers, count)

    for option, texts, label in (("--point", points, 1), ("--not-point", not_points, 0)):
        for text in texts:
            entry, place = read(option, text, 2)
            entry["points"].append(place)
            entry["labels"].append(label)
    for text in boxes:
        entry, sides = read("--box", text, 4)
        entry["box"] = sides
    return list(found.values())


def _show_progress(items: Iterable[Any], name: str, count: int, console: "Console") -> Iterator[Any]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    speed = TextColumn("{task.fields[speed]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), speed, TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(name, total=count, speed="")
        for item in items:
            yield item
            speed_now = progress.tasks[task].speed
            progress.update(task, advance=1, speed=f"{speed_now:.1f} frames/s" if speed_now else "")


def _report(summary: "Summary", film: "Film", sentences: Sequence[str], output: Path, warning: str | None) -> None:
    for number, sentence in enumerate(sentences, start=1):
        scores = [row["score"] for row in summary.rows if row["object"] == number and row["area"]]
        mean = f", score {sum(scores) / len(scores):.2f}" if scores else ""
        print(f"{sentence}: on {len(scores)} of {len(film)} frames{mean}")
    print(", ".join(str(output / name) for name in summary.files))
    if summary.done_before:
        print(f"{summary.done_before} frames were already there")
    for damage in film.damage:
        print(f"Left out: {damage}")
    if warning:
        print(f"Note: {warning}.")
