"""What torch and numpy call differently, so that the answers of models and of exported graphs are treated alike.

Nothing here imports torch where it is not in use.
"""

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np


def library(values: Any) -> Any:
    """The module of an array's functions: numpy, or torch."""
    return np if isinstance(values, np.ndarray) else sys.modules["torch"]


def as_numpy(values: Any) -> Any:
    """A tensor as an array on the CPU; anything else as it is."""
    if not hasattr(values, "cpu"):
        return values
    return (values.float() if values.is_floating_point() else values).cpu().numpy()


def without_gradients() -> AbstractContextManager:
    """`torch.no_grad()`; nothing where torch is not in use."""
    torch = sys.modules.get("torch")
    return nullcontext() if torch is None else torch.no_grad()
