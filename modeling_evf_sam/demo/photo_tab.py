"""The tab for photos: a photo, sentences, marks; and what was found. State of a visitor stays in their session."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr
from PIL import Image

from modeling_evf_sam.demo.marks import Marks, draw_marks, to_photo
from modeling_evf_sam.demo.segmenting import (
    MAX_CHARACTERS,
    MAX_SENTENCES,
    Found,
    LegendEntry,
    SharedModel,
    pack,
    read_photo,
    read_sentences,
    summarize,
)
from modeling_evf_sam.demo.shared_parts import FORGET_AFTER, QUICK, SCORE, legend, no_download, told
from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes

SCENES = (4, 21, 9, 25)  # of the test split
KINDS = ("attribute", "superlative", "relation")  # of sentence, about one object
CLICKS = [("a point on it", "on"), ("a point beside it", "beside"), ("a box, by two corners", "box")]


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What one visitor has before them.

    Attributes:
        photo: RGB.
        name: of its file.
        marks: clicked on it.
        found: what the last request found in it.
    """

    photo: Image.Image
    name: str
    marks: Marks = field(default_factory=Marks)
    found: Found | None = None


class PhotoTab:
    """Components, and what happens when they are used; made within a tab."""

    def __init__(self, model: SharedModel):
        self.model = model
        scenes = RenderedScenes("test", max(SCENES) + 1, sentences_per_scene=3, kinds=KINDS)
        self.samples = [scenes[index] for index in SCENES]
        first = self.samples[0]
        self.visit = gr.State(Visit(photo=first.photo, name="scene"), time_to_live=FORGET_AFTER)
        with gr.Row():
            with gr.Column(min_width=320):
                self._build_photo(first.photo)
            with gr.Column(min_width=320):
                self._build_request(first.sentences)
                self._build_results()
        self._connect()

    def _build_photo(self, photo: Image.Image) -> None:
        self.photo = gr.Image(
            draw_marks(photo, Marks()),
            label="Photo",
            show_label=False,
            interactive=False,
            buttons=[],
            elem_id="photo",
            alt_text="The photo; a click on it adds a point or a corner of a box",
        )
        self.upload = gr.UploadButton("Open your own photo", file_types=["image"], elem_id="upload")
        self.scenes = gr.Gallery(
            [sample.photo for sample in self.samples],
            label="Drawn scenes",
            show_label=False,
            columns=len(SCENES),
            height=96,
            object_fit="cover",
            allow_preview=False,
            interactive=False,
            buttons=[],
            elem_id="scenes",
        )
        with gr.Group():
            self.kind = gr.Radio(CLICKS, value="on", label="If words are not enough, click on the photo. A click adds")
            self.clear = gr.Button("Clear points and box", size="sm", elem_id="clear")

    def _build_request(self, sentences: list[str]) -> None:
        with gr.Group():
            self.text = gr.Textbox(
                "\n".join(sentences),
                label="What to find, one sentence on each line",
                lines=3,
                max_lines=MAX_SENTENCES,
                max_length=MAX_SENTENCES * (MAX_CHARACTERS + 1),
                elem_id="sentences",
            )
            self.semantic = gr.Checkbox(
                label="Find all of a kind, such as every star",
                visible=self.model.knows_categories,
                elem_id="semantic",
            )
        self.find = gr.Button("Find", variant="primary", elem_id="find")

    def _build_results(self) -> None:
        with gr.Tab("Found"):
            self.picture = gr.Image(
                show_label=False, interactive=False, buttons=["fullscreen"], elem_id="found", format="png"
            )
            self.legend = gr.HTML(elem_id="legend", elem_classes="legend")
            self.download = gr.DownloadButton("Download the masks", interactive=False, size="sm", elem_id="download")
        with gr.Tab("Where the model looked", visible=self.model.has_attention) as self.attention_tab:
            self.attention = gr.Image(
                show_label=False, interactive=False, buttons=["fullscreen"], elem_id="attention", format="png"
            )
            gr.Markdown("Blue: where the model looked least for this sentence; red: where it looked most.")

    def _connect(self) -> None:
        click: dict[str, Any] = {"trigger_mode": "multiple", **QUICK}
        run: dict[str, Any] = {"concurrency_id": "model", "api_visibility": "private"}
        results = [self.picture, self.legend, self.download, self.attention]
        shown = [self.visit, self.photo, *results]
        self.upload.upload(self._open, self.upload, shown, **QUICK)
        self.scenes.select(self._take_scene, None, [*shown, self.text], **QUICK)
        self.photo.select(self._click, [self.visit, self.kind], [self.visit, self.photo], **click)
        self.clear.click(self._clear, self.visit, [self.visit, self.photo], **click)
        for event in (self.find.click, self.text.submit):
            event(
                self._find,
                [self.visit, self.text, self.semantic],
                [self.visit, *results],
                show_progress_on=self.picture,
                **run,
            )
        self.attention_tab.select(self._look, self.visit, self.attention, **run)

    def _open(self, path: str) -> tuple:
        with told():
            return _show(Visit(photo=read_photo(path), name=Path(path).name))

    def _take_scene(self, event: gr.SelectData) -> tuple:
        sample = self.samples[event.index]
        return *_show(Visit(photo=sample.photo, name="scene")), "\n".join(sample.sentences)

    def _click(self, visit: Visit, kind: str, event: gr.SelectData) -> tuple[Visit, Image.Image]:
        with told():
            marks = visit.marks.click(to_photo(event.index, visit.photo), kind)
        return replace(visit, marks=marks), draw_marks(visit.photo, marks)

    def _clear(self, visit: Visit) -> tuple[Visit, Image.Image]:
        return replace(visit, marks=Marks()), draw_marks(visit.photo, Marks())

    def _find(self, visit: Visit, text: str, semantic: bool) -> Iterator[tuple]:
        """Shows the masks first, and then packs them."""
        with told():
            sentences = read_sentences(text)
            result = self.model.segment(visit.photo, sentences, semantic=semantic, marks=visit.marks)
            found = summarize(visit.photo, result)
            yield replace(visit, found=found), found.picture(), _legend(found), no_download(), None
            with TemporaryDirectory() as folder:  # Gradio keeps a copy, and deletes it in time
                archive = Path(folder, f"{Path(visit.name).stem}_masks.zip")
                file = pack(archive, visit.photo, result, name=visit.name, model=self.model.name)
                yield gr.skip(), gr.skip(), gr.skip(), gr.DownloadButton(value=file, interactive=True), gr.skip()

    def _look(self, visit: Visit) -> Image.Image | None:
        if visit.found is None:
            return None
        with told():
            return self.model.attention_picture(visit.photo, visit.found)


def _show(visit: Visit) -> tuple:
    """A new photo, and nothing found in it."""
    return visit, draw_marks(visit.photo, visit.marks), None, None, no_download(), None


def _legend(found: Found) -> str:
    rows = [(entry.colour, entry.sentence, *_figures(entry)) for entry in found.legend()]
    return legend(("Score", "Of the photo"), rows, SCORE)


def _figures(entry: LegendEntry) -> tuple[str, str]:
    return (f"{entry.score:.2f}", _percent(entry.share)) if entry.present else ("", "not there")


def _percent(share: float) -> str:
    return "nothing" if share == 0 else "< 1 %" if share < 0.01 else f"{share:.0%}".replace("%", " %")
