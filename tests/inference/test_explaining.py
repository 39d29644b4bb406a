import numpy as np
import pytest
import torch
from PIL import Image

from modeling_evf_sam import EvfSamModel, EvfSamProcessor
from modeling_evf_sam.inference import explaining
from modeling_evf_sam.inference.explaining import explain
from modeling_evf_sam.inference.segmentation import Segmentation
from modeling_evf_sam.inference.segmenting import segment
from tests.miniatures import HEIGHT, WIDTH, columns

PHOTO = Image.new("RGB", (WIDTH, HEIGHT), (90, 90, 90))
FOUND = {
    "the red cup": (columns(0, 6), 0.9),
    "red cup": (columns(0, 6), 0.8),
    "the cup": (columns(3, 9), 1.0),
    "the red": (columns(0, 0), 0.2),
    "cup": (columns(2, 4), 0.75),
    "a cup": (columns(0, 0), 0.1),
    "a": (columns(0, 0), 0.1),
}


@pytest.fixture
def known(monkeypatch):
    """Masks and presences of the table above, with or without the presences; and what was asked for."""
    asked = []

    def install(*, presence):
        def find(model, processor, photos, sentences, *, semantic, present_threshold):
            asked.append((len(photos), sentences, semantic, present_threshold))
            masks, values = zip(*(FOUND[sentence] for sentence in sentences[0]), strict=True)
            return [
                Segmentation(
                    photo_size=(HEIGHT, WIDTH),
                    sentences=sentences[0],
                    masks=np.stack(masks),
                    scores=np.ones(len(masks)),
                    boxes=np.zeros((len(masks), 4)),
                    semantic=[semantic] * len(masks),
                    presence=np.array(values) if presence else None,
                )
            ]

        monkeypatch.setattr(explaining, "segment", find)
        return asked

    return install


@pytest.mark.parametrize(
    ("sentence", "weights", "changes"),
    [
        ("the red cup", [0, 1 - 3 / 9, 1], [0.1, -0.1, 0.7]),  # columns 3..5 are in both of 0..5 and 3..8
        ("cup", [1], [0.75]),
        ("a", [0], [0.1]),  # empty as it is without the word
        ("a cup", [1, 0], [0.1 - 0.75, 0]),
    ],
)
def test_weights_are_what_is_lost_of_the_mask(sentence, weights, changes, known):
    known(presence=True)
    found = explain(None, None, PHOTO, sentence)
    assert found.words == sentence.split()
    np.testing.assert_allclose(found.weights, weights)
    np.testing.assert_allclose(found.presence_changes, changes, atol=1e-12)
    np.testing.assert_array_equal(found.mask, FOUND[sentence][0])
    assert found.masks_without.shape == (len(weights), HEIGHT, WIDTH)


def test_all_is_asked_in_one_call(known):
    asked = known(presence=False)
    assert explain(None, None, PHOTO, "the red cup", semantic=True, present_threshold=0.2).presence_changes is None
    assert asked == [(1, [["the red cup", "red cup", "the cup", "the red"]], True, 0.2)]


def test_a_model_says_the_same_as_for_each_sentence_alone(tiny_checkpoint):
    model = EvfSamModel.from_pretrained(tiny_checkpoint, dtype=torch.float32).eval()
    processor = EvfSamProcessor.from_pretrained(tiny_checkpoint)
    photo = Image.effect_noise((60, 40), 60).convert("RGB")
    encoded = []
    model.sam.vision_encoder.register_forward_hook(lambda *call: encoded.append(call))
    found = explain(model, processor, photo, "  the red   circle ")
    assert len(encoded) == 1
    assert found.words == ["the", "red", "circle"]
    for mask, sentence in zip(
        [found.mask, *found.masks_without], ["the red circle", "red circle", "the circle", "the red"], strict=True
    ):
        (alone,) = segment(model, processor, [photo], [[sentence]])
        assert (mask != alone.masks[0]).mean() < 0.01  # computed together, logits next to zero round otherwise


def test_a_sentence_without_words_is_refused(tiny_checkpoint):
    model, processor = EvfSamModel.from_pretrained(tiny_checkpoint), EvfSamProcessor.from_pretrained(tiny_checkpoint)
    with pytest.raises(ValueError, match="no words"):
        explain(model.eval(), processor, PHOTO, " ")


def test_it_plots_itself_with_the_presence_where_there_is_one(known):
    pictures = []
    for presence in (False, True):
        known(presence=presence)
        pictures.append(explain(None, None, PHOTO, "the red cup").plot(PHOTO))
    assert pictures[0].size == pictures[1].size
    assert pictures[0] != pictures[1]
