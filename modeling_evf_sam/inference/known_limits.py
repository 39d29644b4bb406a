"""What a checkpoint cannot do, by what it was trained on."""

from typing import Any

PHOTO_WARNINGS = {
    "rendered_scenes": "this checkpoint knows drawn shapes only; for photographs use --model evf-sam-multitask"
}


def photo_warning(config: Any) -> str | None:
    """One line about what its masks on photographs are worth, for a checkpoint that never saw any; None for others."""
    return PHOTO_WARNINGS.get(getattr(config, "trained_on", None) or "")


def check_whole(model: Any, what: str) -> None:
    """Raises a ValueError if a model is an exported one, whose graphs answer sentences and nothing else."""
    if not hasattr(model, "sam"):
        raise ValueError(f"exported graphs give no {what}: load the checkpoint with torch, without --backend")
