import copy
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from unittest import mock

import numpy as np
import pytest
import torch

from modeling_evf_sam import DEFAULT_CHECKPOINT, EvfSamModel, EvfSamProcessor
from modeling_evf_sam.inference.predictor import EvfSamPredictor

SENTENCES = ["the red circle", "the square on the left"]
BUDGET = 10_000_000


@pytest.fixture(scope="module")
def model() -> EvfSamModel:
    return EvfSamModel.from_pretrained(DEFAULT_CHECKPOINT).eval()


@pytest.fixture(scope="module")
def processor() -> EvfSamProcessor:
    return EvfSamProcessor.from_pretrained(DEFAULT_CHECKPOINT)


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    """Three photos of unlike sizes, each with a disc on noise."""
    generator = np.random.default_rng(0)
    photos = [generator.integers(0, 90, (height, 96, 3), dtype=np.uint8) for height in (64, 80, 100)]
    for photo in photos:
        rows, columns = np.ogrid[: len(photo), :96]
        photo[(rows - 30) ** 2 + (columns - 50) ** 2 < 200] = (220, 30, 30)
    return photos


@pytest.fixture
def predictor(model, processor) -> EvfSamPredictor:
    return EvfSamPredictor(model, processor, cache_bytes=BUDGET)


@pytest.fixture
def encodings(model):
    """Counts how often a photo is encoded."""
    original = EvfSamModel.get_image_embeddings
    with mock.patch.object(EvfSamModel, "get_image_embeddings", autospec=True, side_effect=original) as spy:
        yield spy


@torch.no_grad()
def expected(model, processor, photo, **prompts):
    inputs = processor(images=photo, **prompts)
    return processor.post_process_referring_segmentation(model(**inputs), inputs)[0]


def assert_same(found, wanted):
    assert torch.equal(found["masks"], wanted["masks"])
    torch.testing.assert_close(found["scores"], wanted["scores"], atol=1e-5, rtol=0)
    assert torch.equal(found["boxes"], wanted["boxes"])


def test_predicts_what_the_model_does_and_encodes_once(model, processor, predictor, photos, encodings):
    predictor.set_image(photos[0])
    found = predictor.predict(SENTENCES), predictor.predict(SENTENCES[1]), predictor.predict(SENTENCES[0])
    assert encodings.call_count == 1
    for result, text in zip(found, (SENTENCES, SENTENCES[1:], SENTENCES[:1]), strict=True):
        assert_same(result, expected(model, processor, photos[0], text=text))


def test_points_boxes_and_semantic(model, processor, predictor, photos):
    predictor.set_image(photos[1])
    points, labels, boxes = [[[50, 30], [5, 5]], None], [[1, 0], None], [None, [10, 10, 60, 70]]
    found = predictor.predict(SENTENCES, semantic=[False, True], points=points, point_labels=labels, boxes=boxes)
    prompts = {"input_points": points, "input_labels": labels, "input_boxes": boxes, "semantic": [False, True]}
    assert_same(found, expected(model, processor, photos[1], text=SENTENCES, **prompts))
    one = predictor.predict(SENTENCES[0], points=[[50, 30]], boxes=[10, 10, 60, 70])
    prompts = {"input_points": [[[50, 30]]], "input_boxes": [[10, 10, 60, 70]]}
    assert_same(one, expected(model, processor, photos[1], text=SENTENCES[:1], **prompts))


def test_points_are_added_without_reading_the_sentence_again(model, processor, predictor, photos):
    predictor.set_image(photos[0])
    predictor.predict(SENTENCES)
    with mock.patch.object(EvfSamModel, "get_prompt_embeddings", side_effect=AssertionError):
        predictor.add_point([50, 30])
        with pytest.raises(ValueError, match="outside the photo"):
            predictor.add_point([500, 30])
        found = predictor.add_point([3, 4], label=0, sentence=1)
    prompts = {"input_points": [[[50, 30]], [[3, 4]]], "input_labels": [[1], [0]]}
    assert_same(found, expected(model, processor, photos[0], text=SENTENCES, **prompts))


def test_photos_are_found_by_their_pixels(predictor, photos, encodings):
    first = predictor.encode(photos[0])
    assert predictor.encode(photos[0].copy()) is first
    assert predictor.share().encode(photos[0]) is first
    changed = photos[0].copy()
    changed[0, 0, 0] ^= 1
    assert predictor.encode(changed) is not first
    assert predictor.encode(photos[0].reshape(96, 64, 3)) is not first
    assert encodings.call_count == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda model, _: next(model.sam.vision_encoder.parameters()).mul_(1.01),
        lambda model, _: model.load_state_dict(model.state_dict()),
        lambda model, _: model.load_state_dict(copy.deepcopy(model.state_dict()), assign=True),
        lambda model, _: model.to(torch.bfloat16),
        lambda _, processor: setattr(processor.image_processor, "image_layout", "pad"),
    ],
)
def test_other_weights_or_settings_are_another_photo(model, processor, photos, change):
    model, processor = copy.deepcopy(model), copy.deepcopy(processor)
    predictor = EvfSamPredictor(model, processor, cache_bytes=BUDGET)
    first = predictor.encode(photos[0])
    with torch.no_grad():
        change(model, processor)
    assert predictor.encode(photos[0]) is not first


def test_the_budget_holds_and_the_oldest_goes_first(model, processor, photos, encodings):
    size = EvfSamPredictor(model, processor).encode(photos[0]).num_bytes
    predictor = EvfSamPredictor(model, processor, cache_bytes=2 * size)
    a, b = predictor.encode(photos[0]), predictor.encode(photos[1])
    assert predictor.encode(photos[0]) is a  # now b is the oldest
    predictor.encode(photos[2])
    assert predictor.encode(photos[0]) is a
    assert predictor.encode(photos[1]) is not b
    assert encodings.call_count == 1 + 4


def test_without_a_cache_only_the_current_photo_is_kept(model, processor, photos):
    predictor = EvfSamPredictor(model, processor)
    predictor.set_image(photos[0])
    assert predictor.encode(photos[0]) is not predictor.encode(photos[0])
    predictor.predict(SENTENCES)
    predictor.release()
    with pytest.raises(ValueError, match="call set_image first"):
        predictor.predict(SENTENCES)


def test_release_empties_the_cache(predictor, photos, encodings):
    predictor.encode(photos[0])
    predictor.release()
    predictor.encode(photos[0])
    assert encodings.call_count == 2


def test_threads_share_photos_and_keep_their_own(model, processor, predictor, photos, encodings):
    """Eight users at once, each with a photo and a sentence of its own; every photo is encoded once."""
    wanted = {
        (index, text): expected(model, processor, photo, text=[text])
        for index, photo in enumerate(photos)
        for text in SENTENCES
    }
    encodings.reset_mock()
    start = Barrier(8)

    def use(user: int) -> list[tuple]:
        own, (index, text) = predictor.share(), list(wanted)[user % len(wanted)]
        start.wait()
        own.set_image(photos[index])
        other = (index + 1) % len(photos)
        return [
            ((index, text), own.predict(text)),
            ((other, text), predictor.predict(text, photo=predictor.encode(photos[other]))),
            ((index, text), own.predict([text])),
        ]

    with ThreadPoolExecutor(8) as pool:
        for results in pool.map(use, range(8)):
            for key, found in results:
                assert_same(found, wanted[key])
    assert encodings.call_count == len(photos)


def test_an_error_reaches_every_thread_and_is_not_kept(predictor, photos):
    with mock.patch.object(EvfSamModel, "get_image_embeddings", side_effect=RuntimeError("no memory")):
        with ThreadPoolExecutor(2) as pool:
            for future in [pool.submit(predictor.encode, photos[0]) for _ in range(2)]:
                with pytest.raises(RuntimeError, match="no memory"):
                    future.result()
    assert predictor.encode(photos[0]).num_bytes > 0


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda p, photo: p.predict("a cup"), "there is no photo: call set_image first"),
        (lambda p, photo: p.add_point([1, 1]), "call predict first"),
        (lambda p, photo: p.set_image(None), "photo"),
        (lambda p, photo: (p.set_image(photo), p.predict([])), "no sentences"),
        (lambda p, photo: (p.set_image(photo), p.predict("a"), p.add_point([1, 1], sentence=1)), "no sentence 1"),
        (lambda p, photo: (p.set_image(photo), p.predict(SENTENCES, boxes=[[0, 0, 9, 9]])), "input_boxes|boxes"),
        (lambda p, photo: (p.set_image(photo), p.predict(SENTENCES, points=[[[0, 0]]])), "points"),
    ],
)
def test_bad_use(predictor, photos, use, message):
    with pytest.raises(ValueError, match=message):
        use(predictor, photos[0])
