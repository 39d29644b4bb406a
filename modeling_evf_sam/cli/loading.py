"""A checkpoint and a device by name."""

import huggingface_hub
import torch
import transformers
from transformers.utils import cached_file

from modeling_evf_sam import EvfSamModel, EvfSamProcessor
from modeling_evf_sam.precision import default_dtype

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load_model(
    source: str, device: str | None = None, dtype: str | None = None
) -> tuple[EvfSamModel, EvfSamProcessor]:
    """Loads a checkpoint for inference, without transformers' own messages.

    Args:
        source: a folder, or a Hub id.
        device: a torch device; None takes a GPU where there is one.
        dtype: "float32" or "bfloat16"; None takes what the device is fast in.

    Raises:
        ValueError: no such checkpoint, a damaged one, or a device or dtype that cannot be used.
        OSError: files of the checkpoint are missing.
    """
    target = find_device(device)
    if dtype not in (None, *DTYPES):
        raise ValueError(f"dtype '{dtype}' is not available: use {' or '.join(DTYPES)}")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    huggingface_hub.logging.set_verbosity_error()
    check_source(source)
    processor = EvfSamProcessor.from_pretrained(source)
    model = EvfSamModel.from_pretrained(source, dtype=DTYPES[dtype] if dtype else default_dtype(target))
    return model.to(target).eval(), processor


def check_source(source: str) -> None:
    """Refuses what is neither a folder with a config.json nor a Hub id in reach."""
    reason = "no such file"
    try:
        if cached_file(source, "config.json") is not None:
            return
    except OSError as error:
        reason = str(error).splitlines()[0]
    raise ValueError(f"model '{source}' is no folder with a config.json and no Hub id in reach ({reason})")


def find_device(name: str | None) -> torch.device:
    """The device of that name; None takes a GPU where there is one."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # a wrong name, or a backend that torch was built without
        reason = str(error).splitlines()[0]
        raise ValueError(f"device '{name}' cannot be used ({reason}): leave --device out, or give cpu") from None
