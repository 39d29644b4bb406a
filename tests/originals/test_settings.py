import json

import pytest

from modeling_evf_sam import EvfSamConfig
from modeling_evf_sam.originals.settings import named_config, original_settings
from modeling_evf_sam.originals.sizes import detect_config
from modeling_evf_sam.presets import PRESETS
from tests.golden import golden_config
from tests.original_files import listed

NAMES = {  # file with the names of its tensors, preset, what its config.json says
    "evf_sam_full": ("evf-sam", "EvfSamModel", "huge", "large"),
    "evf_sam2_full": ("evf-sam2", "EvfSam2Model", "large", "large"),
    "evf_effi_sam_l_full": ("evf-effi-sam-l", "EvfEffiSamModel", "small", "large"),
    "evf_effi_sam_b_full": ("evf-effi-sam-b", "EvfEffiSamModel", "tiny", "base"),
}


def settings(architecture: str | None, sam_scale: str | None, encoder_scale: str | None) -> dict:
    values = {"architectures": architecture and [architecture], "sam_scale": sam_scale}
    values["mm_extractor_scale"] = encoder_scale
    return {"model_type": "evf", **{name: value for name, value in values.items() if value is not None}}


@pytest.mark.parametrize("file", NAMES)
def test_config_json_and_tensors_tell_the_same(shared, file):
    preset, *names = NAMES[file]
    named = EvfSamConfig(**named_config(settings(*names), multitask=False))
    assert named.to_dict() == detect_config(listed(shared, file)).to_dict()
    assert named.to_dict() == EvfSamConfig(**PRESETS[preset]).to_dict()


@pytest.mark.parametrize("preset", ["evf-sam", "evf-sam2"])
def test_multitask_releases(preset):
    _, *names = NAMES[f"{preset.replace('-', '_')}_full"]
    named = EvfSamConfig(**named_config(settings(*names), multitask=True))
    assert named.to_dict() == EvfSamConfig(**PRESETS[f"{preset}-multitask"]).to_dict()


@pytest.mark.parametrize(
    ("names", "model_type"),
    [
        ((None, "huge", "large"), "sam"),
        ((None, "small", "large"), "efficient_sam"),
        (("EvfSam2Model", "tiny", "large"), "sam2"),
        (("EvfEffiSamModel", "tiny", "large"), "efficient_sam"),
        ((None, "tiny", "large"), None),  # SAM-2's or EfficientSAM's
        (("EvfSamModel", "tiny", "large"), None),
        (("Unknown", "huge", "large"), None),
        (("EvfSamModel", "huge", None), None),
        (("EvfSamModel", "huge", "giant"), None),
        ((None, None, None), None),
    ],
)
def test_what_names_settle(names, model_type):
    if model_type is None:
        with pytest.raises(ValueError, match=r"architectures, sam_scale and mm_extractor_scale .* name no sizes"):
            named_config(settings(*names), multitask=False)
    else:
        assert named_config(settings(*names), multitask=False)["sam_config"]["model_type"] == model_type


@pytest.mark.parametrize("file", NAMES)
def test_the_way_back(file):
    preset, *names = NAMES[file]
    config = EvfSamConfig(**PRESETS[preset])
    written = json.loads(json.dumps(original_settings(config)))
    assert {name: written[name] for name in settings(*names)} == settings(*names)
    assert written["hidden_size"] == config.multimodal_config.hidden_size


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (golden_config, "builds no sam of width 48, 4 layers and 128 px with a beit3 of width 32"),
        (lambda: EvfSamConfig(**PRESETS["evf-sam-clip-late"]), "with a clip of width 768"),
    ],
)
def test_sizes_that_the_original_does_not_build(config, message):
    with pytest.raises(ValueError, match=message):
        original_settings(config())
