"""A checkpoint and a device by name."""

from collections.abc import Iterator
from contextlib import contextmanager

import huggingface_hub
import torch
import transformers

from modeling_evf_sam.configuration_evf_sam import EvfSamConfig
from modeling_evf_sam.inference.precision import default_dtype
from modeling_evf_sam.inference.quantization import quantize
from modeling_evf_sam.modeling_evf_sam import EvfSamModel
from modeling_evf_sam.originals.downloads import find_config
from modeling_evf_sam.originals.tokenizer import refuse_long_vocabulary
from modeling_evf_sam.processing_evf_sam import EvfSamProcessor

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.float32}  # as it is loaded


def load_model(
    source: str, device: str | None = None, dtype: str | None = None, *, for_films: bool = False
) -> tuple[EvfSamModel, EvfSamProcessor]:
    """Loads a checkpoint for inference, without transformers' own messages.

    Args:
        source: a folder, or a Hub id.
        device: a torch device; None takes a GPU where there is one.
        dtype: "float32", "bfloat16" or, on a CPU, "int8"; None takes what `default_dtype` does.
        for_films: with SAM-2's memory where the SAM is SAM-2, as an `EvfSamVideoModel`.

    Raises:
        ValueError: no such checkpoint, a damaged one, or a device or dtype that cannot be used.
        OSError: files of the checkpoint are missing.
    """
    target = find_device("cpu" if dtype == "int8" and device is None else device)
    if dtype not in (None, *DTYPES):
        raise ValueError(f"dtype '{dtype}' is not available: use one of {', '.join(DTYPES)}")
    if dtype == "int8" and target.type != "cpu":
        raise ValueError(f"int8 is for a CPU, not for {target}: leave --device out, or choose another dtype")
    loaded_in = DTYPES[dtype] if dtype else default_dtype(target)
    with _quiet():
        check_source(source)
        processor = EvfSamProcessor.from_pretrained(source)
        model = (_film_class(source) if for_films else EvfSamModel).from_pretrained(source, dtype=loaded_in)
    refuse_long_vocabulary(processor.tokenizer, model.config)
    model = model.to(target).eval()
    return quantize(model) if dtype == "int8" else model, processor


def _film_class(source: str) -> type[EvfSamModel]:
    if EvfSamConfig.from_pretrained(source).sam_config.model_type != "sam2":
        return EvfSamModel
    from modeling_evf_sam.modeling_evf_sam_video import EvfSamVideoModel  # slow to import

    return EvfSamVideoModel


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the libraries, and lets them speak again."""
    loggers = (transformers.logging, huggingface_hub.logging)
    before = [logger.get_verbosity() for logger in loggers]
    bars = transformers.logging.is_progress_bar_enabled()
    for logger in loggers:
        logger.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        for logger, verbosity in zip(loggers, before, strict=True):
            logger.set_verbosity(verbosity)
        if bars:
            transformers.logging.enable_progress_bar()


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
