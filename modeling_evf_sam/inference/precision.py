"""The number format for inference."""

import os

import torch

VARIABLE = "EVF_SAM_DTYPE"
CHOICES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def default_dtype(device: torch.device | str) -> torch.dtype:
    """The format that models are loaded in where none is asked for.

    Returns:
        What the environment variable EVF_SAM_DTYPE names, float32 or bfloat16. Without it the fastest format that the
        device computes in hardware and that holds the model's numbers: bfloat16 on CUDA devices of compute capability
        8.0 or more and on CPUs with AVX-512 BF16 or AMX, float32 elsewhere. Never float16, which is slow on CPUs and
        overflows in large models.

    Raises:
        ValueError: EVF_SAM_DTYPE is something else.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen:
        if chosen not in CHOICES:
            raise ValueError(f"{VARIABLE} is '{chosen}': set it to {' or '.join(CHOICES)}, or unset it")
        return CHOICES[chosen]
    device = torch.device(device)
    if device.type == "cuda":
        fast = torch.cuda.get_device_capability(device) >= (8, 0)
    elif device.type == "cpu":
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    else:
        fast = False
    return torch.bfloat16 if fast else torch.float32
