import json
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from modeling_evf_sam.data.referring_sample import ReferringSample
from modeling_evf_sam.evaluation.dump import find_worst, write_sentences, write_worst
from modeling_evf_sam.evaluation.evaluator import EvaluationResult, SentenceResult
from tests.miniatures import columns, run_lengths


def _sentence(index, predicted, target, number=0):
    return SentenceResult(
        index=index,
        number=number,
        photo=f"{index}.jpg",
        sentence="çup",
        kind="",
        semantic=False,
        intersection=int((predicted & target).sum()),
        union=int((predicted | target).sum()),
        target=int(target.sum()),
        score=0.25,
        presence=0.5,
        quality=None,
        rle=run_lengths(predicted),
    )


TARGET = columns(0, 4)
FOUND = (127, 0, 100)  # half of the tint over a black photo
RESULT = EvaluationResult(
    [
        _sentence(0, columns(0, 4), TARGET),
        _sentence(1, columns(6, 8), TARGET),
        _sentence(1, columns(6, 9), TARGET, number=1),
        _sentence(2, columns(0, 2), TARGET),
        _sentence(3, columns(0, 0), columns(0, 0)),
    ]
)


def test_lines(tmp_path):
    write_sentences(RESULT, tmp_path / "s.jsonl")
    records = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [record.pop("iou") for record in records] == [1.0, 0.0, 0.0, 0.5, 1.0]
    assert records == [asdict(sentence) for sentence in RESULT.sentences]


@pytest.mark.parametrize(("count", "expected"), [(0, []), (2, [(1, 1), (1, 0)]), (9, [(1, 1), (1, 0), (2, 0)])])
def test_the_worst_come_first(count, expected):
    found = [(sentence.index, sentence.number) for sentence in find_worst(RESULT.sentences, count)]
    assert found[:3] == expected
    assert len(found) == min(count, 5)


def test_pictures_are_of_the_sentence_and_its_photo(tmp_path):
    read = []

    def sample(index):
        read.append(index)
        masks = np.stack([TARGET, TARGET])
        return ReferringSample(
            photo=Image.new("RGB", (12, 10)), sentences=["a", "b"], masks=masks, semantic=[False, False]
        )

    write_worst(RESULT, sample, tmp_path / "worst.png", count=2)
    assert read == [1, 1]
    with Image.open(tmp_path / "worst.png") as sheet:
        pixels = np.asarray(sheet)
    wide = np.flatnonzero((pixels == FOUND).all(axis=-1).any(axis=0))
    first, second = wide[wide < 300], wide[wide > 300]
    assert (len(first), len(second)) == (75, 50)  # three and two columns of twelve, over 300 pixels
