"""The page: one answer after the other, by keys or clicks."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from modeling_evf_sam.demo.marks import Marks, draw_marks, to_photo, view_of
from modeling_evf_sam.demo.segmenting import SharedModel
from modeling_evf_sam.demo.shared_parts import QUICK, told
from modeling_evf_sam.inference.outlining import COLOURS, draw_masks
from modeling_evf_sam.photos import open_photo
from modeling_evf_sam.review.answers import Review, Verdict
from modeling_evf_sam.review.export import write_reviewed

CLICKS = [("a point on it", "on"), ("a point beside it", "beside"), ("a box, by two corners", "box")]
KEYS = {
    "a": "accept",
    "n": "absent",
    "x": "drop",
    "ArrowRight": "next",
    "ArrowLeft": "back",
    "c": "undo",
    "w": "write",
}
SCRIPT = f"""<script>
const keys = {str(KEYS).replace("'", '"')};
document.addEventListener("keydown", (event) => {{
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "r" && !typing(event.target)) {{
    event.preventDefault(); document.querySelector("#label textarea, #label input").focus();
  }} else if (event.key === "Escape") event.target.blur();
  else if (!typing(event.target)) document.querySelector("#" + keys[event.key])?.click();
}});
const typing = (element) => element.matches("textarea, input[type=text]");
</script>"""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The answer that is looked at.

    Attributes:
        index: which one.
        mask: (H, W) bool, as it is after clicks.
        marks: what was clicked.
    """

    index: int
    mask: np.ndarray
    marks: Marks = field(default_factory=Marks)


class ReviewPage:
    """Components, and what happens when they are used.

    Args:
        review: the answers.
        model: what corrects a mask after clicks.
        root: where the names of photos start.
        output: folder for the reviewed data set.
        formats: of data sets that are written with it.
    """

    def __init__(self, review: Review, model: SharedModel, root: Path, output: Path, formats: Sequence[str] = ()):
        self.review, self.model, self.root, self.output, self.formats = review, model, root, output, formats
        with gr.Blocks(title="EVF-SAM: review", analytics_enabled=False) as self.page:
            first = self._shown(self.review.next_open(-1))
            self.shown = gr.State(first)
            with gr.Row():
                with gr.Column(scale=2, min_width=320):
                    self.picture = gr.Image(
                        self._draw(first),
                        show_label=False,
                        interactive=False,
                        buttons=[],
                        format="png",
                        elem_id="photo",
                    )
                with gr.Column(scale=1, min_width=320):
                    self._build_controls(first)
            self._connect()

    def _build_controls(self, first: Shown) -> None:
        self.about = gr.Markdown(self._about(first), elem_id="about")
        self.label = gr.Textbox(self.review.answers[first.index].label, label="Label (r, Esc)", elem_id="label")
        with gr.Row():
            self.accept = gr.Button("Accept (a)", variant="primary", min_width=90, elem_id="accept")
            self.absent = gr.Button("Not there (n)", min_width=90, elem_id="absent")
            self.drop = gr.Button("Drop (x)", min_width=90, elem_id="drop")
        with gr.Row():
            self.back = gr.Button("Back (←)", size="sm", min_width=90, elem_id="back")
            self.next = gr.Button("Next (→)", size="sm", min_width=90, elem_id="next")
            self.undo = gr.Button("Clear clicks (c)", size="sm", min_width=90, elem_id="undo")
        self.kind = gr.Radio(CLICKS, value="on", label="A click on the photo adds")
        self.write = gr.Button("Write the data set (w)", elem_id="write")
        self.written = gr.Markdown(elem_id="written")

    def _connect(self) -> None:
        shown = [self.shown, self.picture, self.about, self.label]
        turn: dict[str, Any] = {"concurrency_id": "review", "trigger_mode": "multiple", **QUICK}
        verdicts: dict[Verdict, gr.Button] = {"accepted": self.accept, "absent": self.absent, "dropped": self.drop}
        for verdict, button in verdicts.items():
            button.click(self._decider(verdict), [self.shown, self.label], shown, **turn)
        for button, step in ((self.back, -1), (self.next, 1)):
            button.click(self._walker(step), self.shown, shown, **turn)
        self.undo.click(lambda shown: self._show(shown.index), self.shown, shown, **turn)
        self.picture.select(self._click, [self.shown, self.kind, self.label], shown, **turn)
        self.write.click(self._write, None, self.written, **turn)

    def _decider(self, verdict: Verdict) -> Any:
        def decide(shown: Shown, label: str) -> tuple:
            with told():
                if not label.strip():
                    raise ValueError("the label is empty: give it a name")
                self.review.decide(shown.index, verdict, label=label.strip(), mask=shown.mask)
                return self._show(self.review.next_open(shown.index))

        return decide

    def _walker(self, step: int) -> Any:
        return lambda shown: self._show((shown.index + step) % len(self.review.answers))

    def _click(self, shown: Shown, kind: str, label: str, event: gr.SelectData) -> tuple:
        with told():
            answer, photo = self.review.answers[shown.index], self._photo(shown.index)
            marks = shown.marks.click(to_photo(event.index, photo), kind)
            if len(marks.corners) != 1:
                semantic = answer.semantic and self.model.knows_categories
                result = self.model.segment(photo, [answer.sentence], semantic=semantic, marks=marks, always=True)
                shown = replace(shown, mask=result.masks[0])
            shown = replace(shown, marks=marks)
            return shown, self._draw(shown), self._about(shown), label

    def _write(self) -> str:
        with told():
            write_reviewed(self.review.answers, self.root, self.output, self.formats)
            counts = self.review.counts()
            return f"Accepted: {counts['accepted']}. Not there: {counts['absent']}. `{self.output}`"

    def _show(self, index: int) -> tuple:
        shown = self._shown(index)
        return shown, self._draw(shown), self._about(shown), self.review.answers[index].label

    def _shown(self, index: int) -> Shown:
        return Shown(index=index, mask=self.review.answers[index].mask)

    def _photo(self, index: int) -> Image.Image:
        return open_photo(self.root / self.review.answers[index].image)

    def _draw(self, shown: Shown) -> Image.Image:
        photo = self._photo(shown.index)
        view = view_of(photo)
        mask = np.asarray(Image.fromarray(shown.mask).resize(view.size))
        drawn = draw_masks(view, mask[None], COLOURS[:1]).resize(view.size)
        return draw_marks(photo, shown.marks, drawn)

    def _about(self, shown: Shown) -> str:
        answer, counts = self.review.answers[shown.index], self.review.counts()
        figures = [f"score {answer.score:.2f}"]
        figures += [] if answer.quality is None else [f"quality {answer.quality:.2f}"]
        figures += ["the model says that it is not there"] if answer.present is False else []
        total = len(self.review.answers)
        verdict = answer.verdict or "open"
        text = answer.sentence.replace("*", "\\*").replace("_", "\\_").replace("<", "&lt;")
        return (
            f"**{text}**{'' if answer.instance is None else f', object {answer.instance}'}  \n{answer.image}  \n"
            f"{', '.join(figures)}: *{verdict}*  \n{shown.index + 1} of {total}, {counts[None]} open"
        )
