"""The number format for inference."""

import os

import torch


def default_dtype(device: torch.device | str) -> torch.dtype:
    """The fastest format that a device computes in hardware and that holds the model's numbers.

    Returns:
        bfloat16 on CUDA devices of compute capability 8.0 or more and on CPUs with AVX-512 BF16 or AMX, float32
        elsewhere. Never float16, which is slow on CPUs and overflows in large models.
    """
    if chosen := os.environ.get("EVF_SAM_DTYPE"):
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[chosen]
    device = torch.device(device)
    if device.type == "cuda":
        fast = torch.cuda.get_device_capability(device) >= (8, 0)
    elif device.type == "cpu":
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    else:
        fast = False
    return torch.bfloat16 if fast else torch.float32
