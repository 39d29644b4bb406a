"""What a scene is: objects of a few shapes and colours in their places, before and after any paint."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

T = TypeVar("T")

SHAPES = ("circle", "square", "triangle", "star")
# name -> its tones, RGB
COLOURS = {
    "red": ((255, 0, 0), (220, 20, 20), (200, 0, 0), (178, 34, 34)),
    "green": ((0, 255, 0), (0, 128, 0), (0, 170, 0), (34, 139, 34), (50, 205, 50)),
    "blue": ((0, 0, 255), (30, 60, 220), (0, 0, 200), (65, 105, 225), (20, 90, 250)),
    "yellow": ((255, 255, 0), (250, 230, 20), (255, 220, 0), (240, 240, 40)),
    "orange": ((255, 165, 0), (255, 128, 0), (255, 140, 0), (245, 130, 20)),
    "purple": ((128, 0, 128), (160, 32, 240), (148, 0, 211), (128, 0, 200), (140, 40, 170)),
    "pink": ((255, 192, 203), (255, 120, 185), (255, 150, 190), (255, 182, 193)),
    "cyan": ((0, 255, 255), (0, 206, 209), (40, 220, 230), (64, 224, 208)),
}


@dataclass(kw_only=True)
class SceneObject:
    """One object of a scene.

    Attributes:
        shape: one of `SHAPES`.
        colour: one of `COLOURS`.
        size: "small" or "large".
        center: (x, y) of its bounding box, in pixels, as if nothing hid it.
        extent: the longer side of that box, in pixels.
        mask: (H, W) bool, its visible pixels.
    """

    shape: str
    colour: str
    size: str
    center: tuple[float, float]
    extent: int
    mask: np.ndarray


@dataclass(kw_only=True)
class Scene:
    """A photo with everything that is known about it.

    Attributes:
        photo: (H, W, 3) uint8, RGB.
        objects: in the order of painting: a later one hides an earlier one.
        object_map: (H, W) int16, the index of the visible object, -1 for the background.
    """

    photo: np.ndarray
    objects: list[SceneObject]
    object_map: np.ndarray


@dataclass(kw_only=True)
class Arrangement:
    """Objects in their places, before any paint.

    Attributes:
        objects: as in `Scene`.
        object_map: as in `Scene`.
        outline_map: (H, W) bool, the visible outline pixels, a part of the objects.
        flat: to be painted in plain colours with hard edges, as a drawing program would.
    """

    objects: list[SceneObject]
    object_map: np.ndarray
    outline_map: np.ndarray
    flat: bool


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """Draws one option; many times faster than `Generator.choice` on a short sequence."""
    return options[int(rng.random() * len(options))]
