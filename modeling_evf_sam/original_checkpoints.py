"""The former place of the public functions of `originals`."""

from .originals.converting import (
    convert_state_dict,
    ignored_names,
    original_state_dict,
    refuse_misfits,
    resize_vision_positions,
)
from .originals.sizes import detect_config, detect_encoder, detect_sam

__all__ = [
    "convert_state_dict",
    "detect_config",
    "detect_encoder",
    "detect_sam",
    "ignored_names",
    "original_state_dict",
    "refuse_misfits",
    "resize_vision_positions",
]
