"""Results of single sentences, as files: one JSON line each, and a sheet of the worst."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from pycocotools import mask as coco_mask

from modeling_evf_sam.data.referring_sample import ReferringSample
from modeling_evf_sam.evaluation.contact_sheet import Case, contact_sheet
from modeling_evf_sam.evaluation.evaluator import EvaluationResult, SentenceResult


def write_sentences(result: EvaluationResult, path: Path) -> None:
    """Writes a JSON object for each sentence on a line of its own: the fields of `SentenceResult`, and `iou`."""
    with path.open("w", encoding="utf-8") as file:
        for sentence in result.sentences:
            record = {**asdict(sentence), "iou": sentence.iou}
            file.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")


def write_worst(result: EvaluationResult, read: Callable[[int], ReferringSample], path: Path, *, count: int) -> None:
    """Draws the sentences with the lowest IoUs on one sheet, the worst first; `read` gives sample i once more."""
    cases = [_case(sentence, read(sentence.index)) for sentence in find_worst(result.sentences, count)]
    contact_sheet(cases).save(path)


def find_worst(sentences: Sequence[SentenceResult], count: int) -> list[SentenceResult]:
    """The `count` sentences with the lowest IoUs; of equal ones, the first is that with more wrong pixels."""
    return sorted(sentences, key=lambda s: (s.iou, s.intersection - s.union, s.index, s.number))[:count]


def _case(sentence: SentenceResult, sample: ReferringSample) -> Case:
    return Case(
        photo=sample.photo,
        target=sample.masks[sentence.number],
        predicted=coco_mask.decode(sentence.rle).astype(bool),
        caption=f"{100 * sentence.iou:.1f}  {sentence.sentence}",
    )
