"""Puts objects on a photo: which ones, how large, and where, before any paint."""

import numpy as np
from PIL import Image, ImageDraw

from modeling_evf_sam.rendered_scenes.scene import COLOURS, SHAPES, Arrangement, SceneObject, pick

OBJECT_COUNTS = (2, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6)
SMALL_EXTENT, LARGE_EXTENT = (0.13, 0.20), (0.28, 0.42)  # of the photo's shorter side
MIN_SIZE_RATIO = 1.6  # between any large and any small object of one scene
MIN_VISIBLE_SHARE, MIN_VISIBLE_PIXELS = 0.65, 40


def arrange(rng: np.random.Generator) -> Arrangement:
    """Draws the photo's size and puts 2-6 objects on it."""
    while True:
        arrangement = _try_to_arrange(rng)
        if len(arrangement.objects) >= 2:
            return arrangement


def _try_to_arrange(rng: np.random.Generator) -> Arrangement:
    height, width = _photo_size(rng)
    flat = bool(rng.random() < 0.3)
    overlap, outlined, rotated = rng.random(3) < (0.3, 0.2, 0.0 if flat else 0.4)
    shapes, colours = _palette(rng)
    wanted = pick(rng, OBJECT_COUNTS)
    extents = _extent_ranges(rng, min(height, width))
    placer = _Placer(height, width)
    for _ in range(wanted):
        shape, colour = pick(rng, shapes), pick(rng, colours)
        size = "large" if rng.random() < (0.5 if wanted < 5 else 0.35) else "small"
        extent = int(rng.integers(extents[size][0], extents[size][1] + 1))
        angle = float(rng.uniform(-20, 20)) if rotated else 0.0
        stencil = _stencil(rng, shape, extent, angle, outline=1 + extent // 30 if outlined else 0)
        placer.place(rng, stencil, (shape, colour, size), overlap=bool(overlap))
    return Arrangement(
        objects=placer.objects(), object_map=placer.object_map, outline_map=placer.outline_map, flat=flat
    )


def _photo_size(rng: np.random.Generator) -> tuple[int, int]:
    longer = int(rng.integers(112, 193) if rng.random() < 0.85 else rng.integers(96, 257))
    if rng.random() < 0.5:
        return longer, longer
    shorter = max(96, round(longer / rng.uniform(1.0, 1.5)))
    return (longer, shorter) if rng.random() < 0.5 else (shorter, longer)


def _palette(rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Most scenes repeat 2-3 shapes and 2-3 colours, so that a single word does not tell their objects apart."""
    shapes, colours = list(rng.permutation(SHAPES)), list(rng.permutation(tuple(COLOURS)))
    if rng.random() < 0.7:
        shapes, colours = shapes[: int(rng.integers(2, 4))], colours[: int(rng.integers(2, 4))]
    return [str(shape) for shape in shapes], [str(colour) for colour in colours]


def _extent_ranges(rng: np.random.Generator, side: int) -> dict[str, tuple[int, int]]:
    largest_small = rng.uniform(0.15, SMALL_EXTENT[1])
    smallest_large = max(LARGE_EXTENT[0], MIN_SIZE_RATIO * largest_small)
    return {
        "small": (int(np.ceil(SMALL_EXTENT[0] * side)), int(largest_small * side)),
        "large": (int(np.ceil(smallest_large * side)), int(LARGE_EXTENT[1] * side)),
    }


def _stencil(rng: np.random.Generator, shape: str, extent: int, angle: float, *, outline: int) -> np.ndarray:
    """Draws one object on its own: (h, w) uint8, max(h, w) = extent; 0 outside, 255 inside, 128 on the outline."""
    edge = {"fill": 255, "outline": 128, "width": outline} if outline else {"fill": 255}
    if shape == "circle":
        picture = Image.new("L", (extent, extent))
        ImageDraw.Draw(picture).ellipse((0, 0, extent - 1, extent - 1), **edge)
        return np.asarray(picture)
    points = _polygon(rng, shape, np.deg2rad(angle))
    points -= points.min(axis=0)
    points = np.rint(points * ((extent - 1) / points.max())).astype(int)
    picture = Image.new("L", tuple((points.max(axis=0) + 1).tolist()))
    ImageDraw.Draw(picture).polygon([(x, y) for x, y in points.tolist()], **edge)
    return np.asarray(picture)


def _polygon(rng: np.random.Generator, shape: str, angle: float) -> np.ndarray:
    """Returns the corners (N, 2) of a shape, (x, y) with y downwards, turned by an angle."""
    if shape == "square":
        points = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])
    elif shape == "triangle":
        points = np.array([(0.0, -rng.uniform(0.73, 1.0)), (1.0, 1.0), (-1.0, 1.0)])
    else:
        turns = np.arange(10) * (np.pi / 5) - np.pi / 2
        radii = np.where(np.arange(10) % 2, rng.uniform(0.38, 0.5), 1.0)
        points = np.stack([np.cos(turns) * radii, np.sin(turns) * radii], axis=1)
    cos, sin = np.cos(angle), np.sin(angle)
    return points @ np.array([(cos, sin), (-sin, cos)])


class _Placer:
    """Puts stencils on a photo one after the other and keeps every earlier one visible enough."""

    def __init__(self, height: int, width: int) -> None:
        self.object_map = np.full((height, width), -1, np.int16)
        self.outline_map = np.zeros((height, width), bool)
        self.placed: list[tuple[tuple[str, str, str], int, int, np.ndarray]] = []
        self.spare = np.zeros(0, int)  # how many more pixels of each object may be hidden

    def place(
        self, rng: np.random.Generator, stencil: np.ndarray, names: tuple[str, str, str], *, overlap: bool
    ) -> None:
        """Tries some places for (shape, colour, size); an object that fits nowhere is left out."""
        height, width = stencil.shape
        inside = stencil > 0
        area = int(inside.sum())
        for _ in range(30 if area >= MIN_VISIBLE_PIXELS else 0):
            top = 1 + int(rng.random() * (self.object_map.shape[0] - height - 1))
            left = 1 + int(rng.random() * (self.object_map.shape[1] - width - 1))
            touched = self._touched(left, top, width, height)
            if touched and (not overlap or names[1] in touched):  # two of one colour would melt into one another
                continue
            window = np.s_[top : top + height, left : left + width]
            hidden = np.bincount(self.object_map[window][inside] + 1, minlength=len(self.placed) + 1)[1:]
            if (hidden <= self.spare).all():
                break
        else:
            return
        self.object_map[window][inside] = len(self.placed)
        self.outline_map[window][inside] = stencil[inside] == 128
        self.placed.append((names, left, top, stencil))
        self.spare = np.append(
            self.spare - hidden, area - int(max(np.ceil(MIN_VISIBLE_SHARE * area), MIN_VISIBLE_PIXELS))
        )

    def _touched(self, left: int, top: int, width: int, height: int) -> set[str]:
        """Returns the colours of the objects whose boxes come within two pixels of this box."""
        return {
            names[1]
            for names, x, y, other in self.placed
            if x < left + width + 2 and left < x + other.shape[1] + 2
            if y < top + height + 2 and top < y + other.shape[0] + 2
        }

    def objects(self) -> list[SceneObject]:
        """Returns the placed objects with their visible pixels."""
        return [
            SceneObject(
                shape=shape,
                colour=colour,
                size=size,
                center=(left + (stencil.shape[1] - 1) / 2, top + (stencil.shape[0] - 1) / 2),
                extent=max(stencil.shape),
                mask=self.object_map == index,
            )
            for index, ((shape, colour, size), left, top, stencil) in enumerate(self.placed)
        ]
