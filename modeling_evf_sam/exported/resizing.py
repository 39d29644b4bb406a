"""torch's `interpolate` in numpy: bilinear and bicubic, without antialiasing and with `align_corners=False`."""

from collections.abc import Callable

import numpy as np

CUBIC = np.float32(-0.75)  # the parameter of the cubic kernel, as in torch


def bilinear(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(..., H, W) float32 -> (..., *size)."""
    return _resize(_resize(images, size[0], -2, _linear_taps), size[1], -1, _linear_taps)


def bicubic(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(..., H, W) float32 -> (..., *size), which may leave the range of the values."""
    return _resize(_resize(images, size[0], -2, _cubic_taps), size[1], -1, _cubic_taps)


Taps = Callable[[int, int], tuple[np.ndarray, np.ndarray]]


def _resize(images: np.ndarray, length: int, axis: int, taps: Taps) -> np.ndarray:
    """One axis of the images, as sums of a few of its values."""
    places, weights = taps(images.shape[axis], length)  # both (taps, length)
    resized = np.zeros((), dtype=np.float32)
    for place, weight in zip(places, weights, strict=True):
        shape = [1] * images.ndim
        shape[axis] = length
        resized = resized + images.take(place, axis) * weight.reshape(shape)
    return resized


def _centres(old: int, new: int) -> np.ndarray:
    """Where the centres of new pixels lie between old ones: rounded to float32 once, as torch's fused product does."""
    scale = np.float64(np.float32(old) / np.float32(new))
    return (scale * (np.arange(new) + 0.5) - 0.5).astype(np.float32)


def _linear_taps(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    centres = _centres(old, new).clip(0)
    first = centres.astype(np.int64)
    share = centres - first.astype(np.float32)
    return np.stack([first, first + 1]).clip(0, old - 1), np.stack([1 - share, share])


def _cubic_taps(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    centres = _centres(old, new)
    second = np.floor(centres)
    x = centres - second
    weights = [_far(x + 1), _near(x), _near(1 - x), _far(2 - x)]
    places = second.astype(np.int64) + np.arange(-1, 3)[:, None]
    return places.clip(0, old - 1), np.stack(weights)


def _near(x: np.ndarray) -> np.ndarray:
    """The cubic kernel at distances up to 1."""
    return ((CUBIC + 2) * x - (CUBIC + 3)) * x * x + 1


def _far(x: np.ndarray) -> np.ndarray:
    """The cubic kernel at distances from 1 to 2."""
    return ((CUBIC * x - 5 * CUBIC) * x + 8 * CUBIC) * x - 4 * CUBIC
