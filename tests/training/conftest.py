from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from modeling_evf_sam import EvfSamModel, EvfSamProcessor
from tests.golden import GOLDEN_ENCODER, golden_config
from tests.miniatures import run_lengths, write_lines

SIZES = [(24, 16), (16, 24), (20, 20), (30, 12)]
SENTENCES = ["the red square", "the square on the left", "the largest object"]


@pytest.fixture(scope="session")
def own_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a user's own: four photos of noise with a red rectangle, 1 to 3 sentences, splits train and test."""
    folder = tmp_path_factory.mktemp("own_photos")
    rng = np.random.default_rng(0)
    lines: list[dict | str] = []
    for index, (width, height) in enumerate(SIZES):
        pixels = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
        mask = np.zeros((height, width), dtype=bool)
        mask[2:10, index : index + 8] = True
        pixels[mask] = (255, 0, 0)
        Image.fromarray(pixels).save(folder / f"{index}.png")
        lines.append({"image": f"{index}.png", "text": SENTENCES[: 1 + index % 3], "mask": run_lengths(mask)})
    write_lines(folder, "train", lines)
    write_lines(folder, "test", lines[:3])
    return folder


@pytest.fixture(scope="session")
def tiny_start(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Any) -> Path:
    """A checkpoint of the golden sizes that reads the tiny tokenizer's words."""
    folder = tmp_path_factory.mktemp("tiny_start")
    torch.manual_seed(0)
    config = golden_config(multimodal_config={**GOLDEN_ENCODER, "vocab_size": len(tiny_tokenizer)})
    EvfSamModel(config).save_pretrained(folder)
    EvfSamProcessor.from_config(config, tiny_tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture
def write_recipe(tmp_path: Path, own_photos: Path, tiny_start: Path) -> Callable[..., str]:
    """Writes a recipe for the tiny start and the user's photos with some changes, and returns its path."""

    def write(**changes: Any) -> str:
        data = {
            "datasets": [{"name": f"jsonl:{own_photos}", "split": "train"}],
            "validation": {"name": f"jsonl:{own_photos}", "split": "test"},
            **changes.pop("data", {}),
        }
        values = {
            "model": str(tiny_start),
            "data": data,
            "steps": 6,
            "batch_size": 4,
            "per_device_batch_size": 4,
            "learning_rate": 1e-3,
            "warmup_steps": 2,
            "eval_every": 3,
            "save_every": 2,
            "log_every": 1,
            "workers": 0,
            **changes,
        }
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(values))
        return str(path)

    return write
