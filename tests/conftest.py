import os
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from modeling_evf_sam.training.tokenizer import train_tokenizer

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with golden tensors and real photos, beside the repository; continuous integration must have it."""
    if not SHARED.is_dir() and os.environ.get("CI") != "true":
        pytest.skip("the golden tensors and photos are not here: ../shared is absent")
    assert SHARED.is_dir(), "continuous integration needs the golden tensors and photos in ../shared"
    return SHARED


@pytest.fixture(scope="session")
def tiny_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    """An XLM-R tokenizer of 400 pieces with an added "[semantic]" token, that reads 40 tokens at the most."""
    folder = tmp_path_factory.mktemp("tokenizer")
    return train_tokenizer(folder, vocab_size=400, max_length=40, num_expressions=500)
