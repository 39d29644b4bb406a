import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Sam2Config, Sam2Model, SamConfig, SamModel

from modeling_evf_sam import EvfSamModel
from modeling_evf_sam.data.box_segmenter import BoxSegmenter, load_sam
from tests.golden import GOLDEN_SAM, GOLDEN_SAM2, SYSTEMS, golden_config, ruled_tensor

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8))
BOXES = [[0, 0, 45, 60], [50, 10, 80, 30], [5, 5, 25, 55]]
CLASSES = {"sam": (SamModel, SamConfig, GOLDEN_SAM), "sam2": (Sam2Model, Sam2Config, GOLDEN_SAM2)}


@pytest.fixture(params=CLASSES)
def saved(request, tmp_path):
    kind, config, settings = CLASSES[request.param]
    model = kind(config(**{key: value for key, value in settings.items() if key != "model_type"}))
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    model.load_state_dict({key: ruled_tensor(key, shape, seed=1) for key, shape in shapes.items()})  # large masks
    model.save_pretrained(tmp_path / "sam")
    return tmp_path / "sam"


def test_masks_are_those_of_the_library(saved):
    """Against one forward of the whole model, with the view and the boxes made by hand."""
    segmenter = load_sam(str(saved), torch.device("cpu"))
    model, side = segmenter.model, segmenter.views.image_size
    if isinstance(model, SamModel):  # the longer side fills the view, the rest is zero
        size = (side, round(side * 60 / 90))
    else:
        size = (side, side)
    resized = torch.from_numpy(np.array(PHOTO.resize(size, Image.Resampling.BILINEAR))).permute(2, 0, 1).float()
    mean, std = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    resized = (resized - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    view = torch.zeros(1, 3, side, side)
    view[..., : size[1], : size[0]] = resized
    boxes = (torch.tensor(BOXES) * torch.tensor([size[0] / 90, size[1] / 60] * 2))[None].float()
    with torch.no_grad():
        expected = model(pixel_values=view, input_boxes=boxes, multimask_output=False)
    logits = expected.pred_masks[0]
    if isinstance(model, SamModel):
        logits = torch.nn.functional.interpolate(logits, (side, side), mode="bilinear")[..., : size[1], : size[0]]
    logits = torch.nn.functional.interpolate(logits, (60, 90), mode="bilinear")[:, 0]
    masks, scores = segmenter(PHOTO, BOXES)
    assert 0.05 < masks.mean() < 0.95
    assert (masks.shape, masks.dtype) == ((3, 60, 90), bool)
    assert (masks == (logits > 0).numpy()).mean() > 0.999
    assert scores == pytest.approx(expected.iou_scores.flatten().tolist(), abs=1e-4)


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_sam_of_every_evf_sam(system):
    torch.manual_seed(0)
    model = EvfSamModel(golden_config(**SYSTEMS[system]))
    options = {"image_size": model.config.view_size, "image_layout": model.config.image_layout}
    calls = []
    model.sam.vision_encoder.register_forward_hook(lambda *_: calls.append(1))
    together, scores = BoxSegmenter(model, **options)(PHOTO, BOXES)
    assert len(calls) == 1
    apart, _ = BoxSegmenter(model, **options, batch_size=2)(PHOTO, BOXES)
    assert len(calls) == 2
    assert (together == apart).mean() > 0.999
    assert (together.shape, len(scores)) == ((3, 60, 90), 3)


def _agreement(first, second):
    """IoU over all masks."""
    return (first & second).sum() / (first | second).sum()


def test_bfloat16_masks_of_a_sam_are_close_to_float32(saved):
    exact, exact_scores = load_sam(str(saved), torch.device("cpu"))(PHOTO, BOXES)
    segmenter = load_sam(str(saved), torch.device("cpu"), torch.bfloat16)
    assert segmenter.dtype == torch.bfloat16
    masks, scores = segmenter(PHOTO, BOXES)
    assert _agreement(masks, exact) > 0.97
    assert scores == pytest.approx(exact_scores, abs=0.05)


@pytest.mark.parametrize("system", SYSTEMS)
def test_bfloat16_masks_of_an_evf_sam_are_close_to_float32(system, tmp_path):
    torch.manual_seed(0)
    EvfSamModel(golden_config(**SYSTEMS[system])).save_pretrained(tmp_path)
    masks = []
    for dtype in (torch.float32, torch.bfloat16):
        model = EvfSamModel.from_pretrained(tmp_path, dtype=dtype)
        options = {"image_size": model.config.view_size, "image_layout": model.config.image_layout}
        masks.append(BoxSegmenter(model, **options)(PHOTO, BOXES)[0])
    assert _agreement(*masks) > 0.9


def test_boxes_are_not_rounded(saved):
    """Two boxes a pixel apart at the far end of the view, which bfloat16 could not tell apart."""
    segmenter = load_sam(str(saved), torch.device("cpu"), torch.bfloat16)
    seen = []
    segmenter.sam.prompt_encoder.shared_embedding.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    segmenter.sam.mask_decoder.register_forward_pre_hook(
        lambda _, given, named: seen.append(named["sparse_prompt_embeddings"]), with_kwargs=True
    )
    side = segmenter.views.image_size
    segmenter(Image.new("RGB", (side, side)), [[0, 0, side - 1.25, side], [0, 0, side - 1.5, side]])
    corners, tokens = seen[-2:]
    assert corners[0, :, 1, 0].tolist() == [side - 0.75, side - 1.0]
    assert tokens.dtype == torch.bfloat16
    assert not torch.equal(tokens[0, 0], tokens[0, 1])


def test_another_model_is_none_of_them(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "evf_sam"}))
    assert load_sam(str(tmp_path), torch.device("cpu")) is None


def test_a_sam_with_holes_is_refused(saved):
    from safetensors.torch import load_file, save_file

    tensors = load_file(saved / "model.safetensors")
    tensors.pop("mask_decoder.iou_token.weight")
    save_file(tensors, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"is no whole SAM: 1 tensors are missing \(mask_decoder.iou_token.weight\)"):
        load_sam(str(saved), torch.device("cpu"))
