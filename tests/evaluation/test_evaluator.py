from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from transformers import BatchFeature, PretrainedConfig

from modeling_evf_sam.data.referring_sample import ReferringSample
from modeling_evf_sam.evaluation import evaluator
from modeling_evf_sam.evaluation.evaluator import evaluate_model
from modeling_evf_sam.evaluation.metrics import summarize
from modeling_evf_sam.inference.segmenting import segment


def _mask(height, width, pixels):
    return (np.arange(height * width) < pixels).reshape(height, width)


def _sample(width, height, targets, kinds):
    return ReferringSample(
        photo=Image.new("RGB", (width, height)),
        sentences=[f"object of {target} pixels" for target in targets],
        masks=np.stack([_mask(height, width, target) for target in targets]),
        semantic=[kind == "semantic" for kind in kinds] or [False] * len(targets),
        kinds=kinds,
    )


class _Processor:
    """Hands the photos through to the model below; masks come back with the number of pixels it decided on."""

    def __init__(self):
        self.calls = []

    def __call__(self, *, images, text, semantic, **_):
        self.calls.append((len(images), text, semantic))
        return BatchFeature({"sizes": torch.tensor([image.size for image in images]), "text": text})

    def post_process_referring_segmentation(self, outputs, inputs, mask_threshold, **_):
        return [
            {
                "masks": torch.from_numpy(np.stack([_mask(height, width, pixels) for pixels in row])),
                "scores": torch.full((len(row),), 0.5),
                "boxes": torch.zeros(len(row), 4),
            }
            for row, (width, height) in zip(outputs, inputs["sizes"].tolist(), strict=True)
        ]


class _Model(torch.nn.Module):
    """Answers every sentence "object of N pixels" with the first 10 pixels of the photo."""

    device = torch.device("cpu")
    config = PretrainedConfig()

    def forward(self, sizes, text):
        assert not self.training
        assert not torch.is_grad_enabled()
        return [[10] * len(sentences) for sentences in text]


SAMPLES = [
    _sample(8, 6, [10, 20], ["attribute", "relation"]),
    _sample(5, 9, [5], ["semantic"]),
    _sample(4, 4, [16], []),
]


@pytest.mark.parametrize(("batch_size", "batches"), [(1, [1, 1, 1]), (2, [2, 1]), (8, [3])])
def test_pixels_are_counted_at_photo_size_for_any_batch(batch_size, batches):
    processor = _Processor()
    result = evaluate_model(_Model(), processor, iter(SAMPLES), batch_size=batch_size)
    assert [count for count, _, _ in processor.calls] == batches
    assert [(s.index, s.number) for s in result.sentences] == [(0, 0), (0, 1), (1, 0), (2, 0)]
    assert [s.intersection for s in result.sentences] == [10, 10, 5, 10]
    assert [s.union for s in result.sentences] == [10, 20, 10, 16]
    assert [s.target for s in result.sentences] == [10, 20, 5, 16]
    assert [s.kind for s in result.sentences] == ["attribute", "relation", "semantic", ""]
    assert result.overall == summarize([10, 10, 5, 10], [10, 20, 10, 16], targets=[10, 20, 5, 16])
    assert result.reliability == {}
    assert {kind: figures["giou"] for kind, figures in result.by_kind.items()} == {
        "attribute": 1.0,
        "relation": 0.5,
        "semantic": 0.5,
    }
    assert result.to_dict() == {**result.overall, "by_kind": result.by_kind}


def test_a_sentence_is_recorded_whole():
    sentence = evaluate_model(_Model(), _Processor(), [replace(SAMPLES[1], name="a/b.jpg")]).sentences[0]
    np.testing.assert_array_equal(coco_mask.decode(sentence.rle), _mask(9, 5, 10))
    assert (sentence.photo, sentence.sentence, sentence.semantic, sentence.score, sentence.iou) == (
        "a/b.jpg",
        "object of 5 pixels",
        True,
        0.5,
        0.5,
    )


def test_semantic_sentences_are_asked_as_such():
    processor = _Processor()
    evaluate_model(_Model(), processor, SAMPLES, batch_size=8)
    assert processor.calls[0][2] == [[False, False], [True], [False]]


def test_empty_targets_are_counted_and_photos_without_sentences_are_not():
    empty = replace(SAMPLES[2], masks=np.zeros((1, 4, 4), dtype=bool), kinds=["no target"])
    none = replace(SAMPLES[2], sentences=[], masks=np.zeros((0, 4, 4), dtype=bool), semantic=[])
    result = evaluate_model(_Model(), _Processor(), [none, SAMPLES[0], empty])
    assert result.overall == summarize([10, 10, 0], [10, 20, 10], targets=[10, 20, 0])
    assert result.overall["no_target_accuracy"] == result.by_kind["no target"]["no_target_accuracy"] == 0.0
    assert "no_target_accuracy" not in result.by_kind["relation"]
    assert [s.index for s in result.sentences] == [1, 1, 2]


def test_estimates_are_compared_with_what_is_there(monkeypatch):
    """IoUs of 1, 0.5 and 0.5; a sentence that names nothing, and one for which nothing was found."""
    estimates = {8: (0.95, 0.85), 5: (0.65, 0.65), 4: (0.25, 0.35), 3: (0.15, 0.95)}  # of photos of this width

    def estimate(*arguments, **options):
        for found in segment(*arguments, **options):
            presence, quality = (np.full(len(found.masks), value) for value in estimates[found.photo_size[1]])
            yield replace(
                found, presence=presence, quality=quality, masks=found.masks & (presence > 0.2)[:, None, None]
            )

    monkeypatch.setattr(evaluator, "segment", lambda *arguments, **options: list(estimate(*arguments, **options)))
    absent = replace(SAMPLES[2], masks=np.zeros((1, 4, 4), dtype=bool), kinds=["no target"])
    result = evaluate_model(_Model(), _Processor(), [*SAMPLES[:2], absent, _sample(3, 4, [6], [])])
    assert [(s.presence, s.quality) for s in result.sentences] == [estimates[width] for width in (8, 8, 5, 4, 3)]
    assert result.overall["presence_ece"] == pytest.approx((2 * 0.05 + 0.35 + 0.25 + 0.85) / 5)
    assert result.overall["quality_ece"] == pytest.approx((2 * (0.85 - 0.75) + 0.65 - 0.5) / 3)
    assert result.by_kind["relation"]["quality_ece"] == pytest.approx(0.35)
    assert "quality_ece" not in result.by_kind["no target"]
    assert result.reliability["quality"].counts.sum() == 3


def test_model_returns_to_its_mode_and_progress_sees_every_sample():
    model, seen = _Model().train(), []
    evaluate_model(model, _Processor(), SAMPLES, progress=lambda samples: (seen.append(s) or s for s in samples))
    assert model.training
    assert seen == SAMPLES


@pytest.mark.parametrize(
    ("samples", "batch_size", "expected"),
    [
        (SAMPLES, 4, nullcontext()),
        (SAMPLES, 0, pytest.raises(ValueError, match="batch_size must be at least 1")),
        (
            [replace(SAMPLES[2], photo=Image.new("RGB", (4, 5)))],
            1,
            pytest.raises(ValueError, match=r"'object of 16 pixels': predicted masks are \(1, 5, 4\)"),
        ),
    ],
)
def test_checks(samples, batch_size, expected):
    with expected:
        evaluate_model(_Model(), _Processor(), samples, batch_size=batch_size)
