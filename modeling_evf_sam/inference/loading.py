"""A checkpoint and a device by name."""

import huggingface_hub
import torch
import transformers

from modeling_evf_sam import EvfSamModel, EvfSamProcessor
from modeling_evf_sam.inference.precision import default_dtype
from modeling_evf_sam.inference.quantization import quantize
from modeling_evf_sam.originals.downloads import find_config
from modeling_evf_sam.originals.tokenizer import refuse_long_vocabulary

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.float32}  # as it is loaded


def load_model(
    source: str, device: str | None = None, dtype: str | None = None
) -> tuple[EvfSamModel, EvfSamProcessor]:
    """Loads a checkpoint for inference, without transformers' own messages.

    Args:
        source: a folder, or a Hub id.
        device: a torch device; None takes a GPU where there is one.
        dtype: "float32", "bfloat16" or, on a CPU, "int8"; None takes float32 or bfloat16, as the device is fast.

    Raises:
        ValueError: no such checkpoint, a damaged one, or a device or dtype that cannot be used.
        OSError: files of the checkpoint are missing.
    """
    target = find_device("cpu" if dtype == "int8" and device is None else device)
    if dtype not in (None, *DTYPES):
        raise ValueError(f"dtype '{dtype}' is not available: use one of {', '.join(DTYPES)}")
    if dtype == "int8" and target.type != "cpu":
        raise ValueError(f"int8 is for a CPU, not for {target}: leave --device out, or choose another dtype")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    huggingface_hub.logging.set_verbosity_error()
    check_source(source)
    processor = EvfSamProcessor.from_pretrained(source)
    model = EvfSamModel.from_pretrained(source, dtype=DTYPES[dtype] if dtype else default_dtype(target))
    refuse_long_vocabulary(processor.tokenizer, model.config)
    model = model.to(target).eval()
    return quantize(model) if dtype == "int8" else model, processor


def check_source(source: str) -> None:
    """Refuses what is neither a folder with a config.json nor a Hub id in reach."""
    reason = "no such file"
    try:
        if find_config(source) is not None:
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
