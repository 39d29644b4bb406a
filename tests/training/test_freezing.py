import pytest
import torch

from modeling_evf_sam import EvfSamModel
from modeling_evf_sam.training.freezing import PARTS, freeze_all_but
from tests.golden import SYSTEMS, golden_config
from tests.tiny_encoders import BEIT3, CLIP, VILT

HEAD = {"presence": {"hidden_size": 8, "temperature": 1.0}}
UNREACHED = ("iou_prediction_head", "pred_obj_score_head", "mask_token", "logit_scale")  # by sentences and masks


def trained(model: EvfSamModel) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def expected(model: EvfSamModel, part: str) -> set[str]:
    names = {name for name, _ in model.named_parameters() if name.startswith(f"{PARTS[part]}.")}
    return {name for name in names if not set(UNREACHED) & set(name.split("."))}


@pytest.mark.parametrize("system", SYSTEMS)
def test_each_part_alone_and_together(system):
    model = EvfSamModel(golden_config(**SYSTEMS[system], **HEAD))
    parts = [part for part in PARTS if system != "evf_efficient_sam" or part != "no_mask_embedding"]
    for part in parts:
        freeze_all_but(model, [part])
        assert trained(model) == expected(model, part) != set()
    freeze_all_but(model, parts)
    assert trained(model) == set().union(*(expected(model, part) for part in parts))
    assert not model.sam.prompt_encoder.shared_embedding.positional_embedding.requires_grad


@pytest.mark.parametrize("changes", [*SYSTEMS.values(), {"multimodal_config": CLIP, "fusion": "late"}])
def test_every_trained_parameter_gets_a_gradient(changes):
    model = EvfSamModel(golden_config(**changes, **HEAD))
    parts = {*PARTS} - {"prompt_encoder"}
    if model.config.sam_config.model_type == "efficient_sam":
        parts -= {"no_mask_embedding"}
    freeze_all_but(model, parts)
    side = model.config.view_size
    batch = {
        "pixel_values": torch.randn(1, 3, side, side),
        "multimodal_pixel_values": torch.randn(1, 3, 32, 32),
        "input_ids": torch.randint(4, 100, (1, 1, 5)),
        "labels": torch.ones(1, 1, 8, 8),
    }
    model(**batch).loss.backward()
    assert trained(model) == {name for name, value in model.named_parameters() if value.grad is not None}


@pytest.mark.parametrize("encoder", [BEIT3, VILT, CLIP])
@pytest.mark.parametrize("fusion", ["late", "text"])
def test_other_encoders(encoder, fusion):
    model = EvfSamModel(golden_config(multimodal_config=encoder, fusion=fusion))
    freeze_all_but(model, ["multimodal_encoder", "projector"])
    assert trained(model) == expected(model, "multimodal_encoder") | expected(model, "projector")


@pytest.mark.parametrize(
    ("system", "parts", "message"),
    [
        ("evf_sam", ["sam"], "cannot train sam: choose from multimodal_encoder, projector, image_encoder"),
        ("evf_sam", [], "cannot train nothing: choose from"),
        ("evf_efficient_sam", ["no_mask_embedding"], "cannot train no_mask_embedding"),
    ],
)
def test_parts_that_are_not_there(system, parts, message):
    model = EvfSamModel(golden_config(**SYSTEMS[system]))
    with pytest.raises(ValueError, match=message):
        freeze_all_but(model, parts)
