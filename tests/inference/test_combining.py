from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.image_processing_utils import BatchFeature

from modeling_evf_sam import EvfSamModel, EvfSamOutput, EvfSamPredictor, EvfSamProcessor
from modeling_evf_sam.inference.combining import combine
from modeling_evf_sam.inference.segmenting import segment

NONE = {"input_points": None, "input_labels": None, "input_boxes": None}
FAR = 20.0  # a presence logit


def prompts(*rows, semantic=False, **spatial):
    return {"text": list(rows), "semantic": semantic, **NONE, **spatial}


def test_without_names_nothing_changes():
    given = prompts(["shirt"], semantic=True)
    assert combine(given, any_of=None, exclude=None) == (given, None)


def test_names_stand_behind_the_sentences_each_once():
    given = prompts(
        ["shirt", "dog"], ["cat"], semantic=[[True, False], [False]], input_boxes=[[[0, 0, 9, 9], None], None]
    )
    combined, names = combine(given, any_of=[[None, ["wolf", "fox"]], None], exclude=[[["sleeve"], "fox"], "sleeve"])
    assert combined["text"] == [["shirt", "dog", "wolf", "fox", "sleeve"], ["cat", "sleeve"]]
    assert combined["semantic"] == [[True, False, False, False, True], [False, False]]
    assert combined["input_boxes"] == [[[0, 0, 9, 9], None, None, None, None], [None, None]]
    assert combined["input_points"] is None
    assert names.parts == [[([], [4]), ([2, 3], [3])], [([], [1])]]


@pytest.mark.parametrize(
    ("any_of", "exclude", "message"),
    [
        ([["a", "b"]], None, "any_of, photo 0: give one entry for each sentence, 1 in all"),
        (None, [None, None], "exclude: give one entry for each photo, 1 in all"),
        (None, [[[3]]], "exclude: give a name"),
        ([[" "]], None, "any_of: give a name"),
    ],
)
def test_names_that_do_not_fit(any_of, exclude, message):
    with pytest.raises(ValueError, match=message):
        combine(prompts(["shirt"]), any_of=any_of, exclude=exclude)


def said(*logits, scores=None, presence=None) -> tuple[EvfSamOutput, BatchFeature]:
    """What a model says of one photo: for each name its logits in three pixels."""
    masks = torch.tensor(logits)[None, :, None, None]
    outputs = EvfSamOutput(
        pred_masks=masks,
        iou_scores=torch.tensor(scores or [0.5] * len(logits))[None, :, None],
        presence_logits=None if presence is None else torch.tensor(presence)[None],
    )
    return outputs, BatchFeature({"attention_mask": torch.ones(1, len(logits), 4, dtype=torch.long)})


@pytest.mark.parametrize(
    ("options", "threshold", "presence", "expected"),
    [
        ({"exclude": "b"}, 0.0, None, [True, False, False]),
        ({"exclude": "b"}, 2.5, None, [True, False, False]),
        ({"exclude": "b"}, -2.0, None, [True, False, False]),
        ({"exclude": "b"}, 0.0, [FAR, -FAR], [True, True, False]),  # what is not there takes nothing away
        ({"any_of": "b"}, 0.0, None, [True, True, True]),
        ({"any_of": "b"}, 0.0, [FAR, -FAR], [True, True, False]),
        ({"any_of": "b"}, 0.0, [-FAR, FAR], [False, True, True]),  # and adds nothing
    ],
)
def test_logits_are_compared(options, threshold, presence, expected):
    outputs, inputs = said([3.0, 1.0, -1.0], [-1.0, 3.0, 0.5], presence=presence)
    _, names = combine(prompts(["a"]), **{"any_of": None, "exclude": None, **options})
    combined, asked = names.apply(outputs, inputs, threshold, 0.5)
    assert (combined.pred_masks[0, 0, 0, 0] > threshold).tolist() == expected
    assert asked["attention_mask"].any(-1).tolist() == [[True, False]]
    assert inputs["attention_mask"].all()
    assert outputs.pred_masks[0, 0, 0, 0].tolist() == [3.0, 1.0, -1.0]


def test_scores_and_presence_of_several_names():
    outputs, inputs = said([1.0], [1.0], [1.0], scores=[0.9, 0.4, 0.1], presence=[1.0, 3.0, -FAR])
    _, names = combine(prompts(["a"]), any_of=[[["b", "c"]]], exclude=None)
    combined, _ = names.apply(outputs, inputs, 0.0, 0.5)
    assert combined.iou_scores[0, 0].tolist() == pytest.approx([0.4])  # "c" is not there
    assert combined.presence_logits[0, 0] == 3


@pytest.fixture(scope="module")
def model(tiny_checkpoint) -> EvfSamModel:
    return EvfSamModel.from_pretrained(tiny_checkpoint, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def processor(tiny_checkpoint) -> EvfSamProcessor:
    return EvfSamProcessor.from_pretrained(tiny_checkpoint)


PHOTOS = [Image.effect_noise((60, 40), 60).convert("RGB"), Image.effect_noise((30, 50), 60).convert("RGB")]
ROWS = [["the circle", "a star"], ["the square"]]


def logits_of(model, processor, photo, sentences, semantic=False):
    inputs = processor(images=photo, text=sentences, semantic=semantic)
    with torch.no_grad():
        return inputs, model(**inputs).pred_masks[0, :, 0]


@pytest.fixture
def encodings(model):
    """Counts how often photos are encoded."""
    original = EvfSamModel.get_image_embeddings
    with mock.patch.object(EvfSamModel, "get_image_embeddings", autospec=True, side_effect=original) as spy:
        yield spy


def test_several_photos_in_one_forward(model, processor, encodings):
    options = {"any_of": [[None, "a heart"], None], "exclude": "the triangle"}
    found = segment(model, processor, PHOTOS, ROWS, boxes=[[[0, 0, 30, 30], None], [None]], **options)
    assert encodings.call_count == 1
    assert [result.masks.shape for result in found] == [(2, 40, 60), (1, 50, 30)]
    assert [result.sentences for result in found] == ROWS
    inputs, (star, heart, triangle) = logits_of(model, processor, PHOTOS[0], ["a star", "a heart", "the triangle"])
    union = star.maximum(heart)
    outputs = EvfSamOutput(
        pred_masks=union.minimum(union - triangle)[None, None, None], iou_scores=torch.ones(1, 1, 1)
    )
    (expected,) = processor.post_process_referring_segmentation(outputs, target_sizes=inputs["original_sizes"])
    agreement = (expected["masks"][0].numpy() == found[0].masks[1]).mean()
    assert agreement > 0.99
    assert 0.01 < expected["masks"].float().mean() < 0.99


def test_a_predictor_takes_names_and_keeps_them_for_points(model, processor):
    predictor = EvfSamPredictor(model, processor)
    predictor.set_image(PHOTOS[0])
    alone = predictor.predict("a star")
    found = predictor.predict("a star", any_of=["a heart"], exclude="the triangle")
    (expected,) = segment(model, processor, PHOTOS[:1], [["a star"]], any_of=[[["a heart"]]], exclude="the triangle")
    assert np.array_equal(found["masks"], expected.masks)
    assert not torch.equal(found["masks"], alone["masks"])
    with mock.patch.object(EvfSamModel, "get_prompt_embeddings", side_effect=AssertionError):
        predictor.add_point([3, 4])
    two = predictor.predict(["a star", "the circle"], exclude=["the triangle", None])
    assert two["masks"].shape == (2, 40, 60)
