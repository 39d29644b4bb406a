"""Checkpoints are loaded whole or not at all, and releases of the original authors as if they were ours."""

from typing import Any

from torch import Tensor, nn

from .configuration_evf_sam import EvfSamConfig
from .hooks import HOOKS, OriginalRelease


class StrictLoadingMixin:
    """`from_pretrained` for a model of this package.

    Attributes:
        _missing_hints: beginning of a tensor's name -> what to say of a checkpoint that lacks the tensor.
    """

    _missing_hints: dict[str, str] = {}  # noqa: RUF012

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load weights as `PreTrainedModel.from_pretrained` does, and refuse a checkpoint that does not fit.

        Releases of the original authors are read as they are; `use_safetensors=False` allows those that are pickles
        (they are opened with weights_only).

        Raises:
            ValueError: if tensors are missing, unknown, misshapen or not finite; the message names them.
        """
        report = kwargs.pop("output_loading_info", False)
        release = HOOKS.find_release(pretrained_model_name_or_path, **kwargs)
        if release is not None:
            kwargs = _release_arguments(release, kwargs)
        model, info = super().from_pretrained(  # type: ignore[misc]
            pretrained_model_name_or_path if release is None else None,
            *args,
            output_loading_info=True,
            **{"ignore_mismatched_sizes": True, **kwargs},
        )
        if not kwargs.get("ignore_mismatched_sizes"):
            _refuse_bad_tensors(pretrained_model_name_or_path, model, info)
        return (model, info) if report else model


def _release_arguments(release: OriginalRelease, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `from_pretrained` with the configuration and the tensors of an original release."""
    config = kwargs.get("config") or EvfSamConfig(**release.config_dict())
    changes = {name: value for name, value in kwargs.items() if name in EvfSamConfig.__annotations__}
    if changes:
        config = EvfSamConfig(**{**config.to_dict(), **changes})
    kwargs = {name: value for name, value in kwargs.items() if name not in changes}
    return {**kwargs, "config": config, "state_dict": release.state_dict(image_size=config.view_size)}


def is_finite(tensor: Tensor) -> bool:
    """Whether all values are finite. NaN and infinity survive min and max, which need no copy of the tensor."""
    return not tensor.numel() or all(bound.isfinite().item() for bound in tensor.aminmax())


def _refuse_bad_tensors(source: Any, model: nn.Module, info: dict[str, Any]) -> None:
    problems = {
        "missing": sorted(info["missing_keys"]),
        "unknown": sorted(info["unexpected_keys"]),
        "misshapen": sorted(key if isinstance(key, str) else key[0] for key in info["mismatched_keys"]),
        "not finite": sorted(
            name
            for name, tensor in model.state_dict().items()
            if tensor.device.type != "meta" and not is_finite(tensor)
        ),
    }
    for start, hint in getattr(model, "_missing_hints", {}).items():
        if any(name.startswith(start) for name in problems["missing"]):
            raise ValueError(f"{source} is not a whole checkpoint of this model; {hint}")
    found = [f"{len(keys)} {problem} ({', '.join(keys[:3])})" for problem, keys in problems.items() if keys]
    if found:
        raise ValueError(f"{source} is not a whole checkpoint of this model; tensors: {'; '.join(found)}")
