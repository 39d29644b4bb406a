"""What the processor without torch prepares, and makes of answers, is what the other one does."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from modeling_evf_sam.export.exporting import describe
from modeling_evf_sam.exported.arrays import Arrays
from modeling_evf_sam.exported.processor import ExportedProcessor
from modeling_evf_sam.exported.views import Views
from modeling_evf_sam.image_processing_evf_sam import EvfSamImageProcessor
from modeling_evf_sam.modeling_evf_sam import EvfSamOutput
from modeling_evf_sam.processing_evf_sam import EvfSamProcessor
from tests.golden import golden_config

WIDE = Image.effect_noise((40, 20), 90).convert("RGB")
TALL = np.random.default_rng(0).integers(0, 255, (90, 16, 3), np.uint8)
SETTINGS = {
    "pad": {"image_layout": "pad"},
    "stretch": {"image_layout": "stretch", "multimodal_antialias": True},
    "pad_stretch": {"image_layout": "pad_stretch", "multimodal_image_std": [0.1, 0.2, 0.3]},
    "as they are": {"do_rescale": False, "do_normalize": False, "resample": Image.Resampling.NEAREST},
    "one view": {"multimodal_image_size": 0},
}


@pytest.fixture(params=SETTINGS)
def pair(request, tiny_tokenizer) -> tuple[EvfSamProcessor, ExportedProcessor]:
    """A processor, and the one of what is exported with it."""
    views = EvfSamImageProcessor(**{"size": 64, "multimodal_image_size": 24, **SETTINGS[request.param]})
    processor = EvfSamProcessor(views, tiny_tokenizer, semantic_prompts=True)
    described = describe(SimpleNamespace(config=golden_config()), processor)
    return processor, ExportedProcessor(Views(**described["views"]), processor.tokens)


def test_inputs_are_the_same(pair):
    asked = {
        "text": [["the red </s> cup", "ÄÖ 12"], ["sky"]],
        "semantic": [[True, False], [None]],
        "input_points": [[None, [[5, 5], [10, 0]]], [[[16, 90]]]],
        "input_labels": [[None, [0, 1]], [None]],
        "input_boxes": [[[0, 1, 40, 20], None], [None]],
    }
    wanted, given = (processor([WIDE, TALL], **asked) for processor in pair)
    assert given.keys() == wanted.keys()
    for name, values in wanted.items():
        assert given[name].dtype == values.numpy().dtype
        np.testing.assert_allclose(given[name], values, rtol=0, atol=3e-6 * float(values.abs().max()))
    if pair[0].image_processor.image_layout != "pad_stretch":
        assert np.array_equal(given["pixel_values"], wanted["pixel_values"])


def test_answers_become_the_same_masks(pair):
    generator = torch.Generator().manual_seed(0)
    outputs = {
        "pred_masks": torch.randn(2, 2, 3, 16, 16, generator=generator),
        "iou_scores": torch.rand(2, 2, 3, generator=generator),
        "quality": torch.rand(2, 2, 3, generator=generator),
        "presence_logits": torch.tensor([[-1.0, 1.0], [2.0, 0.0]]),
    }
    wanted, given = (processor([WIDE, TALL], [["cup", "dog"], ["sky"]]) for processor in pair)
    arrays = Arrays({name: values.numpy() for name, values in outputs.items()})
    expected = pair[0].post_process_referring_segmentation(EvfSamOutput(**outputs), wanted)
    found = pair[1].post_process_referring_segmentation(arrays, given)
    for result, answer in zip(found, expected, strict=True):
        assert result.keys() == answer.keys()
        for name, values in answer.items():
            np.testing.assert_allclose(result[name], values, rtol=1e-6)
    maps = pair[1].post_process_semantic_segmentation(arrays, given)
    expected_maps = pair[0].post_process_semantic_segmentation(EvfSamOutput(**outputs), wanted)
    assert all(np.array_equal(one, other) for one, other in zip(maps, expected_maps, strict=True))


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (None, {}, "nothing to process"),
        (WIDE, {"input_points": [[1, 2]]}, "input_points need text as well"),
        (None, {"text": "dog", "input_points": [[1, 2]]}, "input_points need images as well"),
        ([WIDE], {"text": ["dog", "cup"]}, "text has entries for 2 photos, but there are 1"),
        (WIDE, {"text": "dog", "input_boxes": [0, 0, 41, 10]}, "box corners: .* outside the photo"),
        (WIDE, {"text": " "}, "photo 0, sentence 0 has no words"),
    ],
)
def test_bad_input_is_refused_alike(pair, images, options, message):
    for processor in pair:
        with pytest.raises(ValueError, match=message):
            processor(images, **options)
