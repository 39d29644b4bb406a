from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from modeling_evf_sam import EvfSamModel
from modeling_evf_sam.originals.converting import original_state_dict
from tests.golden import GOLDEN_ENCODER, golden_config


@pytest.fixture(scope="session")
def original(tiny_tokenizer: PreTrainedTokenizerBase) -> dict[str, Tensor]:
    """A tiny release's tensors under their original names, with a row for each word of the tiny tokenizer."""
    torch.manual_seed(0)
    encoder = {**GOLDEN_ENCODER, "vocab_size": len(tiny_tokenizer) + 8}
    model = EvfSamModel(golden_config(multimodal_config=encoder))
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.normal_()
    state = model.state_dict()
    state["sam.shared_image_embedding.positional_embedding"] = state[
        "sam.prompt_encoder.shared_embedding.positional_embedding"
    ]
    return {name: tensor.clone() for name, tensor in original_state_dict(state).items()}


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def release(original: dict[str, Tensor], workplace: Path) -> Path:
    """A folder laid out as the authors' on the Hub, named evf-sam-multitask."""
    folder = workplace / "evf-sam-multitask"
    folder.mkdir()
    save_file(original, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "evf"}')
    return folder
