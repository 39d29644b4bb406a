"""Linear layers in 8 bits, for inference on a CPU."""

import warnings
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from modeling_evf_sam.modeling_evf_sam import EvfSamModel


def quantize(model: "EvfSamModel") -> "EvfSamModel":
    """Compute the linear layers of both encoders in int8: in a quarter of the memory, and not quite the same.

    With AVX2 it is faster for many sentences, not for one; docs/performance.md has the figures.

    The projector and the mask decoder, which cost little, stay as they are. The model can then neither be trained nor
    saved; for the way back, load it again.

    Args:
        model: in float32, on the CPU; it is changed.

    Returns:
        The model.

    Raises:
        ValueError: it is on another device, or in another precision.
    """
    if model.device.type != "cpu" or model.dtype != torch.float32:
        raise ValueError(f"int8 is for a model in float32 on the CPU, not for one in {model.dtype} on {model.device}")
    quantize_linear_layers(model.sam.vision_encoder)
    quantize_linear_layers(model.multimodal_encoder)
    return model


def quantize_linear_layers(module: nn.Module) -> None:
    """Replace all linear layers in a module by torch's dynamic int8 ones.

    Weights have a scale for each output, activations one that is found anew in each call.
    """
    with warnings.catch_warnings():  # torchao, which torch points to instead, is slow on CPUs outside of compiled code
        warnings.filterwarnings("ignore", message=".*deprecated")
        from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

        quantize_dynamic(module, {nn.Linear: per_channel_dynamic_qconfig}, inplace=True)
