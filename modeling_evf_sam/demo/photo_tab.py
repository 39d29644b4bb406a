"""The tab for photos: a photo, sentences, marks; and what was found. State of a visitor stays in their session."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr
from PIL import Image

from modeling_evf_sam.demo.marks import Marks, draw_marks, to_photo, view_of
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
from modeling_evf_sam.demo.shared_parts import FORGET_AFTER, QUICK, SCORE, hint, legend, no_download, told
from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes

SCENES = (4, 21, 9, 25)  # of the test split
KINDS = ("attribute", "superlative", "relation")  # of sentence, about one object
CLICKS = [("a point on it", "on"), ("a point beside it", "beside"), ("a box, by two corners", "box")]
QUALITY = "Quality: the overlap with the object that such a score has turned out to mean."
PRESENCE = "Presence: how sure the model is that the photo shows it."


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What one visitor asks about.

    Attributes:
        photo: RGB.
        name: of its file.
        marks: clicked on it.
    """

    photo: Image.Image
    name: str
    marks: Marks = field(default_factory=Marks)


class PhotoTab:
    """Components, and what happens when they are used; made within a tab of a page."""

    def __init__(self, model: SharedModel, page: gr.Blocks):
        self.model = model
        scenes = RenderedScenes("test", max(SCENES) + 1, sentences_per_scene=3, kinds=KINDS)
        self.samples = [scenes[index] for index in SCENES]
        first = self.samples[0]
        self.visit = gr.State(Visit(photo=first.photo, name="scene"), time_to_live=FORGET_AFTER)
        self.found = gr.State(None, time_to_live=FORGET_AFTER)
        with gr.Row():
            with gr.Column(min_width=320):
                self._build_photo(first.photo)
            with gr.Column(min_width=320):
                self._build_request(first.sentences)
                self._build_results()
        with gr.Row():
            with gr.Column(min_width=320):
                self._build_choice()
            with gr.Column(min_width=320):
                self._build_marks()
        self._connect(page)

    def _build_photo(self, photo: Image.Image) -> None:
        self.photo = gr.Image(
            view_of(photo),
            label="Photo",
            show_label=False,
            interactive=False,
            buttons=["fullscreen"],
            format="png",
            elem_id="photo",
            alt_text="The photo with what was found; a click on it adds a point or a corner of a box",
        )

    def _build_choice(self) -> None:
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

    def _build_marks(self) -> None:
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
            self.hint = gr.HTML(elem_id="hint", padding=False)
        with gr.Row():
            self.find = gr.Button("Find", variant="primary", scale=2, min_width=120, elem_id="find")
            self.download = gr.DownloadButton(
                "Download", interactive=False, scale=1, min_width=100, elem_id="download"
            )
        with gr.Row():
            self.semantic = gr.Checkbox(
                label="All of a kind, such as every star",
                visible=self.model.knows_categories,
                min_width=120,
                elem_id="semantic",
            )
            self.instances = gr.Checkbox(label="Each object by itself", min_width=120, elem_id="instances")

    def _build_results(self) -> None:
        with gr.Tab("Found"):
            self.legend = gr.HTML(elem_id="legend", elem_classes="legend")
        with gr.Tab("Where the model looked", visible=self.model.has_attention) as self.attention_tab:
            self.attention = gr.Gallery(
                show_label=False, columns=2, object_fit="contain", interactive=False, buttons=[], elem_id="attention"
            )
            gr.Markdown("Blue: where the model looked least for this sentence; red: where it looked most.")

    def _connect(self, page: gr.Blocks) -> None:
        """What takes long takes turns, and so does what replaces the photo: no answer is about a former one."""
        click: dict[str, Any] = {"trigger_mode": "multiple", **QUICK}
        turn: dict[str, Any] = {"concurrency_id": "model", "trigger_mode": "always_last"}
        shown = [self.visit, self.found, self.photo, self.legend, self.download, self.attention]
        self.upload.upload(self._open, self.upload, shown, **turn, **QUICK)
        taken = self.scenes.select(self._take_scene, None, [*shown, self.text], **turn, **QUICK)
        self.photo.select(self._click, [self.visit, self.kind, self.found], [self.visit, self.photo], **click)
        self.clear.click(self._clear, [self.visit, self.found], [self.visit, self.photo], **click)
        for event in (page.load, self.find.click, self.text.submit, taken.then):
            event(
                self._find,
                [self.visit, self.text, self.semantic, self.instances],
                [self.hint, self.found, self.legend, self.download, self.attention],
                show_progress_on=self.photo,
                concurrency_id="model",
                api_visibility="private",
            ).then(_draw, [self.visit, self.found], self.photo, **QUICK)
        self.attention_tab.select(self._look, [self.visit, self.found], self.attention, **turn, **QUICK)

    def _open(self, path: str) -> tuple:
        with told():
            return _show(Visit(photo=read_photo(path), name=Path(path).name))

    def _take_scene(self, event: gr.SelectData) -> tuple:
        sample = self.samples[event.index]
        return *_show(Visit(photo=sample.photo, name="scene")), "\n".join(sample.sentences)

    def _click(self, visit: Visit, kind: str, found: Found | None, event: gr.SelectData) -> tuple[Visit, Image.Image]:
        with told():
            visit = replace(visit, marks=visit.marks.click(to_photo(event.index, visit.photo), kind))
        return visit, _draw(visit, found)

    def _clear(self, visit: Visit, found: Found | None) -> tuple[Visit, Image.Image]:
        visit = replace(visit, marks=Marks())
        return visit, _draw(visit, found)

    def _find(self, visit: Visit, text: str, semantic: bool, instances: bool) -> Iterator[tuple]:
        """Gives the masks first, and then packs them; sentences that cannot be read leave what was found."""
        try:
            sentences = read_sentences(text)
        except ValueError as error:
            yield hint(str(error)), gr.skip(), gr.skip(), gr.skip(), gr.skip()
            return
        with told():
            asked: dict[str, Any] = {"semantic": semantic, "instances": instances, "marks": visit.marks}
            result = self.model.segment(visit.photo, sentences, **asked)
            found = summarize(visit.photo, result)
            yield "", found, _legend(found), no_download(), None
            with TemporaryDirectory() as folder:  # Gradio keeps a copy, and deletes it in time
                archive = Path(folder, f"{Path(visit.name).stem}_masks.zip")
                file = pack(archive, visit.photo, result, name=visit.name, model=self.model.name)
                yield "", gr.skip(), gr.skip(), gr.DownloadButton(value=file, interactive=True), gr.skip()

    def _look(self, visit: Visit, found: Found | None) -> list[tuple[Image.Image, str]] | None:
        if found is None:
            return None
        with told():
            return self.model.attention_pictures(visit.photo, found)


def _show(visit: Visit) -> tuple:
    """A new photo, and nothing found in it."""
    return visit, None, _draw(visit, None), None, no_download(), None


def _draw(visit: Visit, found: Found | None) -> Image.Image:
    """The one picture: the photo, what was found in it, and what was clicked."""
    return draw_marks(visit.photo, visit.marks, view_of(visit.photo) if found is None else found.picture)


def _legend(found: Found) -> str:
    """A line for each mask, with the estimates that the checkpoint makes."""
    first = found.legend[0]
    columns: dict[str, Any] = {"Score": lambda entry: f"{entry.score:.2f}"}
    notes = [SCORE]
    if first.quality is not None:
        columns["Quality"] = lambda entry: f"{entry.quality:.2f}"
        notes.append(QUALITY)
    if first.presence is not None:
        columns["Presence"] = lambda entry: f"{entry.presence:.2f}"
        notes.append(PRESENCE)
    columns["Of the photo"] = _share
    rows = [(entry.colour, entry.name, [figure(entry) for figure in columns.values()]) for entry in found.legend]
    return legend(list(columns), rows, "<br>".join(notes))


def _share(entry: LegendEntry) -> str:
    if entry.present is False:
        return "not there"
    share = entry.share
    return "nothing" if share == 0 else "< 1 %" if share < 0.01 else f"{share:.0%}".replace("%", " %")
