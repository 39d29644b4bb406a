"""The whole way: a film and a question in, a folder of results out."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from modeling_evf_sam.files import whole_folder
from modeling_evf_sam.inference.video import EvfSamVideoPredictor
from modeling_evf_sam.segment_video.film import Film
from modeling_evf_sam.segment_video.formats import FORMATS, LINES, rows_of
from modeling_evf_sam.segment_video.partial import Partial
from modeling_evf_sam.segment_video.walking import Question, walk

OVERLAY = "overlay.mp4"
FILES = (LINES.file, OVERLAY, *(each.file for each in FORMATS.values()))

T = TypeVar("T")
Progress = Callable[[Iterable[T], str, int], Iterable[T]]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What came of a run.

    Attributes:
        rows: as `rows_of` gives them.
        files: names of what was written.
        done_before: frames that a stopped run had finished.
    """

    rows: list[dict[str, Any]]
    files: list[str]
    done_before: int


def segment_video(
    predictor: EvfSamVideoPredictor,
    film: Film,
    question: Question,
    output: Path,
    *,
    settings: dict[str, Any],
    formats: Sequence[str] = (),
    overlay: bool = True,
    progress: Progress = lambda items, name, count: items,
) -> Summary:
    """Segments a film into a folder, whose files appear together when all is done.

    What a stopped run had finished is kept in the folder, and not done again. A memory cannot be kept: with one, a
    run that was stopped before its last frame begins anew.

    Args:
        predictor: one without sentences.
        film: the film.
        question: what is asked.
        output: gets masks.jsonl, what `formats` name, and overlay.mp4. Those that a former run wrote there go.
        settings: what the results are made with beside film and question, such as the model; ready for JSON.
        formats: names in `FORMATS`.
        overlay: whether to write the film with the masks drawn in; needs PyAV.
        progress: wraps what is worked on; gets its name and number of frames, too.

    Raises:
        ValueError: the folder was begun with other settings, or the question does not fit the film.
    """
    partial = Partial(output, {"film": film.identity(), **asdict(question), **settings})
    frames = {stamp.number: index for index, stamp in enumerate(film.stamps)}
    done = _finished(partial.frames, len(question.sentences))
    if predictor.has_memory and len(done) < len(frames):
        partial.forget()
        done = set()
    left = [index for number, index in frames.items() if number not in done]
    if left:
        for _ in progress(partial.keep(walk(predictor, film, question, left)), "segmenting", len(left)):
            pass
    rows = rows_of(film, question.sentences, partial.frames)
    with whole_folder(output) as folder:
        for each in (LINES, *(FORMATS[name] for name in formats)):
            each.write(folder / each.file, film, rows)
        if overlay:
            from modeling_evf_sam.segment_video.overlay import draw_film, write_film

            pictures = draw_film(film, rows, question.sentences)
            write_film(folder / OVERLAY, film, progress(pictures, "drawing", len(film)))
        written = [name for name in FILES if (folder / name).exists()]
    for name in set(FILES) - set(written):
        (output / name).unlink(missing_ok=True)
    partial.remove()
    return Summary(rows=rows, files=written, done_before=len(done))


def _finished(frames: Iterable[dict[str, Any]], count: int) -> set[int]:
    """Numbers of the frames of which all objects are known."""
    objects: dict[int, int] = {}
    for frame in frames:
        objects[frame["frame"]] = objects.get(frame["frame"], 0) + len(frame["objects"])
    return {number for number, known in objects.items() if known == count}
