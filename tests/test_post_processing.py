from types import SimpleNamespace

import numpy as np
import pytest
import torch

from modeling_evf_sam.image_processing_evf_sam import EvfSamImageProcessor
from modeling_evf_sam.processing_evf_sam import EvfSamProcessor

WIDE = np.zeros((20, 40, 3), dtype=np.uint8)  # SAM's view shows it at 32 x 64 pixels: 1.6 for each of the photo's
TALL = np.zeros((64, 16, 3), dtype=np.uint8)  # at 64 x 16 pixels


@pytest.fixture(scope="module")
def processor(tiny_tokenizer):
    return EvfSamProcessor(EvfSamImageProcessor(size=64, multimodal_image_size=16), tiny_tokenizer)


def outputs_of(masks: torch.Tensor, scores: list) -> SimpleNamespace:
    return SimpleNamespace(pred_masks=masks, iou_scores=torch.tensor(scores).to(masks.dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_post_processing(processor, dtype):
    inputs = processor([WIDE, TALL], [["red cup", "dog"], ["sky"]])
    masks = torch.full((2, 2, 2, 16, 16), -1.0)
    masks[0, 0, 1, :, 8:] = 1  # the right half of SAM's view, where the wide photo is the upper half
    masks[1, 0, 0, :8] = 1  # the upper half of SAM's view, where the tall photo is the left quarter
    scores = [[[0.25, 0.5], [0.75, 0.5]], [[2.0, 1.0], [9.0, 9.0]]]

    wide, tall = processor.post_process_referring_segmentation(outputs_of(masks.to(dtype), scores), inputs)

    assert (wide["masks"].shape, tall["masks"].shape) == ((2, 20, 40), (1, 64, 16))
    assert wide["masks"].dtype == torch.bool
    assert wide["masks"][0].equal(torch.arange(40).ge(20).expand(20, 40))
    assert not wide["masks"][1].any()
    assert tall["masks"][0].equal(torch.arange(64).lt(32)[:, None].expand(64, 16))
    assert wide["scores"].tolist() == [0.5, 0.75]
    assert tall["scores"].tolist() == [2.0]
    assert wide["boxes"].tolist() == [[20, 0, 40, 20], [0, 0, 0, 0]]
    assert tall["boxes"].tolist() == [[0, 0, 16, 32]]


def test_what_is_asked_for_is_there_more_often_than_not(processor):
    outputs = outputs_of(torch.ones(1, 2, 2, 4, 4), [[[1.0, 2.0], [2.0, 1.0]]])
    outputs.presence_logits = torch.tensor([[0.41, 0.39]]).logit()
    (result,) = processor.post_process_referring_segmentation(outputs, processor(WIDE, ["red cup", "dog"]))
    assert result["present"].tolist() == [True, False]


@pytest.mark.parametrize(("threshold", "there"), [(0.5, [True, False]), (0.05, [True, True]), (0.95, [False, False])])
def test_the_mask_of_what_is_not_there_is_empty(processor, threshold, there):
    outputs = outputs_of(torch.ones(1, 2, 2, 4, 4), [[[1.0, 2.0], [2.0, 1.0]]])
    outputs.quality = torch.tensor([[[0.5, 0.75], [0.25, 0.125]]])
    outputs.presence_logits = torch.tensor([[2.0, -2.0]])
    inputs = processor(WIDE, ["red cup", "dog"])
    (result,) = processor.post_process_referring_segmentation(outputs, inputs, present_threshold=threshold)
    assert result["present"].tolist() == there
    assert [bool(mask.all()) for mask in result["masks"]] == there
    assert result["boxes"].tolist() == [[0, 0, 40, 20] if one else [0, 0, 0, 0] for one in there]
    torch.testing.assert_close(result["presence"], torch.tensor([0.8808, 0.1192]), atol=1e-4, rtol=0)
    assert result["quality"].tolist() == [0.75, 0.25]  # of the masks with the highest scores
    assert result["scores"].tolist() == [2.0, 2.0]


def test_post_processing_of_a_photo_without_sentences(processor):
    inputs = processor([WIDE, TALL], [[], ["sky"]])

    results = processor.post_process_referring_segmentation(
        outputs_of(torch.ones(2, 1, 1, 4, 4), [[[1.0]]] * 2), inputs
    )

    assert [tuple(result["masks"].shape) for result in results] == [(0, 20, 40), (1, 64, 16)]
    assert [tuple(result["boxes"].shape) for result in results] == [(0, 4), (1, 4)]


@pytest.mark.parametrize(("threshold", "area"), [(0.0, 800), (0.5, 0), (-2.0, 800)])
def test_post_processing_threshold(processor, threshold, area):
    outputs = outputs_of(torch.full((1, 1, 1, 4, 4), 0.5), [[[1.0]]])

    results = processor.post_process_referring_segmentation(outputs, processor(WIDE, "dog"), mask_threshold=threshold)

    assert int(results[0]["masks"].sum()) == area


def test_post_processing_refuses_broken_logits(processor):
    outputs = outputs_of(torch.full((1, 1, 1, 4, 4), float("nan")), [[[1.0]]])

    with pytest.raises(ValueError, match="photo 0: mask logits are not numbers"):
        processor.post_process_referring_segmentation(outputs, processor(WIDE, "dog"))


@pytest.mark.parametrize("as_given", [list, torch.tensor, np.array])
@pytest.mark.parametrize("with_inputs", [True, False])
def test_post_processing_to_other_sizes(processor, as_given, with_inputs):
    outputs = outputs_of(torch.ones(2, 1, 1, 16, 16), [[[1.0]], [[2.0]]])
    inputs = processor([WIDE, TALL], ["dog", "cup"]) if with_inputs else None

    results = processor.post_process_referring_segmentation(
        outputs, inputs, target_sizes=as_given([[10, 20], [128, 32]])
    )

    assert [tuple(result["masks"].shape) for result in results] == [(1, 10, 20), (1, 128, 32)]
    assert [result["boxes"].tolist() for result in results] == [[[0, 0, 20, 10]], [[0, 0, 32, 128]]]


def test_other_sizes_show_the_same_part_of_the_view(processor):
    masks = torch.full((1, 1, 1, 64, 64), -1.0)
    masks[..., :16, :32] = 1  # a quarter of the photo, which is the upper half of the view

    (result,) = processor.post_process_referring_segmentation(outputs_of(masks, [[[1.0]]]), target_sizes=[(40, 80)])

    assert result["boxes"].tolist() == [[0, 0, 40, 20]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "the sizes of the masks are unknown: give inputs, or target_sizes"),
        ({"target_sizes": [(1, 4), (1, 4)]}, r"one \(height, width\) for each photo, 1 in all, not 2"),
    ],
)
def test_post_processing_needs_a_size_for_each_photo(processor, options, message):
    with pytest.raises(ValueError, match=message):
        processor.post_process_referring_segmentation(outputs_of(torch.ones(1, 1, 1, 4, 4), [[[1.0]]]), **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_map_of_the_highest_logits(processor, dtype):
    inputs = processor([WIDE, TALL], [["cup", "dog", "sky"], ["sky"]])
    masks = torch.full((2, 3, 2, 16, 16), -1.0)
    masks[0, 0, 1, :, :8] = 1  # the left half
    masks[0, 1, 1, :, 4:] = torch.where(torch.arange(4, 16) < 8, 0.5, 2.0)  # lower there, alone in the right half
    masks[0, 2] = 0.0  # nowhere above the threshold
    masks[1, 0, 1, 8:] = 1
    outputs = outputs_of(masks.to(dtype), [[[0.25, 0.5]] * 3, [[0.25, 0.5]] * 3])

    wide, tall = processor.post_process_semantic_segmentation(outputs, inputs)

    assert (wide.dtype, wide.shape, tall.shape) == (torch.long, (20, 40), (64, 16))
    assert (wide[:, :17] == 1).all() and (wide[:, 21:] == 2).all()
    assert tall.equal(torch.arange(64).ge(32).long()[:, None].expand(64, 16))
    (low,) = processor.post_process_semantic_segmentation(outputs, inputs, 1.5)[:1]
    assert low.unique().tolist() == [0, 2]


def test_what_is_not_there_is_not_in_the_map(processor):
    outputs = outputs_of(torch.tensor([1.0, 2.0]).view(1, 2, 1, 1, 1).expand(1, 2, 1, 4, 4), [[[1.0], [1.0]]])
    outputs.presence_logits = torch.tensor([[1.0, -1.0]])
    for threshold, number in ((0.5, 1), (0.0, 2), (0.9, 0)):
        (found,) = processor.post_process_semantic_segmentation(
            outputs, processor(WIDE, ["cup", "dog"]), present_threshold=threshold
        )
        assert (found == number).all()


def test_the_map_of_a_photo_without_sentences_is_empty(processor):
    outputs = outputs_of(torch.ones(2, 1, 1, 4, 4), [[[1.0]]] * 2)
    none, one = processor.post_process_semantic_segmentation(outputs, processor([WIDE, TALL], [[], ["sky"]]))
    assert not none.any() and one.all()
