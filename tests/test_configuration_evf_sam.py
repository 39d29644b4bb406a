import pytest
from huggingface_hub.errors import StrictDataclassError
from transformers import SamVisionConfig

from modeling_evf_sam import Beit3Config, EfficientSamConfig, EvfSamConfig, EvfSamModel
from tests.golden import SYSTEMS, golden_config
from tests.tiny_encoders import BEIT3, CLIP, VILT


@pytest.mark.parametrize(
    ("fusion", "prompt_feature"), [("early", "image_cls"), ("late", "concat"), ("text", "text_cls")]
)
def test_the_prompt_feature_follows_from_the_fusion(fusion, prompt_feature):
    assert golden_config(fusion=fusion).prompt_feature == prompt_feature


@pytest.mark.parametrize(
    ("encoder", "fusion", "view", "tokens"),
    [
        (BEIT3, "early", 32, 1022),
        (BEIT3, "text", 0, 1022),
        (VILT, "late", 32, 20),
        (CLIP, "late", 32, 20),
        (CLIP, "text", 0, 20),
    ],
)
def test_what_the_encoder_reads(encoder, fusion, view, tokens):
    config = golden_config(multimodal_config=encoder, fusion=fusion)
    assert (config.multimodal_view_size, config.max_tokens) == (view, tokens)


@pytest.mark.parametrize("encoder", [BEIT3, VILT, CLIP])
def test_saved_and_loaded(encoder, tmp_path):
    config = golden_config(multimodal_config=encoder, fusion="late")
    config.save_pretrained(tmp_path)
    assert EvfSamConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"multimodal_config": {"model_type": "bert"}}, "of type 'bert', expected one of beit3, vilt, clip"),
        ({"multimodal_config": CLIP}, "fusion is 'early', for clip use one of late, text"),
        ({"fusion": "late", "prompt_feature": "image_cls"}, "for late fusion use concat"),
        ({"fusion": "text", "prompt_feature": "image_mean"}, "for text fusion use text_cls"),
        ({"mask_selection": "stability"}, "mask_selection is 'stability', for this SAM use first or best_iou"),
        ({"num_fusion_layers": 0}, "num_fusion_layers is 0, expected 1 to 3"),
        ({"num_fusion_layers": 4}, "num_fusion_layers is 4, expected 1 to 3"),
        ({"num_fusion_layers": 2, "fusion": "late"}, 'belongs to BEIT-3 with fusion "early"'),
        ({"num_fusion_layers": 2, "multimodal_config": VILT}, 'belongs to BEIT-3 with fusion "early"'),
        ({"presence": {}}, "presence is {}: give hidden_size, a whole number, and temperature"),
        ({"presence": {"hidden_size": 8}}, "give hidden_size, a whole number, and temperature"),
        ({"presence": {"hidden_size": 0, "temperature": 1.0}}, "hidden_size and temperature must be above 0"),
        ({"presence": {"hidden_size": 8, "temperature": 0.0}}, "hidden_size and temperature must be above 0"),
        ({"presence": {"hidden_size": 8, "temperature": float("nan")}}, "hidden_size and temperature must be above 0"),
        ({"presence": {"hidden_size": 8, "temperature": 1.0, "shift": float("inf")}}, "shift a number"),
        ({"presence": {"hidden_size": 8, "temperature": 1.0, "shft": 0.0}}, "shift may follow"),
        ({"quality": [[0.0, 0.0]]}, "give two or more points"),
        ({"quality": [[0.0, 0.0], [1.0, float("inf")]]}, "give two or more points"),
        ({"quality": [[0.0, 0.0], [0.0, 1.0]]}, "quality must rise from point to point"),
        ({"quality": [[0.0, 0.5], [1.0, 0.4]]}, "quality must rise from point to point"),
    ],
)
def test_switches_that_do_not_fit(changes, message):
    with pytest.raises(StrictDataclassError, match=message):
        golden_config(**changes)


@pytest.mark.parametrize(
    ("field", "value"),
    [("fusion", "middle"), ("prompt_feature", "mean"), ("image_layout", "crop"), ("mask_selection", "last")],
)
def test_words_that_are_no_choice(field, value):
    with pytest.raises(StrictDataclassError, match=f"'{field}'.*\n?.*{value}"):
        golden_config(**{field: value})


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Beit3Config(hidden_size=10, num_attention_heads=4), "hidden_size 10 is not a multiple of"),
        (lambda: Beit3Config(image_size=30, patch_size=16), "image_size 30 is not a multiple of patch_size 16"),
        (
            lambda: EfficientSamConfig(vision_config={"output_channels": 32}),
            "output_channels 32 .* must equal hidden_size",
        ),
        (lambda: EfficientSamConfig(vision_config={"image_size": 100}), "image_size 100 is not a multiple"),
        (lambda: EfficientSamConfig(mask_decoder_config={"upscaling_channels": [8]}), "must be two numbers"),
    ],
)
def test_sizes_that_do_not_fit(build, message):
    with pytest.raises(StrictDataclassError, match=message):
        build()


@pytest.mark.parametrize(
    ("system", "layout"), [("evf_sam", "pad"), ("evf_sam2", "stretch"), ("evf_efficient_sam", "stretch")]
)
def test_the_layout_follows_from_the_sam(system, layout):
    changes = {name: value for name, value in SYSTEMS[system].items() if name == "sam_config"}
    assert golden_config(**changes).image_layout == layout
    assert golden_config(**changes, image_layout="pad_stretch").image_layout == "pad_stretch"


def test_a_sam_of_another_kind():
    with pytest.raises(ValueError, match="sam_config is of type 'sam3', expected one of sam, sam2, efficient_sam"):
        golden_config(sam_config={"model_type": "sam3"})


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("selection", ["first", "best_iou"])
def test_sub_configurations_stay_as_they_were_given(name, selection):
    sam_config = golden_config(**SYSTEMS[name]).sam_config
    before = sam_config.to_dict()
    config = golden_config(**{**SYSTEMS[name], "sam_config": sam_config, "mask_selection": selection})
    EvfSamModel(config)
    assert config.sam_config is sam_config
    assert sam_config.to_dict() == before


def test_an_image_encoder_with_windows_is_not_changed_by_an_efficient_sam():
    vision = SamVisionConfig(hidden_size=192, num_hidden_layers=2, num_attention_heads=3)
    own = EfficientSamConfig(vision_config=vision).vision_config
    assert (vision.window_size, vision.use_rel_pos) == (14, True)
    assert (own.window_size, own.use_rel_pos, own.global_attn_indexes) == (0, False, [0, 1])
