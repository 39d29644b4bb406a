import gc
import os
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from modeling_evf_sam import EvfSamModel, EvfSamProcessor
from modeling_evf_sam.rendered_scenes.curriculum.tokenizer import train_pieces, train_tokenizer
from tests.golden import GOLDEN_ENCODER, golden_config

SHARED = Path(__file__).parents[2] / "shared"


def pytest_collection_finish() -> None:
    """Leave what is imported out of garbage collections: the Trainer and the benchmark ask for many."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with golden tensors and real photos, beside the repository; continuous integration must have it."""
    if not SHARED.is_dir() and os.environ.get("CI") != "true":
        pytest.skip("the golden tensors and photos are not here: ../shared is absent")
    assert SHARED.is_dir(), "continuous integration needs the golden tensors and photos in ../shared"
    return SHARED


@pytest.fixture(scope="session")
def tiny_tokenizer() -> PreTrainedTokenizerBase:
    """An XLM-R tokenizer of 400 pieces with an added "[semantic]" token, that reads 40 tokens at the most."""
    return train_tokenizer(vocab_size=400, max_length=40, num_expressions=500)


@pytest.fixture(scope="session")
def beit3_spm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentencepiece model, in the place of BEIT-3's; the tiny tokenizer has its pieces."""
    file = tmp_path_factory.mktemp("pieces") / "sentencepiece.bpe.model"
    file.write_bytes(train_pieces(vocab_size=400, num_expressions=500))
    return file


@pytest.fixture(scope="session")
def tiny_video_checkpoint(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: PreTrainedTokenizerBase) -> Path:
    """A folder with weights of an EVF-SAM over SAM-2 with its memory."""
    from tests.golden import GOLDEN_ENCODER
    from tests.tiny_video import tiny_video_model

    folder = tmp_path_factory.mktemp("tiny_video")
    model = tiny_video_model(multimodal_config={**GOLDEN_ENCODER, "vocab_size": len(tiny_tokenizer)})
    model.save_pretrained(folder)
    EvfSamProcessor.from_config(model.config, tiny_tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: PreTrainedTokenizerBase) -> Path:
    """A folder with fresh weights: its masks mean nothing, all else is as in a trained checkpoint."""
    folder = tmp_path_factory.mktemp("tiny")
    config = golden_config(
        multimodal_config={**GOLDEN_ENCODER, "vocab_size": len(tiny_tokenizer), "max_position_embeddings": 42},
        image_layout="stretch",
        semantic_prompts=True,
    )
    torch.manual_seed(0)
    EvfSamModel(config).save_pretrained(folder)
    EvfSamProcessor.from_config(config, tiny_tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded checkpoint as ONNX graphs."""
    pytest.importorskip("onnxruntime", reason="exporting to ONNX needs the extra 'onnx'")
    from evf_sam_cli import main

    folder = tmp_path_factory.mktemp("exported") / "graphs"
    assert main(["export", str(folder)]) == 0
    return folder
