"""What the classes of this package add to `from_pretrained` and `push_to_hub`: strictness, and the package's hooks.

Hooks are where the installed package joins in; a copy of this code in a Hub repository works without it. On import,
the package fills both: `from_pretrained` then reads releases of the original authors, and what is pushed to the Hub
carries this code.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor
from transformers import PreTrainedModel

from .checked_loading import one_error, refuse_bad_headers, refuse_outer_files, refuse_pickles

# A library without these fails here, and loads nothing.
READ_WEIGHTS = PreTrainedModel._load_pretrained_model
FINISH_LOADING = PreTrainedModel._finalize_model_loading


class OriginalRelease(Protocol):
    """A release of the original authors, whose format the classes of this package do not know."""

    def config_dict(self) -> dict[str, Any]:
        """Arguments of `EvfSamConfig`, by its config.json alone."""

    def measured_config_dict(self) -> dict[str, Any]:
        """Arguments of `EvfSamConfig`, by its weights."""

    def state_dict(self, *, image_size: int) -> dict[str, Tensor]:
        """The weights by the names of `EvfSamVideoModel.state_dict()`, or `EvfSamModel`'s for another SAM than SAM-2.

        Args:
            image_size: side of SAM's view.
        """

    def tokenizer(self) -> Any:
        """The tokenizer of its encoder."""


def _find_nothing(source: Any, **options: Any) -> OriginalRelease | None:
    return None


def _write_nothing(folder: str | Path) -> None:
    return None


@dataclass
class Hooks:
    """What the package adds.

    Attributes:
        find_release: the original release that `from_pretrained` was given, with its further arguments; or None.
        write_code: puts the code of the package into the folder of a model or a processor.
    """

    find_release: Callable[..., OriginalRelease | None] = _find_nothing
    write_code: Callable[[str | Path], None] = _write_nothing


HOOKS = Hooks()


class LoadReleaseMixin:
    """`from_pretrained` of a model that reads releases of the original authors as if they were ours."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load weights as `PreTrainedModel.from_pretrained` does, and refuse a checkpoint that does not fit.

        Releases of the original authors are read as they are, sizes by their weights; `use_safetensors=False` allows
        those that are pickles (they are opened with weights_only).

        Raises:
            ValueError: if tensors are missing, unknown, misshapen or not finite; the message names them. Also for a
                release that is pickled, unless that is allowed.
            OSError: no such folder, and no such repository in reach.
        """
        load = super().from_pretrained  # type: ignore[misc]
        release = HOOKS.find_release(pretrained_model_name_or_path, **kwargs)
        if release is None:
            return load(pretrained_model_name_or_path, *args, **kwargs)
        try:
            return load(None, *args, **_release_arguments(cls, release, kwargs))
        except ValueError as error:
            raise ValueError(f"{pretrained_model_name_or_path}: {error}") from error


def _release_arguments(model_class: Any, release: OriginalRelease, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `from_pretrained` with the configuration and the tensors of an original release."""
    config_class = model_class.config_class
    config = kwargs.get("config") or config_class(**release.measured_config_dict())
    changes = {name: value for name, value in kwargs.items() if name in config_class.__annotations__}
    if changes:
        config = config_class(**{**config.to_dict(), **changes})
    kwargs = {name: value for name, value in kwargs.items() if name not in changes}
    return {**kwargs, "config": config, "state_dict": release.state_dict(image_size=config.view_size)}


class PushCodeMixin:
    """Puts the code beside whatever an object of this class uploads; what it saves on disk stays without."""

    _auto_class: str | None  # set where the code came from a repository: transformers then saves it by itself

    def _upload_modified_files(self, working_dir: str | Path, *args: Any, **kwargs: Any) -> Any:
        if self._auto_class is None:
            HOOKS.write_code(working_dir)
        return super()._upload_modified_files(working_dir, *args, **kwargs)  # type: ignore[misc]


class StrictLoadingMixin:
    """Makes `from_pretrained` refuse a checkpoint that does not fit, with a ValueError that names the tensors.

    Tensors are missing, unknown, misshapen or not finite. `ignore_mismatched_sizes=True` allows all of it, as far as
    transformers does.

    Attributes:
        _missing_hints: beginning of a tensor's name -> what to say of a checkpoint that lacks the tensor.
    """

    _missing_hints: dict[str, str] = {}  # noqa: RUF012

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load weights as `PreTrainedModel.from_pretrained` does, and refuse a checkpoint that does not fit.

        Raises:
            ValueError: tensors are missing, unknown, misshapen, not finite or not floating point; the folder's weights
                lie elsewhere, or are pickled and `use_safetensors` is not False.
            OSError: no such folder, and no such repository in reach.
        """
        source = pretrained_model_name_or_path
        if source is not None and Path(source).is_dir() and kwargs.get("state_dict") is None:
            refuse_outer_files(Path(source), kwargs.get("subfolder") or "")
        if "/" in str(kwargs.get("attn_implementation")):
            raise ValueError("attn_implementation names code on the Hub, which is not run: use eager or sdpa")
        with one_error(source or "what was given"):
            return super().from_pretrained(source, *args, **kwargs)  # type: ignore[misc]

    @staticmethod
    def _load_pretrained_model(
        model: Any, state_dict: Any, checkpoint_files: Any, load_config: Any, *args: Any, **kwargs: Any
    ) -> Any:
        files = list(checkpoint_files or ())
        refuse_pickles(files, load_config.use_safetensors)
        plain = load_config.use_safetensors is not False and load_config.hf_quantizer is None
        if files and state_dict is None and plain:
            refuse_bad_headers(model, files, any_size=load_config.ignore_mismatched_sizes)
        return READ_WEIGHTS(model, state_dict, checkpoint_files, load_config, *args, **kwargs)

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
