"""A checkpoint and a device by name."""

import huggingface_hub
import torch
import transformers
from transformers.utils import cached_file

from modeling_evf_sam import EvfSamModel, EvfSamProcessor


def load_model(source: str, device: str | None = None) -> tuple[EvfSamModel, EvfSamProcessor]:
    """Loads a checkpoint for inference, without transformers' own messages.

    Args:
        source: a folder, or a Hub id.
        device: a torch device; None takes a GPU where there is one.

    Raises:
        ValueError: no such checkpoint, a damaged one, or a device that this machine does not have.
        OSError: files of the checkpoint are missing.
    """
    target = _find_device(device)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    huggingface_hub.logging.set_verbosity_error()
    _check_source(source)
    processor = EvfSamProcessor.from_pretrained(source)
    return EvfSamModel.from_pretrained(source).to(target).eval(), processor


def _check_source(source: str) -> None:
    reason = "no such file"
    try:
        if cached_file(source, "config.json") is not None:
            return
    except OSError as error:
        reason = str(error).splitlines()[0]
    raise ValueError(f"model '{source}' is no folder with a config.json and no Hub id in reach ({reason})")


def _find_device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # a wrong name, or a backend that torch was built without
        reason = str(error).splitlines()[0]
        raise ValueError(f"device '{name}' cannot be used ({reason}): leave --device out, or give cpu") from None
