"""A checkpoint, or what was exported from one, by what is to run it."""

from typing import TYPE_CHECKING

from modeling_evf_sam.exported.loading import load_exported

if TYPE_CHECKING:
    from modeling_evf_sam.exported.model import ExportedModel
    from modeling_evf_sam.exported.processor import ExportedProcessor
    from modeling_evf_sam.modeling_evf_sam import EvfSamModel
    from modeling_evf_sam.processing_evf_sam import EvfSamProcessor

    AnyModel = EvfSamModel | ExportedModel
    AnyProcessor = EvfSamProcessor | ExportedProcessor


def load(
    source: str, device: str | None = None, dtype: str | None = None, backend: str = "torch"
) -> "tuple[AnyModel, AnyProcessor]":
    """Loads what a backend runs.

    Args:
        source: a checkpoint, as `load_model` takes it, for "torch"; otherwise a folder that `evf-sam export` wrote.
        device: a torch device, for "torch" alone.
        dtype: as `load_model` or `load_exported` takes it.
        backend: "torch", "onnxruntime" or "openvino".

    Raises:
        ValueError: no such checkpoint or folder, or a backend, device or dtype that cannot be used.
        OSError: files of the checkpoint are missing.
    """
    if backend == "torch":
        from modeling_evf_sam.inference.loading import load_model  # needs torch

        return load_model(source, device, dtype)
    if device is not None:
        raise ValueError(f"device {device} is one of torch: leave --device out, {backend} chooses its own")
    return load_exported(source, backend, dtype)
