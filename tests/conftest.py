import os
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerBase, SamConfig

from modeling_evf_sam import Beit3Config, EvfSamConfig, EvfSamImageProcessor, EvfSamModel, EvfSamProcessor
from modeling_evf_sam.rendered_scenes.curriculum.tokenizer import train_pieces, train_tokenizer

SHARED = Path(__file__).parents[2] / "shared"


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
    encoder = Beit3Config(
        vocab_size=len(tiny_tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        max_position_embeddings=42,
    )
    sides = {"hidden_size": 32, "image_size": 64, "patch_size": 16}
    sam = SamConfig(
        vision_config={**sides, "num_hidden_layers": 1, "num_attention_heads": 2, "output_channels": 32, "mlp_dim": 32,
                       "global_attn_indexes": [0], "num_pos_feats": 16},
        prompt_encoder_config={**sides, "image_embedding_size": 4, "mask_input_channels": 4},
        mask_decoder_config={"hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 32},
    )  # fmt: skip
    torch.manual_seed(0)
    model = EvfSamModel(EvfSamConfig(multimodal_config=encoder, sam_config=sam, image_layout="stretch"))
    model.save_pretrained(folder)
    image_processor = EvfSamImageProcessor(image_size=64, multimodal_image_size=32, image_layout="stretch")
    EvfSamProcessor(image_processor, tiny_tokenizer, semantic_prompts=True).save_pretrained(folder)
    return folder
