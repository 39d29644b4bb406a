import numpy as np
import pytest
import torch
from PIL import Image

from modeling_evf_sam import EvfSamModel, EvfSamPredictor, EvfSamProcessor
from modeling_evf_sam.inference.known_limits import photo_warning
from modeling_evf_sam.inference.segmenting import segment

SENTENCES = [["the red circle", "a star"], ["the square"]]


@pytest.fixture(scope="module")
def model(tiny_checkpoint) -> EvfSamModel:
    return EvfSamModel.from_pretrained(tiny_checkpoint, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def processor(tiny_checkpoint) -> EvfSamProcessor:
    return EvfSamProcessor.from_pretrained(tiny_checkpoint)


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    return [Image.effect_noise(size, 60).convert("RGB") for size in ((60, 40), (30, 50))]


def test_one_result_for_each_photo_as_by_hand(model, processor, photos):
    points, labels = [[[[3, 4], [9, 9]], None], [None]], [[[1, 0], None], [None]]
    boxes, semantic = [[None, [1, 2, 50, 30]], [None]], [[True, False], [False]]
    prompts = {"points": points, "point_labels": labels, "boxes": boxes}
    found = segment(model, processor, photos, SENTENCES, semantic=semantic, mask_threshold=0.1, **prompts)
    inputs = processor(
        images=photos,
        text=SENTENCES,
        semantic=semantic,
        **{f"input_{name.removeprefix('point_')}": values for name, values in prompts.items()},
    )
    with torch.no_grad():
        expected = processor.post_process_referring_segmentation(model(**inputs), inputs, 0.1)
    assert [result.sentences for result in found] == SENTENCES
    assert [result.semantic for result in found] == semantic
    assert [result.photo_size for result in found] == [(40, 60), (50, 30)]
    for result, wanted in zip(found, expected, strict=True):
        for name, values in wanted.items():
            assert np.array_equal(getattr(result, name), values.numpy())
        assert result.attention is None


def test_no_gradients_and_attention_when_asked_for(model, processor, photos):
    seen = []
    hook = model.register_forward_hook(lambda *_: seen.append(torch.is_grad_enabled()))
    found = segment(model, processor, photos, SENTENCES, attention=True)
    hook.remove()
    assert seen == [False]
    assert [result.attention.shape for result in found] == [(2, 4, 4), (1, 4, 4)]
    assert all((result.attention > 0).all() for result in found)


@pytest.mark.parametrize("trained_on", [None, "rendered_scenes", "refcoco"])
def test_results_say_what_the_checkpoint_does_not_know(model, processor, photos, trained_on, monkeypatch):
    monkeypatch.setattr(model.config, "trained_on", trained_on, raising=False)
    (result,) = segment(model, processor, photos[:1], SENTENCES[:1])
    assert result.warning == photo_warning(model.config)
    assert (result.warning is not None) == (trained_on == "rendered_scenes")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_predictor_by_name(tiny_checkpoint, model, processor, photos, dtype):
    predictor = EvfSamPredictor.from_pretrained(str(tiny_checkpoint), "cpu", dtype)
    assert predictor.model.dtype == getattr(torch, dtype)
    assert not predictor.model.training
    predictor.set_image(photos[0])
    result = predictor.predict(SENTENCES[0])
    (expected,) = segment(predictor.model, processor, photos[:1], SENTENCES[:1])
    assert np.array_equal(result["masks"], expected.masks)
