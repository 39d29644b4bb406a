from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from modeling_evf_sam import DEFAULT_CHECKPOINT, EvfSamModel, EvfSamPredictor, EvfSamProcessor
from modeling_evf_sam.inference.instances import Instance, instance_map, split_mask
from modeling_evf_sam.inference.segmenting import segment

SIZE = (40, 60)


def rectangle(x0, y0, x1, y1):
    mask = np.zeros(SIZE, dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


LEFT, RIGHT, CRUMB, DOT = (2, 2, 12, 32), (30, 5, 50, 25), (20, 35, 23, 37), (55, 35, 57, 38)


def drawing(**changes):
    """What a SAM draws into boxes: the box, or what `changes` say of the box that starts at this x."""
    seen = []

    def decode(boxes):
        seen.extend(map(tuple, boxes))
        drawn = [changes.get(f"x{box[0]}", (rectangle(*box), 0.9)) for box in boxes]
        return np.stack([mask for mask, _ in drawn]), [score for _, score in drawn]

    decode.seen = seen
    return decode


def test_parts_become_boxes_and_crumbs_nothing():
    decode = drawing()
    found = split_mask(rectangle(*LEFT) | rectangle(*RIGHT) | rectangle(*CRUMB) | rectangle(*DOT), 0.5, decode)
    assert sorted(decode.seen) == [LEFT, RIGHT]
    assert [instance.box for instance in found] == [RIGHT, LEFT]  # the largest first
    assert [instance.score for instance in found] == [0.9, 0.9]
    assert np.array_equal(found[0].mask, rectangle(*RIGHT))


def test_a_mask_that_differs_from_its_part_does_not_replace_it():
    nearly = rectangle(2, 2, 12, 33)
    decode = drawing(x2=(nearly, 0.8), x30=(rectangle(30, 5, 60, 40), 0.8))
    right, left = split_mask(rectangle(*LEFT) | rectangle(*RIGHT), 0.5, decode)
    assert np.array_equal(left.mask, nearly)
    assert (left.score, left.box) == (0.8, (2, 2, 12, 33))
    assert np.array_equal(right.mask, rectangle(*RIGHT))
    assert right.score == 0.5


def test_masks_that_overlap_are_one_object(monkeypatch):
    monkeypatch.setattr("modeling_evf_sam.inference.instances.AGREEMENT", 0.1)
    whole = rectangle(2, 2, 40, 32)
    decode = drawing(x2=(whole, 0.7), x30=(rectangle(2, 2, 40, 30), 0.8))
    (found,) = split_mask(rectangle(2, 2, 28, 32) | rectangle(30, 2, 40, 32), 0.5, decode)
    assert (found.score, found.box) == (0.8, (2, 2, 40, 30))


def test_what_touches_stays_one_and_nothing_stays_nothing():
    (found,) = split_mask(rectangle(2, 2, 12, 32) | rectangle(12, 10, 30, 20), 0.5, drawing())
    assert found.box == (2, 2, 30, 32)
    assert split_mask(np.zeros(SIZE, dtype=bool), 0.5, drawing()) == []


def test_records_and_maps():
    instances = [Instance(mask=rectangle(*box), box=box, score=0.25) for box in (LEFT, (10, 2, 14, 32))]
    record = instances[0].record()
    assert np.array_equal(coco_mask.decode(record.pop("rle")), rectangle(*LEFT))
    assert record == {"score": 0.25, "box": list(LEFT), "area": 300}
    numbers = instance_map(instances, SIZE)
    assert np.array_equal(numbers == 2, rectangle(10, 2, 14, 32))
    assert np.array_equal(numbers > 0, rectangle(2, 2, 14, 32))


@pytest.fixture(scope="module")
def model() -> EvfSamModel:
    return EvfSamModel.from_pretrained(DEFAULT_CHECKPOINT).eval()


@pytest.fixture(scope="module")
def processor() -> EvfSamProcessor:
    return EvfSamProcessor.from_pretrained(DEFAULT_CHECKPOINT)


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """Three red discs on white."""
    photo = np.full((120, 160, 3), 255, dtype=np.uint8)
    rows, columns = np.ogrid[:120, :160]
    for y, x in ((30, 30), (80, 60), (40, 120)):
        photo[(rows - y) ** 2 + (columns - x) ** 2 < 20**2] = (220, 20, 20)
    return Image.fromarray(photo)


def test_everything_is_one_encoding(model, processor, photo):
    encode = EvfSamModel.get_image_embeddings
    with mock.patch.object(EvfSamModel, "get_image_embeddings", autospec=True, side_effect=encode) as spy:
        more = {"instances": True, "label_map": True, "exclude": "star", "any_of": [[["triangle"], None], [None]]}
        found = segment(model, processor, [photo, photo.rotate(180)], [["circle", "square"], ["circle"]],
                        semantic=True, **more)  # fmt: skip
    assert [len(call.args[1]) for call in spy.call_args_list] == [2]
    for result in found:
        middles = [((x0 + x1) / 2, (y0 + y1) / 2) for x0, y0, x1, y1 in (one.box for one in result.instances[0])]
        assert len(middles) == 3
    assert min(middles) == pytest.approx((40, 80), abs=4)  # in the second photo, turned


def test_instances_of_a_predictor(model, processor, photo):
    predictor = EvfSamPredictor(model, processor)
    predictor.set_image(photo)
    with mock.patch.object(EvfSamModel, "get_image_embeddings", side_effect=AssertionError):
        found = predictor.predict("circle", semantic=True, instances=True)
    assert len(found["instances"][0]) == 3
    (expected,) = segment(model, processor, [photo], [["circle"]], semantic=True, instances=True)
    for own, other in zip(found["instances"][0], expected.instances[0], strict=True):
        assert np.array_equal(own.mask, other.mask)
    assert "instances" not in predictor.predict("circle")


def test_instances_of_what_is_not_there(model, processor, photo):
    (found,) = segment(model, processor, [photo], [["circle"]], mask_threshold=1000.0, instances=True)
    assert found.instances == [[]]
    assert found.plot(photo).size[0] == 512


def test_instances_in_bfloat16(processor, photo):
    model = EvfSamModel.from_pretrained(DEFAULT_CHECKPOINT, dtype=torch.bfloat16).eval()
    (found,) = segment(model, processor, [photo], [["circle"]], semantic=True, instances=True)
    assert len(found.instances[0]) == 3
