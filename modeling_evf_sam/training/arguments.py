"""transformers' settings of a run."""

from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments


def training_arguments(output: Path, *, seed: int, workers: int, **settings: Any) -> TrainingArguments:
    """What every run of this package is set to, and what it adds: `settings` go by the library's own names."""
    cuda = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(output),
        seed=seed,
        dataloader_num_workers=workers,
        dataloader_pin_memory=cuda,
        use_cpu=not cuda,
        remove_unused_columns=False,
        report_to="none",
        **settings,
    )
