import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from PIL import Image

from modeling_evf_sam import EvfSamProcessor
from modeling_evf_sam.inference.predictor import EvfSamPredictor
from tests.fuzzing.outcomes import fuzzed

pytestmark = pytest.mark.filterwarnings("ignore")  # of torch, about lists of arrays

NUMBERS = st.integers(1, 39) | st.integers(-5, 60) | st.floats() | st.sampled_from([10**20, 10**400, -(10**400)])
STRANGE = st.sampled_from([
    None, True, "5", "", b"5", 5j, {}, {1}, [], (), object, np.float32(5), np.array(5.0), np.array("5"),
    np.ones(2), np.ones((2, 2)), np.ones((1, 2), dtype=bool), np.array([[1, None]], dtype=object), np.full(2, np.nan),
    torch.ones(2), torch.ones(1, 2), torch.tensor(5.0), torch.ones(2, requires_grad=True),
    torch.ones(1, 2, device="meta"), torch.ones(1, 2, dtype=torch.complex64), torch.empty(0, 2),
])  # fmt: skip
NESTED = st.recursive(NUMBERS | STRANGE, lambda inner: st.lists(inner, max_size=4), max_leaves=8)
POINT = st.lists(NUMBERS, min_size=2, max_size=2)
POINTS = st.lists(POINT, max_size=3)
BOX = st.tuples(*4 * [NUMBERS]) | st.just([1, 2, 30, 39])
SENTENCE = st.text(max_size=12) | st.sampled_from(
    ["the cup", "[semantic] cup", "</s>", "\0", "\ud800", "\u202e cup", "cup " * 500, "ﷺ" * 40, "🏳️‍🌈", " "]
)
TEXT = st.one_of(
    SENTENCE, st.lists(SENTENCE, max_size=3), st.lists(st.lists(SENTENCE, max_size=2), max_size=2), NESTED
)
LABEL = st.integers(-1, 2)
PHOTO = np.zeros((40, 60, 3), np.uint8)


@pytest.fixture(scope="module")
def processor(tiny_checkpoint):
    return EvfSamProcessor.from_pretrained(tiny_checkpoint)


@pytest.fixture(scope="module")
def predictor(tiny_checkpoint):
    predictor = EvfSamPredictor.from_pretrained(tiny_checkpoint, "cpu", "float32")
    predictor.set_image(PHOTO)
    return predictor


@fuzzed("arguments", images=st.just(PHOTO) | STRANGE, text=TEXT, semantic=st.booleans() | NESTED)
def test_photos_and_sentences(images, text, semantic, processor):
    processor(images, text, semantic=semantic)


@fuzzed(
    "arguments",
    text=st.just("cup") | st.just(["cup", "dish"]) | st.just([["cup"], ["dish", "spoon"]]),
    points=st.none() | POINTS | st.lists(POINTS, max_size=2) | NESTED,
    labels=st.none() | st.lists(LABEL, max_size=3) | NESTED,
    boxes=st.none() | BOX | st.lists(BOX | st.none(), max_size=2) | NESTED,
)
def test_points_and_boxes(text, points, labels, boxes, processor):
    images = [PHOTO, PHOTO] if isinstance(text[0], list) else PHOTO
    processor(images, text, input_points=points, input_labels=labels, input_boxes=boxes)


@fuzzed("arguments", masks=st.none() | NESTED, labels=st.just(PHOTO[None, :, :, 0]) | NESTED)
def test_masks(masks, labels, processor):
    processor(PHOTO, "cup", input_masks=masks, labels=labels)


@fuzzed(
    "arguments",
    share=0.4,
    sentences=TEXT,
    options=st.fixed_dictionaries(
        {},
        optional={
            "points": NESTED | st.lists(POINTS, max_size=2),
            "point_labels": NESTED,
            "boxes": NESTED | st.lists(BOX | st.none(), max_size=2),
            "semantic": st.booleans() | NESTED,
            "exclude": SENTENCE | NESTED,
            "any_of": SENTENCE | NESTED,
            "label_map": st.booleans(),
            "instances": st.booleans(),
            "mask_threshold": NUMBERS | STRANGE,
        },
    ),
)
def test_predictions(sentences, options, predictor):
    predictor.predict(sentences, **options)


@fuzzed(
    "arguments",
    share=0.4,
    point=POINT | NESTED,
    label=st.integers(-1, 2) | NESTED,
    sentence=st.integers(0, 2) | NESTED,
)
def test_clicks(point, label, sentence, predictor):
    predictor.predict(["cup", "dish"])
    predictor.add_point(point, label=label, sentence=sentence)


@fuzzed(
    "arguments",
    size=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    mode=st.sampled_from(["RGB", "L", "1", "F", "I", "I;16", "CMYK", "LAB", "HSV", "YCbCr", "RGBX", "PA", "La"]),
    dtype=st.sampled_from(["uint8", "int64", "float32", "bool", "object", "complex64", "S1", "datetime64[s]"]),
    shape=st.lists(st.integers(0, 4), max_size=4),
)
def test_photos_of_any_kind(size, mode, dtype, shape, processor):
    for photo in (Image.new(mode, size), np.zeros(shape, dtype)):
        try:
            processor(photo)
        except ValueError as error:
            refused = error
        else:
            refused = None
    if refused:
        raise refused
