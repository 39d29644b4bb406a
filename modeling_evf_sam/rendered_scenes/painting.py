"""Paint for rendered scenes: tones of the objects, backgrounds that they stand out from, camera effects."""

from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image

from modeling_evf_sam.rendered_scenes.scene import COLOURS, Arrangement, pick

PAPER_GREYS = (255, 255, 255, 245, 211, 192, 0, 0)
MIN_CONTRAST = 75  # RGB distance between an object and the background
NOISE_SIDE = 384  # at least the longest side of a photo


def paint(rng: np.random.Generator, arrangement: Arrangement) -> np.ndarray:
    """Paints an arrangement: (H, W, 3) uint8, RGB."""
    inks = _inks(rng, [item.colour for item in arrangement.objects], flat=arrangement.flat)
    photo = _background(rng, inks, arrangement)  # (3, H, W): numpy is many times faster on planes than on pixels
    pixels = np.flatnonzero(arrangement.object_map >= 0)
    photo.reshape(3, -1)[:, pixels] = inks.T[:, arrangement.object_map.ravel()[pixels]]
    photo[:, arrangement.outline_map] *= 0.35
    if not arrangement.flat:
        photo = _weather(rng, photo)
    return np.ascontiguousarray(photo.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def _inks(rng: np.random.Generator, colours: list[str], *, flat: bool) -> np.ndarray:
    """Returns one RGB colour for each object, (N, 3) float32; most scenes keep to one tone for each colour name."""
    tones = {colour: pick(rng, COLOURS[colour]) for colour in COLOURS}
    own = rng.random() < 0.3
    inks = np.array([pick(rng, COLOURS[colour]) if own else tones[colour] for colour in colours], np.float32)
    return inks if flat else np.clip(inks + rng.uniform(-12, 12, inks.shape), 0, 255).astype(np.float32)


def _background(rng: np.random.Generator, inks: np.ndarray, arrangement: Arrangement) -> np.ndarray:
    """Paints a plain, graded or patterned background, (3, H, W) float32, that every ink stands out from."""
    height, width = arrangement.object_map.shape
    present = {item.colour for item in arrangement.objects}
    plain = arrangement.flat or rng.random() < 0.29
    while True:
        first = _plain_colours(rng, present) if plain else _muted_colours(rng)
        second = first if plain else _muted_colours(rng)
        between = np.stack([first, (first + second) / 2, second])  # (3, candidates, 3)
        contrast = np.linalg.norm(between[:, :, None] - inks, axis=-1).min(axis=(0, 2))
        best = int(np.argmax(contrast >= MIN_CONTRAST))
        if contrast[best] >= MIN_CONTRAST:
            break
    base, change = first[best, :, None, None], (second - first)[best, :, None, None]
    if plain:
        return np.tile(base, (1, height, width))
    y, x = np.ogrid[:height, :width]
    return base + change * pick(rng, PATTERNS)(rng, x.astype(np.float32), y.astype(np.float32)).astype(np.float32)


def _plain_colours(rng: np.random.Generator, present: set[str]) -> np.ndarray:
    """Candidates (4, 3) of one family: paper and screen greys, any grey, a vivid colour that no object has, muted."""
    kind = rng.random()
    absent = [colour for colour in COLOURS if colour not in present]
    if kind < 0.5:
        return np.repeat(rng.permutation(PAPER_GREYS)[:4, None], 3, axis=1).astype(np.float32)
    if kind < 0.65:
        return np.repeat(rng.integers(256, size=(4, 1)), 3, axis=1).astype(np.float32)
    if kind < 0.75 and absent:
        return np.array([pick(rng, COLOURS[pick(rng, absent)]) for _ in range(4)], np.float32)
    return _muted_colours(rng)


def _muted_colours(rng: np.random.Generator) -> np.ndarray:
    """Candidates (12, 3) of low saturation: no channel is below 70 % of the brightest possible."""
    return (rng.integers(256, size=(12, 1)) * rng.uniform(0.7, 1.0, (12, 3))).astype(np.float32)


def _linear(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    slope = _across(rng, x, y)
    return (slope - slope.min()) / (slope.max() - slope.min())


def _radial(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    squared = (x - rng.random() * x.size) ** 2 + (y - rng.random() * y.size) ** 2
    return np.sqrt(squared / squared.max())


def _stripes(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.sin(_across(rng, x, y) * (2 * np.pi / rng.uniform(6, 40))) > rng.uniform(-0.5, 0.5)


def _waves(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.sin(_across(rng, x, y) * (2 * np.pi / rng.uniform(10, 60)))


def _checker(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    cell = rng.uniform(6, 30)
    return (x // cell + y // cell) % 2


def _blotches(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    cells = rng.integers(3, 16, 2)
    coarse = Image.fromarray(rng.random((cells[0], cells[1]), np.float32))
    return np.clip(np.asarray(coarse.resize((x.size, y.size), Image.Resampling.BICUBIC)), 0, 1)


def _across(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance of every pixel along a random direction, (H, W)."""
    angle = float(rng.uniform(0, 2 * np.pi)) if rng.random() < 0.6 else float(rng.integers(4) * np.pi / 2)
    return x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))


Pattern = Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray]
# (rng, x (1, W), y (H, 1)) -> (H, W), the share of the second background colour; gradients as often as textures
PATTERNS: tuple[Pattern, ...] = (_linear, _linear, _radial, _stripes, _waves, _checker, _blotches, _blotches)


def _weather(rng: np.random.Generator, photo: np.ndarray) -> np.ndarray:
    """Adds what a camera adds, each at times: brightness, uneven light, blur, noise."""
    height, width = photo.shape[1:]
    shaded, lit, blurred, noisy = rng.random(4) < (0.4, 0.3, 0.4, 0.45)
    if shaded:
        photo = photo * np.float32(rng.uniform(0.85, 1.1))
    if lit:
        y, x = np.ogrid[:height, :width]
        light = _linear(rng, x.astype(np.float32), y.astype(np.float32))
        photo = photo * (1.1 - np.float32(rng.uniform(0.1, 0.3)) * light)
    if blurred:
        photo = _blur(photo, np.float32(rng.uniform(0.05, 0.33)))
    if noisy:
        top, left = rng.integers(NOISE_SIDE - height + 1), rng.integers(NOISE_SIDE - width + 1)
        photo = photo + np.float32(rng.uniform(2, 12)) * _noise_bank()[:, top : top + height, left : left + width]
    return photo


def _blur(photo: np.ndarray, share: np.float32) -> np.ndarray:
    """Gives each pixel (3, H, W) that share of each of its neighbours, along the rows and then along the columns."""
    padded = np.pad(photo, ((0, 0), (1, 1), (1, 1)), mode="edge")
    padded = (1 - 2 * share) * padded[:, 1:-1] + share * (padded[:, :-2] + padded[:, 2:])
    return (1 - 2 * share) * padded[..., 1:-1] + share * (padded[..., :-2] + padded[..., 2:])


@cache
def _noise_bank() -> np.ndarray:
    """Unit gaussian noise (3, NOISE_SIDE, NOISE_SIDE), read at random offsets: drawing it anew would cost the most."""
    return np.random.default_rng(0).standard_normal((3, NOISE_SIDE, NOISE_SIDE), np.float32)
