"""Reading weights from disk: safe, lazy, and with one line of explanation where a file is not what it seems.

Pickled files can run code when they are opened, so they are read only where the caller allows it, and then only as far
as they hold tensors. Tensors are mapped from the file, not copied: memory fills as they are used.
"""

import json
import re
import zipfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from modeling_evf_sam.pretrained_evf_sam import is_finite

HUB_NAMES = ("model.safetensors.index.json", "model.safetensors", "pytorch_model.bin.index.json", "pytorch_model.bin")
PICKLES = (".bin", ".pt", ".pth")
WRAPPERS = ("model", "module", "state_dict")  # Meta and Microsoft, DeepSpeed, Lightning


def read_tensors(path: str | Path, allow_pickle: bool = False) -> dict[str, Tensor]:
    """Read the named tensors of a checkpoint.

    Args:
        path: a .safetensors, .pth, .pt or .bin file, an index of shards (.index.json), or a folder with one of these.
        allow_pickle: also open .pth, .pt and .bin files, with `weights_only`. Safetensors come first in a folder.

    Returns:
        name -> tensor on the CPU, of whatever float type the file has; "model", "module" and "state_dict" wrappers
        are taken off.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: it cannot be read safely and wholly, or holds anything but floating-point tensors.
    """
    path = Path(path)
    if path.is_dir():
        path = find_weights(path, allow_pickle)
    if not path.is_file():
        raise FileNotFoundError(f"weights '{path}' do not exist: check the path")
    if path.name.endswith(".index.json"):
        return _read_shards(path, allow_pickle)
    return _read_file(path, allow_pickle)


def read_source(path: Path, *, use_pickle: bool = False) -> tuple[dict[str, Tensor], list[Path]]:
    """The tensors of a file or folder, mapped into memory, and the files that they lie in.

    A pickle is read where `path` is that file itself, or `use_pickle` is true.
    """
    allowed = use_pickle or path.suffix in PICKLES
    tensors = read_tensors(path, allow_pickle=allowed)
    if path.is_dir():
        path = find_weights(path, allowed)
    if not path.name.endswith(".index.json"):
        return tensors, [path]
    shards = set(json.loads(path.read_text())["weight_map"].values())
    return tensors, [path, *(path.parent / shard for shard in sorted(shards))]


def refuse_not_finite(tensors: Mapping[str, Tensor]) -> None:
    """Check that no tensor holds NaN or an infinity, one at a time.

    Raises:
        ValueError: some do; the message names them.
    """
    bad = [name for name, tensor in tensors.items() if not is_finite(tensor)]
    if bad:
        raise ValueError(f"{len(bad)} tensors are not finite ({listed(bad)}): the checkpoint is damaged")


def find_weights(folder: Path, allow_pickle: bool) -> Path:
    """The file of a folder to read: by its Hub name, or the only one."""
    for name in HUB_NAMES if allow_pickle else HUB_NAMES[:2]:
        if (folder / name).is_file():
            return folder / name
    safe = sorted(folder.glob("*.safetensors"))
    pickled = sorted(file for file in folder.iterdir() if file.suffix in PICKLES)
    found = safe or (pickled if allow_pickle else [])
    if len(found) == 1:
        return found[0]
    if found:
        names = [file.name for file in found]
        raise ValueError(f"'{folder}' has {len(found)} weight files and no index ({listed(names)}): name one of them")
    if pickled:
        raise _pickle_refused(pickled[0])
    raise ValueError(f"'{folder}' has no weights: expected {', '.join(HUB_NAMES)}, or one .safetensors file")


def _read_shards(index: Path, allow_pickle: bool) -> dict[str, Tensor]:
    """All tensors that an index lists; its shards must lie beside it."""
    try:
        weight_map = json.loads(index.read_text())["weight_map"]
        names_of = defaultdict(list)
        for name, shard in weight_map.items():
            names_of[shard].append(name)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"'{index}' is not an index of shards ({error!r}): download it again") from error
    for shard in names_of:
        if not isinstance(shard, str) or Path(shard).name != shard:
            raise ValueError(f"'{index}' points outside its folder, to {shard!r}: refused")
    absent = [shard for shard in names_of if not (index.parent / shard).is_file()]
    if absent:
        raise ValueError(f"'{index}' lists {len(absent)} shards that are not there ({listed(absent)}): download them")

    tensors: dict[str, Tensor] = {}
    for shard, names in names_of.items():
        content = _read_file(index.parent / shard, allow_pickle)
        lacking = [name for name in names if name not in content]
        if lacking:
            raise ValueError(f"shard '{index.parent / shard}' lacks {len(lacking)} tensors ({listed(lacking)})")
        tensors |= {name: content[name] for name in names}
    return tensors


def _read_file(path: Path, allow_pickle: bool) -> dict[str, Tensor]:
    _refuse_impostors(path)
    content: Mapping[Any, Any]
    if path.suffix == ".safetensors":
        content = _read_safetensors(path)
    elif path.suffix not in PICKLES:
        raise ValueError(f"'{path}' is no weight file: expected .safetensors, {', '.join(PICKLES)}, or .index.json")
    elif allow_pickle:
        content = _read_pickle(path)
    else:
        raise _pickle_refused(path)

    strangers = [name for name, value in content.items() if not isinstance(name, str) or not _is_weight(value)]
    if strangers or not content:
        raise ValueError(f"'{path}' must hold floating-point tensors alone, but has {listed(strangers) or 'nothing'}")
    return dict(content)


def _is_weight(value: Any) -> bool:
    # Complex numbers are rotary tables, which some files carry along.
    return isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())


def _refuse_impostors(path: Path) -> None:
    """Find what a failed download leaves in the place of weights."""
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"version https://git-lfs"):
        raise ValueError(f"'{path}' is a git-LFS pointer, not the weights: run `git lfs pull`, or download the file")
    if re.match(rb"\s*<(!doctype|html|head|\?xml)", start, re.IGNORECASE):
        raise ValueError(f"'{path}' is a web page, not weights: download the file itself")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise ValueError(f"'{path}' is not a whole safetensors file ({error}): download it again") from error


def _read_pickle(path: Path) -> Mapping[Any, Any]:
    try:  # files from before PyTorch 1.6 are no zip archives, and cannot be mapped
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # damaged files raise errors of many types
        code = re.search(r"GLOBAL (\S+)", str(error))
        if code:
            raise ValueError(f"'{path}' holds more than tensors ({code[1]}), which could run code: refused") from error
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"'{path}' is not a whole PyTorch file ({reason}): download it again") from error
    if not isinstance(content, Mapping):
        raise ValueError(f"'{path}' holds a {type(content).__name__}, not named tensors")
    inner = [content[name] for name in WRAPPERS if isinstance(content.get(name), Mapping)]
    return inner[0] if inner else content


def _pickle_refused(path: Path) -> ValueError:
    return ValueError(
        f"'{path}' is pickled, and pickles can run code: give a .safetensors file, "
        "or allow to read its tensors alone (use_safetensors=False in from_pretrained, `evf-sam convert --use-pickle`)"
    )


def listed(names: list[Any]) -> str:
    """The first names of a list, for a message."""
    return ", ".join(map(str, names[:5])) + (", ..." if len(names) > 5 else "")
