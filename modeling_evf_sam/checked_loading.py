"""What is checked of a checkpoint before its files are read, and one kind of error for all that is wrong with them."""

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open

SMALL = 2**22  # numbers that may be missing before they are counted by name
MOST_REPEATS = 1000  # layers, blocks or heads of a model
REPEATED = ("layers", "depth", "blocks", "heads", "outputs", "stages")
SIZES = (*REPEATED, "size", "dim", "dims", "channels", "width", "embeddings", "features")
LONGEST_REASON = 300  # characters
WRONG_KINDS = (  # what libraries raise for files that are not what they seem
    AttributeError, IndexError, KeyError, OverflowError, RecursionError, SafetensorError, StrictDataclassError,
    TypeError, ValueError, ZeroDivisionError,
)  # fmt: skip


@contextmanager
def one_error(source: Any) -> Iterator[None]:
    """Turns errors of any kind, which files at `source` lead to, into a ValueError or an OSError of one line."""
    try:
        yield
    except BaseException as error:
        wrong = isinstance(error, (*WRONG_KINDS, OSError)) or type(error) is Exception  # by tokenizers
        if not wrong and type(error).__name__ != "PanicException":  # also by tokenizers, and no Exception at all
            raise
        text = str(error)
        if type(error) is ValueError or isinstance(error, OSError):
            if text.isprintable() and 0 < len(text) < 4 * LONGEST_REASON:
                raise
        kind = OSError if isinstance(error, OSError) else ValueError
        reason = "".join(letter for letter in " ".join(text.split()) if letter.isprintable())[:LONGEST_REASON]
        raise kind(f"{source}: its files cannot be used ({type(error).__name__}: {reason})") from error


class CheckedLoadingMixin:
    """`from_pretrained` of what is no model: whatever is wrong with the files is one error of one line."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load as transformers does.

        Raises:
            ValueError, OSError: there are no such files, or they cannot be used.
        """
        with one_error(pretrained_model_name_or_path):
            return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)  # type: ignore[misc]


class BoundedConfigMixin(CheckedLoadingMixin):
    """Checks what a file gives as a configuration before anything is built from it."""

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Build a configuration as `PreTrainedConfig.from_dict` does.

        Raises:
            ValueError: values are of the wrong type, do not fit together, or no file can hold such a model.
        """
        with one_error("config.json"):
            _refuse_impossible(config_dict)
            return super().from_dict(config_dict, **kwargs)  # type: ignore[misc]


def _refuse_impossible(config: Any, name: str = "") -> None:
    """Refuse a configuration of negative sizes, or of more layers and the like than any file can hold."""
    if isinstance(config, dict):
        for key, value in config.items():
            _refuse_impossible(value, f"{name}.{key}" if name else str(key))
    elif isinstance(config, list):
        for value in config:
            _refuse_impossible(value, name)
    elif isinstance(config, int) and config < 0 and name.endswith(SIZES):
        raise ValueError(f"{name} is {config}, expected 0 at the least")
    elif isinstance(config, int) and name.endswith(REPEATED) and config > MOST_REPEATS:
        raise ValueError(f"{name} is {config}, expected {MOST_REPEATS} at the most")


def refuse_pickles(files: Iterable[str], use_safetensors: bool | None) -> None:
    """Refuse pickled weights, which are not opened yet, unless `use_safetensors` is False."""
    pickles = [file for file in files if not str(file).endswith(".safetensors")]
    if pickles and use_safetensors is not False:
        raise ValueError(
            f"'{pickles[0]}' is pickled, and pickles can run code: save it as safetensors, "
            "or allow to read its tensors alone with use_safetensors=False"
        )


def refuse_outer_files(source: Path, subfolder: str) -> None:
    """Refuse weights and settings that lie outside of a folder.

    Raises:
        ValueError: an index names a file elsewhere, or a file is a link out of the folder and the Hub's cache.
    """
    folder = source / subfolder
    for index in [*folder.glob("model.safetensors.index*.json"), *folder.glob("pytorch_model.bin.index*.json")]:
        for shard in _shards(index):
            if not isinstance(shard, str) or Path(shard).name != shard or shard == "..":
                raise ValueError(f"'{index}' points outside its folder, to {str(shard)[:80]!r}: refused")
    homes = [source.resolve()]
    if homes[0].parent.name == "snapshots":  # the Hub's cache: a snapshot is links to blobs
        homes.append(homes[0].parents[1] / "blobs")
    for file in [*folder.glob("*.safetensors"), *folder.glob("*.bin"), *folder.glob("*.json")]:
        if not any(file.resolve().is_relative_to(home) for home in homes):
            raise ValueError(f"'{file}' is a link out of its folder: refused, put the file itself there")


def _shards(index: Path) -> Iterable[Any]:
    try:
        return list(json.loads(index.read_bytes())["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"'{index}' is not an index of shards ({type(error).__name__}): download it again") from error


def refuse_bad_headers(model: Any, files: list[str], *, any_size: bool) -> None:
    """Compare what the files say of their tensors with a model on the meta device, before anything is allocated."""
    expected, held = model.state_dict(), 0
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                slices = {name: file.get_slice(name) for name in file.keys()}
                kinds = {name: (part.get_dtype(), part.get_shape()) for name, part in slices.items()}
        except SafetensorError as error:
            raise ValueError(f"'{path}' is not a whole safetensors file ({error}): download it again") from error
        for name, (dtype, shape) in kinds.items():
            held += math.prod(shape)
            known = name in expected and expected[name].is_floating_point()
            if known and not dtype.startswith(("F", "BF", "C")):
                raise ValueError(f"'{path}': weight {name} is {dtype}, not floating point: the checkpoint is damaged")
    wanted = sum(tensor.numel() for tensor in expected.values())
    if not any_size and wanted > 2 * held + SMALL:
        raise ValueError(
            f"'{Path(files[0]).parent}': its config.json describes a model of {wanted} numbers, "
            f"its weights are {held}: they do not belong together"
        )
