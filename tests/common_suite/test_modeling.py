import json
import unittest
from unittest import mock

import torch

from modeling_evf_sam import Beit3Config, Beit3Model, EvfSamConfig, EvfSamModel
from tests.common_suite.upstream import common_tests

modeling = common_tests("test_modeling_common")
configuration = common_tests("test_configuration_common")

ENCODER = {
    "model_type": "beit3",
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "image_size": 16,
    "patch_size": 8,
    "max_position_embeddings": 20,
}
DECODER = {"hidden_size": 32, "mlp_dim": 37, "num_attention_heads": 4, "iou_head_hidden_dim": 24}
SAM = {
    "model_type": "sam",
    "vision_config": {
        "hidden_size": 36,
        "output_channels": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 8,
        "window_size": 2,
        "global_attn_indexes": [1],
        "num_pos_feats": 16,
    },
    "prompt_encoder_config": {"hidden_size": 32, "image_size": 32, "patch_size": 8},
    "mask_decoder_config": DECODER,
}
SAM2 = {
    "model_type": "sam2",
    "vision_config": {
        "backbone_config": {
            "model_type": "sam2_hiera_det_model",
            "hidden_size": 12,
            "num_attention_heads": 1,
            "image_size": [64, 64],
            "blocks_per_stage": [1, 1, 2, 1],
            "embed_dim_per_stage": [12, 24, 48, 96],
            "num_attention_heads_per_stage": [1, 2, 4, 8],
            "window_size_per_stage": [4, 2, 4, 2],
            "global_attention_blocks": [3],
            "window_positional_embedding_background_size": [2, 2],
        },
        "backbone_channel_list": [96, 48, 24, 12],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "fpn_hidden_size": 32,
    },
    "prompt_encoder_config": {"hidden_size": 32, "image_size": 64},
    "mask_decoder_config": DECODER,
}
EFFICIENT_SAM = {
    "model_type": "efficient_sam",
    "vision_config": {
        "hidden_size": 36,
        "output_channels": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "image_size": 32,
        "patch_size": 8,
    },
    "mask_decoder_config": {**DECODER, "upscaling_channels": [16, 8]},
}


def with_strong_weights(config):
    """Draw fresh weights so that an error anywhere shows in the masks, which 0.02 makes as small as the tolerances."""
    config.initializer_range = 0.2
    for part in config.sub_configs:
        with_strong_weights(getattr(config, part))
    return config


class Beit3ModelTester:
    """What the common tests ask about: a small configuration, and inputs for it."""

    batch_size = 2
    seq_length = 1 + 4 + 7  # [CLS], patches, words
    hidden_size = ENCODER["hidden_size"]
    num_hidden_layers = ENCODER["num_hidden_layers"]
    num_attention_heads = ENCODER["num_attention_heads"]
    is_training = False  # no loss of its own

    def prepare_config_and_inputs_for_common(self):
        words = (self.batch_size, 7)
        return with_strong_weights(Beit3Config(**ENCODER)), {
            "pixel_values": modeling.floats_tensor([self.batch_size, 3, 16, 16]),
            "input_ids": modeling.ids_tensor(words, ENCODER["vocab_size"]),
            "attention_mask": torch.ones(words, dtype=torch.long),
        }


def complete_or_not(test):
    """Run `test` without the refusal of incomplete checkpoints."""
    return mock.patch("modeling_evf_sam.pretrained_evf_sam._refuse_bad_tensors")(lambda self, _: test(self))


class Beit3ModelTest(modeling.ModelTesterMixin, unittest.TestCase):
    all_model_classes = (Beit3Model,)
    additional_model_inputs = ("input_ids",)
    test_can_init_all_missing_weights_before_2023 = True

    def setUp(self):
        self.model_tester = Beit3ModelTester()

    def test_config(self):
        configuration.ConfigTester(self, config_class=Beit3Config, **ENCODER).run_common_tests()

    @complete_or_not
    def test_can_init_all_missing_weights(self):
        super().test_can_init_all_missing_weights()

    @complete_or_not
    def test_model_weights_reload_no_missing_tied_weights(self):
        super().test_model_weights_reload_no_missing_tied_weights()


class EvfSamModelTester(Beit3ModelTester):
    num_sentences = 3
    is_training = True

    def __init__(self, sam_config):
        self.sam_config = sam_config

    def get_config(self):
        return with_strong_weights(EvfSamConfig(multimodal_config=ENCODER, sam_config=self.sam_config))

    def prepare_config_and_inputs_for_common(self):
        config = self.get_config()
        words = (self.batch_size, self.num_sentences, 7)
        return config, {
            "pixel_values": modeling.floats_tensor([self.batch_size, 3, config.view_size, config.view_size]),
            "multimodal_pixel_values": modeling.floats_tensor([self.batch_size, 3, 16, 16]),
            "input_ids": modeling.ids_tensor(words, ENCODER["vocab_size"]),
            "attention_mask": torch.ones(words, dtype=torch.long),
        }


class EvfSamModelTests(modeling.ModelTesterMixin):
    all_model_classes = (EvfSamModel,)
    additional_model_inputs = ("multimodal_pixel_values", "input_ids")
    _is_composite = True
    test_can_init_all_missing_weights_before_2023 = True
    # SAM has weights for points, boxes, given masks and scores, which text prompts and mask losses do not reach.
    test_all_params_have_gradient = False
    test_bc_torch_dtype = None  # slow, and the library's own renaming of an argument: once, over BEIT-3, is enough

    def setUp(self):
        self.model_tester = EvfSamModelTester(self.sam_config)

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False):
        # The library knows which labels its own classes take; ours are target masks.
        inputs = super()._prepare_for_class(inputs_dict, model_class)
        if return_labels:
            inputs["labels"] = torch.eye(24).expand(*inputs["input_ids"].shape[:2], 24, 24)
        return inputs

    def test_config(self):
        whole = json.loads(self.model_tester.get_config().to_json_string())
        parts = {name: whole[name] for name in EvfSamConfig.sub_configs_defaults}
        tester = configuration.ConfigTester(self, config_class=EvfSamConfig, has_text_modality=False, **parts)
        tester.run_common_tests()

    def test_init_weights_can_init_buffers(self):
        # The test removes the randomness of Fourier matrices through their scale, but does not look that deep for it.
        config = self.model_tester.get_config()
        for part in config.sam_config.sub_configs:
            getattr(config.sam_config, part).scale = 0
        with mock.patch.object(self.model_tester, "get_config", return_value=config):
            super().test_init_weights_can_init_buffers()

    # An incomplete checkpoint is an error here, and a report with a warning in the library; the report is tested.

    @complete_or_not
    def test_can_init_all_missing_weights(self):
        super().test_can_init_all_missing_weights()

    @complete_or_not
    def test_model_weights_reload_no_missing_tied_weights(self):
        super().test_model_weights_reload_no_missing_tied_weights()


class EvfSamModelOverSamTest(EvfSamModelTests, unittest.TestCase):
    sam_config = SAM


class EvfSamModelOverSam2Test(EvfSamModelTests, unittest.TestCase):
    sam_config = SAM2


class EvfSamModelOverEfficientSamTest(EvfSamModelTests, unittest.TestCase):
    sam_config = EFFICIENT_SAM
