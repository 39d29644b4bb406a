"""Checkpoints are loaded whole or not at all."""

from dataclasses import replace
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

FINISH_LOADING = PreTrainedModel._finalize_model_loading  # a library without it fails here, and loads nothing


class StrictLoadingMixin:
    """Makes `from_pretrained` refuse a checkpoint that does not fit, with a ValueError that names the tensors.

    Tensors are missing, unknown, misshapen or not finite. `ignore_mismatched_sizes=True` allows all of it, as far as
    transformers does.

    Attributes:
        _missing_hints: beginning of a tensor's name -> what to say of a checkpoint that lacks the tensor.
    """

    _missing_hints: dict[str, str] = {}  # noqa: RUF012

    @staticmethod
    def _finalize_model_loading(model: Any, load_config: Any, loading_info: Any) -> Any:
        lenient = replace(load_config, ignore_mismatched_sizes=True)  # or its own error, without names, comes first
        info = FINISH_LOADING(model, lenient, loading_info)
        if not load_config.ignore_mismatched_sizes:
            _refuse_bad_tensors(load_config.pretrained_model_name_or_path, model, info)
        return info


def is_finite(tensor: Tensor) -> bool:
    """Whether all values are finite. NaN and infinity survive min and max, which need no copy of the tensor."""
    return not tensor.numel() or all(bound.isfinite().item() for bound in tensor.aminmax())


def _refuse_bad_tensors(source: str | None, model: Any, info: Any) -> None:
    problems = {
        "missing": sorted(info.missing_keys),
        "unknown": sorted(info.unexpected_keys),
        "misshapen": sorted(key if isinstance(key, str) else key[0] for key in info.mismatched_keys),
        "not finite": sorted(
            name
            for name, tensor in model.state_dict().items()
            if tensor.device.type != "meta" and not is_finite(tensor)
        ),
    }
    subject = source or "what was given"
    for start, hint in model._missing_hints.items():
        if any(name.startswith(start) for name in problems["missing"]):
            raise ValueError(f"{subject} is not a whole checkpoint of this model; {hint}")
    found = [f"{len(keys)} {problem} ({', '.join(keys[:3])})" for problem, keys in problems.items() if keys]
    if found:
        raise ValueError(f"{subject} is not a whole checkpoint of this model; tensors: {'; '.join(found)}")
