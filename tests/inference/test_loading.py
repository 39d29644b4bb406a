"""A checkpoint by name, ready to be used."""

import pytest

from modeling_evf_sam import EvfSamModel, EvfSamProcessor
from modeling_evf_sam.inference.loading import load_model
from tests.golden import golden_config


def test_a_model_without_a_processor_says_what_to_save(tmp_path):
    EvfSamModel(golden_config()).save_pretrained(tmp_path)
    with pytest.raises(OSError, match=r"has no processor: save .* processor\.save_pretrained, or convert"):
        load_model(str(tmp_path), "cpu", "float32")


def test_a_tokenizer_with_more_words_than_the_model_is_refused(tmp_path, tiny_tokenizer):
    config = golden_config()
    EvfSamModel(config).save_pretrained(tmp_path)
    EvfSamProcessor.from_config(config, tiny_tokenizer).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"the tokenizer has \d+ tokens, the model 120: give the model's own"):
        load_model(str(tmp_path), "cpu", "float32")
