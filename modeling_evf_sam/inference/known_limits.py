"""What a checkpoint cannot do, by what it was trained on."""

from transformers import PretrainedConfig

PHOTO_WARNINGS = {
    "rendered_scenes": "this checkpoint knows drawn shapes only; for photographs use --model evf-sam-multitask"
}


def photo_warning(config: PretrainedConfig) -> str | None:
    """One line about what its masks on photographs are worth, for a checkpoint that never saw any; None for others."""
    return PHOTO_WARNINGS.get(getattr(config, "trained_on", None) or "")
