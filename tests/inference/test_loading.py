import pytest
import torch
import transformers

from modeling_evf_sam import EvfSamModel, EvfSamProcessor, EvfSamVideoModel
from modeling_evf_sam.inference.loading import load_model
from tests.golden import golden_config


@pytest.mark.parametrize(
    ("variable", "dtype", "expected"),
    [
        ("float32", None, torch.float32),
        ("bfloat16", None, torch.bfloat16),
        ("bfloat16", "float32", torch.float32),
        ("nonsense", "bfloat16", torch.bfloat16),
    ],
)
def test_a_dtype_wins_over_the_environment(tiny_checkpoint, monkeypatch, variable, dtype, expected):
    monkeypatch.setenv("EVF_SAM_DTYPE", variable)
    model, _ = load_model(str(tiny_checkpoint), "cpu", dtype)
    assert model.dtype == expected
    assert not model.training


def test_the_libraries_may_speak_again_afterwards(tiny_checkpoint):
    before = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_info()
    try:
        load_model(str(tiny_checkpoint), "cpu")
        assert transformers.logging.get_verbosity() == transformers.logging.INFO
        assert transformers.logging.is_progress_bar_enabled() == before[1]
    finally:
        transformers.logging.set_verbosity(before[0])


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


@pytest.mark.parametrize(
    ("checkpoint", "for_films", "expected"),
    [
        ("tiny_checkpoint", True, EvfSamModel),
        ("tiny_video_checkpoint", True, EvfSamVideoModel),
        ("tiny_video_checkpoint", False, EvfSamModel),
    ],
)
def test_films_are_for_a_model_with_a_memory_where_there_is_one(request, checkpoint, for_films, expected):
    model, _ = load_model(str(request.getfixturevalue(checkpoint)), "cpu", "float32", for_films=for_films)
    assert type(model) is expected
