import re

import pytest
import torch
from safetensors.torch import load_file, save_file

from modeling_evf_sam import Beit3Config, Beit3Model, EfficientSamConfig, EfficientSamModel, EvfSamModel
from tests.golden import GOLDEN_EFFICIENT_SAM, GOLDEN_ENCODER, golden_config


def sizes(part: dict) -> dict:
    return {name: value for name, value in part.items() if name != "model_type"}


MODELS = {
    "evf_sam": (lambda: EvfSamModel(golden_config()), "projector.fc1.weight"),
    "beit3": (lambda: Beit3Model(Beit3Config(**sizes(GOLDEN_ENCODER))), "layers.0.attention.q_proj.text.weight"),
    "efficient_sam": (
        lambda: EfficientSamModel(EfficientSamConfig(**sizes(GOLDEN_EFFICIENT_SAM))),
        "mask_decoder.iou_token.weight",
    ),
}
DAMAGES = {  # what becomes of the tensor, and what is said
    "missing": (lambda tensor: None, "1 missing ({name})"),
    "misshapen": (lambda tensor: tensor[:, 1:].clone(), "1 misshapen ({name})"),
    "nan": (lambda tensor: tensor.fill_(torch.nan), "1 not finite ({name})"),
    "infinite": (lambda tensor: tensor.fill_(-torch.inf), "1 not finite ({name})"),
    "unknown": (lambda tensor: tensor, "1 unknown (stranger)"),
}


@pytest.fixture(params=MODELS)
def checkpoint(request, tmp_path):
    """Class, folder, and the name of one of its tensors."""
    build, name = MODELS[request.param]
    model = build()
    model.save_pretrained(tmp_path)
    return type(model), tmp_path, name


def damage(folder, name, kind) -> None:
    tensors = load_file(folder / "model.safetensors")
    changed = DAMAGES[kind][0](tensors.pop(name))
    more = {} if changed is None else {name: changed}
    more |= {"stranger": torch.ones(1)} if kind == "unknown" else {}
    save_file({**tensors, **more}, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_checkpoint_that_does_not_fit_is_refused(checkpoint, kind):
    cls, folder, name = checkpoint
    damage(folder, name, kind)
    message = f"{folder} is not a whole checkpoint of this model; tensors: {DAMAGES[kind][1].format(name=name)}"
    with pytest.raises(ValueError, match=re.escape(message)):
        cls.from_pretrained(folder)


@pytest.mark.parametrize("kind", ["missing", "misshapen"])
def test_the_caller_may_allow_it(checkpoint, kind):
    cls, folder, name = checkpoint
    damage(folder, name, kind)
    _, info = cls.from_pretrained(folder, ignore_mismatched_sizes=True, output_loading_info=True)
    assert name in str(info)


def test_a_whole_checkpoint_is_reported_as_transformers_does(checkpoint):
    cls, folder, _ = checkpoint
    model, info = cls.from_pretrained(folder, output_loading_info=True)
    assert type(model) is cls and not any(info.values())
