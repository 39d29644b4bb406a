import copy
import gc
import weakref
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from modeling_evf_sam import EvfSamModel, EvfSamProcessor
from modeling_evf_sam.inference.video import EvfSamVideoPredictor, FrameResult
from modeling_evf_sam.inference.video_trackers import frame_view
from modeling_evf_sam.modeling_evf_sam_video import ObjectMemory
from tests.golden import GOLDEN_ENCODER
from tests.live_bytes import LiveBytes
from tests.tiny_video import tiny_video_model

SENTENCES = ["the red square", "a cat"]
HEIGHT, WIDTH = 40, 56


def draw(index: int, brightness: int = 0) -> np.ndarray:
    """A frame of noise on which a red square goes from left to right."""
    frame = np.random.default_rng(index).integers(0, 60, (HEIGHT, WIDTH, 3), dtype=np.uint8) + np.uint8(brightness)
    left = 2 * index % (WIDTH - 16)
    frame[12:28, left : left + 16] = (200, 40, 40)
    return frame


@pytest.fixture(scope="module")
def model(tiny_tokenizer):
    return tiny_video_model(multimodal_config={**GOLDEN_ENCODER, "vocab_size": len(tiny_tokenizer)})


@pytest.fixture(scope="module")
def processor(model, tiny_tokenizer) -> EvfSamProcessor:
    return EvfSamProcessor.from_config(model.config, tiny_tokenizer)


@pytest.fixture
def predictor(model, processor) -> EvfSamVideoPredictor:
    return EvfSamVideoPredictor(model, processor)


@pytest.fixture(scope="module")
def film() -> list[np.ndarray]:
    return [draw(index) for index in range(9)]


def masks_of(results: list[FrameResult], number: int) -> list[torch.Tensor]:
    return [result.masks[result.object_ids.index(number)] for result in results if number in result.object_ids]


def assert_same(found: FrameResult, wanted: FrameResult) -> None:
    assert (found.frame, found.object_ids) == (wanted.frame, wanted.object_ids)
    assert torch.equal(found.masks, wanted.masks)
    torch.testing.assert_close(found.scores, wanted.scores, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.object_scores, wanted.object_scores, atol=1e-4, rtol=0)


@torch.no_grad()
def test_one_sentence_is_what_the_model_does(model, processor, predictor, film):
    predictor.add_sentence(SENTENCES[0])
    memory = ObjectMemory()
    inputs = processor(images=film[0], text=SENTENCES[0])
    token = model.get_prompt_embeddings(inputs["multimodal_pixel_values"], inputs["input_ids"])[0]
    results = list(predictor.propagate(film))
    assert [result.frame for result in results] == list(range(len(film)))
    for result, frame in zip(results, film, strict=True):
        view = model.encode_frame(frame_view(Image.fromarray(frame), processor.image_processor)[None])
        prompt = token if result.frame == 0 else None
        mask = model.segment_object(view, memory, result.frame, prompt_embeds=prompt)
        logits = torch.nn.functional.interpolate(mask.logits, (HEIGHT, WIDTH), mode="bilinear")[0]
        expected = FrameResult(result.frame, [1], logits > 0, mask.score, mask.object_score)
        assert result.masks.shape == (1, HEIGHT, WIDTH)
        assert_same(result, expected)


def test_two_objects_at_once_are_two_alone(model, processor, film):
    both = EvfSamVideoPredictor(model, processor)
    ids = [both.add_sentence(sentence, frame=frame) for frame, sentence in enumerate(SENTENCES)]
    assert ids == [1, 2]
    encoded = []
    hook = model.sam.vision_encoder.register_forward_hook(lambda *_: encoded.append(1))
    found = list(both.propagate(iter(film)))
    hook.remove()
    assert len(encoded) == len(film)
    assert [result.object_ids for result in found] == [[1]] + [[1, 2]] * (len(film) - 1)
    for number, sentence in enumerate(SENTENCES, start=1):
        alone = EvfSamVideoPredictor(model, processor)
        alone.add_sentence(sentence, frame=number - 1)
        assert all(map(torch.equal, masks_of(found, number), masks_of(list(alone.propagate(film)), 1)))


@torch.no_grad()
def test_another_sentence_costs_all_but_the_encoding_of_the_frames(model, processor, film):
    """In FLOPs, which the counter cannot take of weights that are trained."""
    model, counts = copy.deepcopy(model).requires_grad_(False), []
    for count in (1, 2, 3):
        predictor = EvfSamVideoPredictor(model, processor)
        for _ in range(count):
            predictor.add_sentence(SENTENCES[0])
        with FlopCounterMode(display=False) as flops:
            list(predictor.propagate(film))
        counts.append(flops.get_total_flops())
    view = frame_view(Image.fromarray(film[0]), processor.image_processor)[None]
    with FlopCounterMode(display=False) as flops:
        model.encode_frame(view)
    another = counts[1] - counts[0]
    assert counts == [len(film) * flops.get_total_flops() + number * another for number in (1, 2, 3)]


def test_memory_does_not_grow(predictor):
    """Neither frames nor tensors are kept, however long the film is; all memories are full after 16 frames."""
    predictor.add_sentence(SENTENCES[0])
    frames: list[weakref.ref] = []

    def film():
        for index in range(61):
            frame = draw(index)
            frames.append(weakref.ref(frame))
            yield frame

    kept = {}
    with LiveBytes() as living:
        for result in predictor.propagate(film()):
            if result.frame in (20, 40, 60):
                gc.collect()
                kept[result.frame] = len(living.sizes), living.now, sum(frame() is not None for frame in frames)
    assert kept[20] == kept[40] == kept[60]
    assert kept[60][2] <= 1


def test_backward_is_the_film_turned_round(model, processor, film):
    backward, forward = EvfSamVideoPredictor(model, processor), EvfSamVideoPredictor(model, processor)
    backward.add_sentence(SENTENCES[0], frame=len(film) - 1)
    forward.add_sentence(SENTENCES[0])
    found = list(backward.propagate(film, direction="backward"))
    expected = list(forward.propagate(film[::-1]))
    assert [result.frame for result in found] == list(range(len(film)))[::-1]
    assert all(map(torch.equal, masks_of(found, 1), masks_of(expected, 1)))


def test_a_walk_can_be_repeated(predictor, film):
    predictor.add_sentence(SENTENCES[0])
    first, second = list(predictor.propagate(film)), list(predictor.propagate(film))
    for found, wanted in zip(second, first, strict=True):
        assert_same(found, wanted)


@contextmanager
def presence(model):
    """The object is there where the frame is bright; yields the brightness of the frames that were asked about.

    A tracked object stays lost until its sentence is read on a bright frame.
    """
    state, asked = {"known": False}, []

    def see(module, args):
        state["brightness"] = args[0].mean().item() + 1.4  # about 0 without brightness

    def prompt(module, args, kwargs):
        if kwargs["sparse_prompt_embeddings"].shape[2] == 1:  # the sentence alone
            asked.append(state["brightness"])
            state["known"] = state["brightness"] > 0.3

    def score(module, args, output):
        there = state["known"] and state["brightness"] > 0.3
        return torch.full_like(output, state["brightness"] if there else -1.0)

    hooks = [
        model.sam.vision_encoder.register_forward_pre_hook(see),
        model.sam.mask_decoder.register_forward_pre_hook(prompt, with_kwargs=True),
        model.sam.mask_decoder.pred_obj_score_head.register_forward_hook(score),
    ]
    yield asked
    for hook in hooks:
        hook.remove()


def frames_with_masks(results: list[FrameResult]) -> list[int]:
    assert all((result.object_scores > 0).item() == result.masks.any().item() for result in results)
    return [result.frame for result in results if result.masks.any()]


@pytest.mark.parametrize(
    ("redetect", "expected", "questions"),
    [(None, [], 1), (1, [5, 6, 7, 8, 11, 12, 13], 9), (2, [6, 7, 8, 12, 13], 6), (5, [5, 6, 7, 8], 3)],
)
def test_an_object_that_enters_late_or_was_lost(model, predictor, redetect, expected, questions):
    """Dark frames, four bright ones, dark again, and bright at the end."""
    film = [draw(index, 90 if index in (5, 6, 7, 8, 11, 12, 13) else 0) for index in range(14)]
    predictor.add_sentence(SENTENCES[0])
    with presence(model) as asked:
        results = list(predictor.propagate(iter(film), redetect=redetect))
    assert frames_with_masks(results) == expected
    assert len(asked) == questions


def test_what_was_found_again_is_not_the_start_of_the_way_back(model, predictor):
    """Backward from the key frame goes on with the memory of that frame, not with that of a later one."""
    film = [draw(index, 0 if index in (4, 5) else 90) for index in range(8)]
    predictor.add_sentence(SENTENCES[0])
    with presence(model) as asked:
        lost = list(predictor.propagate(film, key_frame=3, redetect=2))
        never_lost = list(predictor.propagate(film[:4], key_frame=3))
    assert [brightness > 0.3 for brightness in asked] == [True, False, True, True]  # frames 3, 5 and 7, and 3 again
    for found, wanted in zip(lost[-3:], never_lost[-3:], strict=True):
        assert_same(found, wanted)


KEYS = {  # key frame, brightness of each frame -> order of the walk
    "best": ("best", [0, 0, 60, 0, 0, 0, 120, 0, 0], [6, 7, 8, 5, 4, 3, 2, 1, 0]),
    "best is the first": ("best", [120, 0, 60, 0, 0, 0, 0, 0, 0], [0, 1, 2, 3, 4, 5, 6, 7, 8]),
    "best of two": ("best", [60, 120], [1, 0]),
    "best of one": ("best", [60], [0]),
    "a number": (3, [60] * 5, [3, 4, 2, 1, 0]),
    "the first": ("first", [60] * 3, [0, 1, 2]),
}


@pytest.mark.parametrize(("key_frame", "brightness", "order"), KEYS.values(), ids=KEYS)
def test_key_frames(model, predictor, key_frame, brightness, order):
    film = [draw(index, value) for index, value in enumerate(brightness)]
    predictor.add_sentence(SENTENCES[0])
    with presence(model):
        results = list(predictor.propagate(film, key_frame=key_frame))
    assert [result.frame for result in results] == order
    assert results[0].object_scores > 0


def test_objects_with_key_frames_of_their_own(predictor, film):
    """Each object is told once on each frame, forward from its key frame, then backward."""
    for number, sentence in enumerate(SENTENCES):
        predictor.add_sentence(sentence, frame=3 * number + 1)
    walk = [(result.frame, result.object_ids) for result in predictor.propagate(film[:6], direction="both")]
    forward = [(1, [1]), (2, [1]), (3, [1]), (4, [1, 2]), (5, [1, 2])]
    assert walk == [*forward, (3, [2]), (2, [2]), (1, [2]), (0, [1, 2])]


@pytest.mark.parametrize("corrected", ["points", "box"])
def test_a_correction_changes_its_frame_and_what_follows(model, processor, film, corrected):
    plain, better = EvfSamVideoPredictor(model, processor), EvfSamVideoPredictor(model, processor)
    for each in (plain, better):
        each.add_sentence(SENTENCES[0])
    if corrected == "points":
        better.add_points(1, 4, [[50, 5], [8, 20]], [1, 0])
    else:
        better.add_box(1, 4, [30, 0, 56, 12])
    pairs = list(zip(plain.propagate(film), better.propagate(film), strict=True))
    assert [torch.equal(old.scores, new.scores) for old, new in pairs] == [True] * 4 + [False] * 5
    assert [torch.equal(old.masks, new.masks) for old, new in pairs[:5]] == [True] * 4 + [False]


def test_corrections_during_the_walk(model, processor, film):
    told, known = EvfSamVideoPredictor(model, processor), EvfSamVideoPredictor(model, processor)
    known.add_sentence(SENTENCES[0])
    known.add_points(1, 3, [[50, 5]])
    known.add_points(1, 3, [[8, 20]], [0])
    known.add_sentence(SENTENCES[1], frame=3)
    told.add_sentence(SENTENCES[0])
    found = []
    for result in told.propagate(iter(film)):
        found.append(result)
        if result.frame == 2:
            told.add_points(1, 3, [[50, 5], [8, 20]], [1, 0])
            told.add_sentence(SENTENCES[1])  # begins on the next frame
    for result, wanted in zip(found, known.propagate(film), strict=True):
        assert_same(result, wanted)


def test_semantic_is_passed_on(predictor, film):
    predictor.add_sentence(SENTENCES[0], semantic=True)
    with pytest.raises(ValueError, match="not trained for semantic prompts"):
        next(predictor.propagate(film))


BAD = {  # what is called on a predictor with one object, and the error
    "no words": (lambda p, film: p.add_sentence(" "), "' ' is no sentence: give some words"),
    "no sentence": (lambda p, film: p.add_sentence(None), "None is no sentence: give some words"),
    "negative frame": (lambda p, film: p.add_sentence("cat", frame=-1), "-1 is no number of a frame: count from 0"),
    "a word for a frame": (lambda p, film: p.add_sentence("cat", frame="two"), "'two' is no number of a frame"),
    "no object": (lambda p, film: p.add_box(4, 0, [0, 0, 5, 5]), "there is no object 4; known: 1"),
    "labels": (lambda p, film: p.add_points(1, 0, [[1, 2]], [1, 1]), "1 points and 2 labels: give as many of each"),
    "no points": (lambda p, film: p.add_points(1, 0, []), "0 points and 0 labels"),
    "key frame": (lambda p, film: next(p.propagate(film, key_frame="last")), "'last' is no number of a frame"),
    "key frame beyond": (
        lambda p, film: next(p.propagate(film, key_frame=9)),
        "object 1, 'the red square', has a prompt on frame 9, but the film ends before it",
    ),
    "direction": (
        lambda p, film: p.propagate(film, direction="up"),
        "direction is 'up', expected one of forward, back",
    ),
    "redetect": (lambda p, film: p.propagate(film, redetect=0), "redetect is 0: give a number of frames, 1 or more"),
    "iterator backward": (lambda p, film: p.propagate(iter(film), direction="both"), "an iterator goes forward only"),
    "iterator best": (
        lambda p, film: p.propagate(iter(film), key_frame="best", direction="forward"),
        "an iterator goes forward only: give a list of frames",
    ),
    "no photo": (lambda p, film: list(p.propagate([film[0], 7])), "frame 1: a photo is a path, a PIL image"),
    "point outside": (
        lambda p, film: (p.add_points(1, 0, [[900, 2]]), next(p.propagate(film))),
        "points: .* is outside the photo, which is 56 x 40",
    ),
    "no frames": (lambda p, film: p.propagate([], key_frame="best"), "the film has no frames"),
    "short iterator": (
        lambda p, film: (p.add_sentence("cat", frame=3), list(p.propagate(iter(film[:2])))),
        "object 2, 'cat', has a prompt on frame 3, which was not come by",
    ),
    "correction beyond": (
        lambda p, film: (p.add_box(1, 9, [0, 0, 5, 5]), next(p.propagate(film))),
        "has a prompt on frame 9, but the film ends before it",
    ),
    "correction too early": (
        lambda p, film: (p.add_sentence("cat", 3), p.add_box(2, 1, [0, 0, 5, 5]), list(p.propagate(film[:5]))),
        "object 2, 'cat', has a prompt on frame 1, which was not come by",
    ),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD)
def test_bad_input(predictor, film, call, message):
    predictor.add_sentence(SENTENCES[0])
    with pytest.raises(ValueError, match=message) as error:
        call(predictor, film)
    assert "\n" not in str(error.value)


def test_nothing_to_follow(predictor, film):
    with pytest.raises(ValueError, match="there is nothing to follow: call add_sentence first"):
        predictor.propagate(film)
    with pytest.raises(ValueError, match="there is no object 1; known: none yet: call add_sentence"):
        predictor.add_points(1, 0, [[1, 2]])


@torch.no_grad()
def test_without_a_memory_each_frame_is_a_photo(tiny_checkpoint, film):
    model = EvfSamModel.from_pretrained(tiny_checkpoint, dtype=torch.float32).eval()
    processor = EvfSamProcessor.from_pretrained(tiny_checkpoint)
    predictor = EvfSamVideoPredictor(model, processor)
    assert not predictor.has_memory
    for number, sentence in enumerate(SENTENCES):
        predictor.add_sentence(sentence, semantic=bool(number))
    predictor.add_points(2, 1, [[30, 20]])
    results = list(predictor.propagate(film[:3], key_frame="best", redetect=2))
    assert [result.frame for result in results] == [0, 1, 2]
    for result in results:
        points = [[], [[30, 20]] if result.frame == 1 else []]
        inputs = processor(images=film[result.frame], text=SENTENCES, semantic=[False, True], input_points=points)
        (expected,) = processor.post_process_referring_segmentation(model(**inputs), inputs)
        assert torch.equal(result.masks, expected["masks"])
        torch.testing.assert_close(result.scores, expected["scores"], atol=1e-5, rtol=0)
        assert result.object_scores is None


def test_has_memory(predictor):
    assert predictor.has_memory
