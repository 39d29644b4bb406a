"""A release by its name on the Hub: all that a user with a network types."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from evf_sam_cli import main
from modeling_evf_sam.originals import settings
from modeling_evf_sam.originals.tokenizer import TOKENIZER_CONFIG
from tests.golden import GOLDEN_ENCODER, GOLDEN_SAM
from tests.hub_server import Hub, running, use_hub

PHOTO = Path(__file__).parents[2] / "docs" / "sample.png"
MODEL = "someone/evf-sam-multitask"
CONFIG = '{"model_type": "evf", "architectures": ["EvfSamModel"], "sam_scale": "huge", "mm_extractor_scale": "large"}'
TEXTS = ["config.json", "sentencepiece.bpe.model", "tokenizer_config.json"]


@pytest.fixture
def hub(original, beit3_spm, tiny_tokenizer, workplace, monkeypatch):
    """Folders with a tiny release: weights as safetensors, as pickles, and a Hub that has neither yet."""
    encoder = {**GOLDEN_ENCODER, "vocab_size": len(tiny_tokenizer) + 8}
    monkeypatch.setattr(settings, "ORIGINAL_SAMS", {("EvfSamModel", "huge"): GOLDEN_SAM})
    monkeypatch.setattr(settings, "ORIGINAL_ENCODERS", {"large": encoder})
    for name in ("main", "safe"):
        Path(name).mkdir()
    for file, content in zip(TEXTS, (CONFIG, beit3_spm.read_bytes(), TOKENIZER_CONFIG), strict=True):
        Path("main", file).write_bytes(content if isinstance(content, bytes) else content.encode())
    save_file(original, "safe/model.safetensors")
    with running(Hub({MODEL: {"main": workplace / "main"}})) as hub:
        use_hub(monkeypatch, hub.url, workplace)
        yield hub


def segment(*options: str) -> int:
    return main(["segment", str(PHOTO), "the pink star", "--output", "masks", "--dtype", "float32", *options])


def test_safetensors(hub, workplace):
    Path("safe/model.safetensors").rename("main/model.safetensors")
    assert segment("--model", MODEL) == 0
    assert Path("masks/result.json").is_file()
    assert sorted(hub.downloads) == sorted([*TEXTS, "model.safetensors"])


def test_the_conversion_of_the_hub(hub, workplace, original):
    torch.save(original, "main/pytorch_model.bin")
    hub.repositories[MODEL]["refs/pr/1"] = workplace / "safe"
    assert segment("--model", MODEL) == 0
    assert sorted(hub.downloads) == sorted([*TEXTS, "refs/pr/1:model.safetensors"])


def test_pickles_alone(hub, original, capsys):
    torch.save(original, "main/pytorch_model.bin")
    assert segment("--model", MODEL) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    command = f"evf-sam convert {MODEL} --use-pickle --output evf-sam-multitask"
    assert error.startswith("error: ") and f"`{command}`" in error
    assert not Path("masks").exists()

    assert main(command.split()[1:]) == 0
    assert segment("--model", "evf-sam-multitask") == 0
    assert Path("masks/result.json").is_file()
