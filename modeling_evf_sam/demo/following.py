"""What the page does with a film, without the page: a film within limits, and figures of what was found in it."""

import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from modeling_evf_sam.demo.segmenting import MEGABYTE
from modeling_evf_sam.rendered_scenes.films import RenderedFilms
from modeling_evf_sam.segment_video.film import Film
from modeling_evf_sam.segment_video.formats import Rows
from modeling_evf_sam.segment_video.opening import open_film

MAX_FILM = 100 * MEGABYTE  # bytes, which Gradio keeps uploads to
MAX_FRAMES = 900
MAX_FRAME_PIXELS = 1920 * 1080
BEGINNING = 25  # frames that tell how large a film is, before all of it is decoded
SAMPLE, SAMPLE_FRAMES, SAMPLE_SENTENCES = 3, 50, 4  # of the test split


def read_film(path: str | Path) -> Film:
    """An uploaded film; `Film.damage` lists what is damaged in it, and is left out.

    Raises:
        ValueError: it is no film, or it has too many frames or too large ones. The message has its name, and no path.
    """
    path = Path(path)
    try:
        width, height = open_film(path, limit=BEGINNING, skip_damaged=True).size
        if width * height > MAX_FRAME_PIXELS:
            raise ValueError(f"film '{path}' has {width} x {height} pixels: make it smaller, up to 1920 x 1080")
        film = open_film(path, limit=MAX_FRAMES + 1, skip_damaged=True)
    except ValueError as error:
        raise ValueError(str(error).replace(str(path), path.name)) from error
    if film.stamps[-1].number >= MAX_FRAMES:
        raise ValueError(f"film '{path.name}' is longer than {MAX_FRAMES} frames: cut a part out of it")
    return film


def describe(film: Film) -> str:
    """HTML: a line about a film, and one about what is damaged in it."""
    width, height = film.size
    seconds = float(len(film) / film.rate)
    lines = [f"{film.path.name}: {len(film)} frames of {width} x {height} pixels, {seconds:.1f} s"]
    if film.damage:
        more = f", and {len(film.damage) - 1} more" if len(film.damage) > 1 else ""
        lines.append(f"Left out: {film.damage[0].replace(str(film.path), film.path.name)}{more}")
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines)


class Followed(NamedTuple):
    """One object of a film: on how many frames it was found, and the mean of the scores there."""

    sentence: str
    score: float | None
    frames: int


def figures(rows: Rows, sentences: Sequence[str]) -> Iterator[Followed]:
    """Yields an entry for each sentence, from the rows of `segment_video`."""
    for number, sentence in enumerate(sentences, start=1):
        scores = [row["score"] for row in rows if row["object"] == number and row["area"]]
        yield Followed(sentence, sum(scores) / len(scores) if scores else None, len(scores))


def draw_sample(folder: Path) -> list[str]:
    """Draws a film into a new folder, a PNG file for each frame, and returns sentences about it."""
    film = RenderedFilms("test", SAMPLE + 1, frames=SAMPLE_FRAMES)[SAMPLE]
    folder.mkdir()
    for number, frame in enumerate(film.frames()):
        picture = Image.fromarray(frame)
        width, height = picture.size  # twice as large, its sides are even: no browser fails to play that
        picture.resize((2 * width, 2 * height)).save(folder / f"{number}.png")
    return film.sentences[:SAMPLE_SENTENCES]
