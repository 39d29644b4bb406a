"""The answers of a folder of results, and what was decided about each."""

import json
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pyarrow import dataset
from pycocotools import mask as coco_mask

from modeling_evf_sam.data.segmentations import run_lengths
from modeling_evf_sam.files import whole_file
from modeling_evf_sam.inference.components import pixel_edges
from modeling_evf_sam.segment_dataset.results import PARTS, SCHEMA

DECISIONS = "review.jsonl"
Verdict = Literal["accepted", "absent", "dropped"]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One row of the results.

    Attributes:
        image: name of the photo.
        sentence: what was asked.
        semantic: whether every pixel of a category was asked for.
        label: what data sets call it.
        instance: number of the object, or None for a whole answer.
        score: the model's own estimate of the IoU.
        quality: the IoU to be expected, or None.
        present: whether it is taken to be there, or None.
        rle: the mask as COCO's run lengths.
        verdict: "accepted"; "absent", where the photo shows no such thing; "dropped", for what helps nobody; None
            before it was looked at.
    """

    image: str
    sentence: str
    semantic: bool
    label: str
    instance: int | None
    score: float
    quality: float | None
    present: bool | None
    rle: dict[str, Any]
    verdict: Verdict | None = None

    @property
    def key(self) -> tuple:
        """What tells it from all others."""
        return (self.image, self.sentence, self.semantic, self.instance)

    @property
    def mask(self) -> np.ndarray:
        """(H, W) bool."""
        return coco_mask.decode(self.rle).astype(bool)

    def row(self) -> dict[str, Any]:
        """As the parts of the results have it."""
        mask = self.mask
        box = [float(edge) for edge in pixel_edges(mask)] if mask.any() else [0.0] * 4
        return {**asdict(self), "presence": None, "box": box, "area": int(mask.sum())}


class Review:
    """All answers of a folder, the most doubtful first, and the decisions, which are kept as they are made.

    Args:
        folder: what `evf-sam segment-dataset` wrote.

    Raises:
        ValueError: there are no answers in it.
    """

    def __init__(self, folder: Path):
        self.file = folder / DECISIONS
        parts = sorted(str(part) for part in folder.glob(PARTS))
        if not parts:
            raise ValueError(f"'{folder}' has no results: give a folder that evf-sam segment-dataset wrote")
        names = [name for name in Answer.__dataclass_fields__ if name != "verdict"]
        rows = dataset.dataset(parts, schema=SCHEMA).to_table(columns=names).to_pylist()
        found = [Answer(**{**row, "label": row["label"] or row["sentence"]}) for row in rows]
        self.answers = sorted(found, key=_doubt)
        self._take_up()

    def _take_up(self) -> None:
        """Puts the decisions of before in the place of the answers that they are about."""
        if not self.file.exists():
            return
        decided = [Answer(**json.loads(line)) for line in self.file.read_text(encoding="utf-8").splitlines()]
        by_key = {answer.key: answer for answer in decided}
        self.answers = [by_key.get(answer.key, answer) for answer in self.answers]

    def decide(self, index: int, verdict: Verdict, *, label: str, mask: np.ndarray) -> None:
        """Keeps what was decided about an answer.

        Args:
            index: which one.
            verdict: as `Answer` has it.
            label: its name now.
            mask: (H, W) bool, as it is now.
        """
        decided = replace(self.answers[index], verdict=verdict, label=label, rle=run_lengths(mask))
        self.answers[index] = decided
        with whole_file(self.file) as file:
            lines = (json.dumps(asdict(answer), ensure_ascii=False) for answer in self.answers if answer.verdict)
            file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def next_open(self, index: int) -> int:
        """The next answer without a decision, from the start again after the last; the same where there is none."""
        count = len(self.answers)
        following = [(index + step) % count for step in range(1, count + 1)]
        return next((place for place in following if self.answers[place].verdict is None), index)

    def counts(self) -> Counter:
        """How many answers have each verdict; None for those that are open."""
        return Counter(answer.verdict for answer in self.answers)


def _doubt(answer: Answer) -> tuple:
    """What is taken not to be there last; before that the least quality first."""
    estimate = answer.score if answer.quality is None else answer.quality
    return (answer.present is False, estimate, answer.image, answer.sentence, answer.instance or 0)
