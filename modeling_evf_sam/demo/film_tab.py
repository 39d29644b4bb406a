"""The tab for films: a film and sentences; and the film with what they name drawn in."""

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr
from PIL import Image

from modeling_evf_sam.demo.following import describe, draw_sample, figures, read_film
from modeling_evf_sam.demo.marks import view_of
from modeling_evf_sam.demo.segmenting import MAX_CHARACTERS, MAX_SENTENCES, SharedModel, read_sentences
from modeling_evf_sam.demo.shared_parts import FORGET_AFTER, QUICK, SCORE, capitalized, legend, no_download, told
from modeling_evf_sam.inference.outlining import COLOURS
from modeling_evf_sam.segment_video.film import Film
from modeling_evf_sam.segment_video.formats import LINES
from modeling_evf_sam.segment_video.opening import check_av
from modeling_evf_sam.segment_video.run import OVERLAY, Summary

TYPES = ["video", ".mkv", ".ts", ".gif"]  # a browser may not know that the last ones are films


class Stopped(Exception):
    """The visitor does not want to wait for the film."""


class FilmTab:
    """Components, and what happens when they are used; made within a tab. Without PyAV it says how to get it."""

    def __init__(self, model: SharedModel):
        self.model = model
        self._following: set[str] = set()  # sessions whose film is to go on
        try:
            check_av()
        except ValueError as error:
            gr.Markdown(f"{capitalized(str(error))}.", elem_id="no-films")
            return
        self._folder = TemporaryDirectory(prefix="evf-sam-")
        sample = Path(self._folder.name, "drawn_film")
        sentences = draw_sample(sample)
        self.film = gr.State(str(sample), time_to_live=FORGET_AFTER)
        with gr.Row():
            with gr.Column(min_width=320):
                self._build_film(sample)
            with gr.Column(min_width=320):
                self._build_request(sentences)
                self._build_results()
        self._connect()

    def _build_film(self, path: Path) -> None:
        film = read_film(path)
        self.frame = gr.Image(
            _first_frame(film),
            show_label=False,
            interactive=False,
            buttons=[],
            elem_id="film",
            alt_text="The first frame of the film",
        )
        self.about = gr.HTML(describe(film), elem_id="about-film")
        self.upload = gr.UploadButton("Open your own film", file_types=TYPES, elem_id="upload-film")

    def _build_request(self, sentences: list[str]) -> None:
        with gr.Group():
            self.text = gr.Textbox(
                "\n".join(sentences),
                label="What to follow, one sentence on each line",
                lines=3,
                max_lines=MAX_SENTENCES,
                max_length=MAX_SENTENCES * (MAX_CHARACTERS + 1),
                elem_id="film-sentences",
            )
            self.semantic = gr.Checkbox(
                label="Follow all of a kind, such as every star", visible=self.model.knows_categories
            )
        with gr.Row():
            self.follow = gr.Button("Follow", variant="primary", scale=3, min_width=120, elem_id="follow")
            self.halt = gr.Button("Stop", interactive=False, scale=1, min_width=80, elem_id="stop")

    def _build_results(self) -> None:
        self.overlay = gr.Video(
            show_label=False, interactive=False, buttons=[], autoplay=True, loop=True, elem_id="followed"
        )
        self.legend = gr.HTML(elem_id="film-legend", elem_classes="legend")
        with gr.Row():
            self.film_file = gr.DownloadButton(
                "Download the film", interactive=False, size="sm", min_width=120, elem_id="download-film"
            )
            self.masks_file = gr.DownloadButton(
                "Download the masks", interactive=False, size="sm", min_width=120, elem_id="download-film-masks"
            )

    def _connect(self) -> None:
        results = [self.overlay, self.legend, self.film_file, self.masks_file]
        self.upload.upload(self._open, self.upload, [self.film, self.frame, self.about, *results], **QUICK)
        run = self.follow.click(
            self._follow,
            [self.film, self.text, self.semantic],
            [self.halt, *results],
            show_progress_on=self.overlay,
            concurrency_id="film",
            api_visibility="private",
        )
        run.then(lambda: gr.Button(interactive=False), None, self.halt, **QUICK)
        self.halt.click(self.stop, None, None, **QUICK)

    def _open(self, path: str, request: gr.Request) -> tuple:
        self.stop(request)
        with told():
            film = read_film(path)
            return path, _first_frame(film), describe(film), *_nothing()

    def _follow(
        self,
        path: str,
        text: str,
        semantic: bool,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - Gradio looks for this default
    ) -> Iterator[tuple]:
        """Follows what a text names, unless the visitor stops it."""
        session = str(request.session_hash)
        self._following.add(session)

        def shown(items: Iterable[Any], name: str, count: int) -> Iterator[Any]:
            for item in _shown(items, name, count, progress):
                if session not in self._following:
                    raise Stopped
                yield item

        with told(), suppress(Stopped), TemporaryDirectory(prefix="evf-sam-") as folder:
            sentences = read_sentences(text)
            yield gr.Button(interactive=True), *_nothing()
            film = read_film(path)
            start = time.perf_counter()
            summary = self.model.follow(film, sentences, Path(folder), semantic=semantic, progress=shown)
            note = f"{SCORE}<br>{len(film)} frames in {time.perf_counter() - start:.1f} s."
            overlay, masks = (_named_after(film, Path(folder, name)) for name in (OVERLAY, LINES.file))
            yield (  # Gradio keeps copies of the files, and deletes them in time
                gr.skip(),
                overlay,
                _legend(summary, sentences, len(film), note),
                gr.DownloadButton(value=overlay, interactive=True),
                gr.DownloadButton(value=masks, interactive=True),
            )

    def stop(self, request: gr.Request) -> None:
        """Ends what a visitor waits for, after the frame that is being computed."""
        self._following.discard(str(request.session_hash))


def _first_frame(film: Film) -> Image.Image:
    return view_of(film[0])


def _nothing() -> tuple:
    """No results."""
    return None, None, no_download(), no_download()


def _shown(items: Iterable[Any], name: str, count: int, progress: gr.Progress) -> Iterator[Any]:
    """Passes items on, and tells how many are done, and how fast."""
    start = time.perf_counter()
    progress((0, count), desc=capitalized(name), unit="frames")
    for done, item in enumerate(items, start=1):
        speed = done / (time.perf_counter() - start)
        progress((done, count), desc=f"{capitalized(name)}, {speed:.1f} frames a second", unit="frames")
        yield item


def _named_after(film: Film, file: Path) -> Path:
    return file.rename(file.with_name(f"{film.path.stem}_{file.name}"))


def _legend(summary: Summary, sentences: list[str], count: int, note: str) -> str:
    rows = [
        (colour, found.sentence, ["" if found.score is None else f"{found.score:.2f}", f"{found.frames} of {count}"])
        for colour, found in zip(cycle(COLOURS), figures(summary.rows, sentences), strict=False)
    ]
    return legend(("Score", "Frames"), rows, note)
