import pytest

from modeling_evf_sam import EvfSamConfig
from tests.golden import golden_config
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
        ({"fusion": "middle"}, "fusion is 'middle', for beit3 use one of early, late, text"),
        ({"multimodal_config": CLIP}, "fusion is 'early', for clip use one of late, text"),
        ({"prompt_feature": "mean"}, "prompt_feature is 'mean', for early fusion use image_cls or text_cls"),
        ({"fusion": "late", "prompt_feature": "image_cls"}, "for late fusion use concat"),
        ({"fusion": "text", "prompt_feature": "image_mean"}, "for text fusion use text_cls"),
        ({"num_fusion_layers": 0}, "num_fusion_layers is 0, expected 1 to 3"),
        ({"num_fusion_layers": 4}, "num_fusion_layers is 4, expected 1 to 3"),
        ({"num_fusion_layers": 2, "fusion": "late"}, 'belongs to BEIT-3 with fusion "early"'),
        ({"num_fusion_layers": 2, "multimodal_config": VILT}, 'belongs to BEIT-3 with fusion "early"'),
    ],
)
def test_switches_that_do_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        golden_config(**changes)
