from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from modeling_evf_sam.inference.attention_maps import attention_maps
from modeling_evf_sam.inference.predictor import EvfSamPredictor
from tests.fuzzing.outcomes import fuzzed

SENTENCES = ("the cup", "a dog", "the leftmost thing")
PHOTOS = [np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8) for seed in range(2)]
KINDS = ("sentence", "sentences", "points", "instances", "attention", "no words")
CALLS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 1), st.integers(0, 2)), min_size=2, max_size=6)


@pytest.fixture(scope="module")
def predictor(tiny_checkpoint):
    return EvfSamPredictor.from_pretrained(str(tiny_checkpoint), "cpu", "float32", cache_bytes=1 << 20)


def _call(predictor, call):
    """What a call answers, as arrays, or its error."""
    kind, photo, sentence = call
    text = SENTENCES[sentence]
    if kind == "attention":
        inputs = predictor.processor(PHOTOS[photo], text)
        return [attention_maps(predictor.model, inputs)]
    encoded = predictor.encode(PHOTOS[photo])
    if kind == "sentences":
        found = predictor.predict(list(SENTENCES), photo=encoded, exclude=[text, None, None])
    elif kind == "points":
        found = predictor.predict(text, photo=encoded, points=[[5, 6 + sentence]])
    elif kind == "no words":
        with pytest.raises(ValueError, match="no words") as caught:
            predictor.predict(" ", photo=encoded)
        return [torch.tensor(len(str(caught.value)))]
    else:
        found = predictor.predict(text, photo=encoded, instances=kind == "instances")
    return [value for value in found.values() if isinstance(value, torch.Tensor)]


@fuzzed("threads", share=0.1, calls=CALLS)
def test_calls_of_several_threads_answer_as_those_of_one(calls, predictor):
    expected = [_call(predictor, call) for call in calls]
    predictor.release()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda call: _call(predictor, call), calls))
    for one, other in zip(found, expected, strict=True):
        if not all(map(torch.equal, one, other)):
            raise AssertionError("another answer")
