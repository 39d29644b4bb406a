"""Flat scenes drawn with plain Pillow calls, independent of the package's own generator of scenes."""

import math
import random
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

COLOURS = ("red", "green", "blue", "yellow", "orange", "purple")
SHAPES = ("circle", "square", "triangle", "star")
SIZES = {"small": (0.07, 0.09), "large": (0.15, 0.2)}  # half the side of the object, of the photo's shorter side
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}


@dataclass
class Thing:
    """One drawn object: its names, its centre and half its side in pixels, and its mask (H, W)."""

    shape: str
    colour: str
    size: str
    x: float
    y: float
    half: float
    mask: np.ndarray


def draw_shape(draw: ImageDraw.ImageDraw, thing: tuple[str, float, float, float], fill) -> None:
    shape, x, y, half = thing
    box = (x - half, y - half, x + half, y + half)
    if shape == "circle":
        draw.ellipse(box, fill=fill)
    elif shape == "square":
        draw.rectangle(box, fill=fill)
    elif shape == "triangle":
        draw.polygon([(x, y - half), (x + half, y + half), (x - half, y + half)], fill=fill)
    else:
        radii = [half * (1.0 if corner % 2 == 0 else 0.45) for corner in range(10)]
        turns = [math.pi * corner / 5 - math.pi / 2 for corner in range(10)]
        draw.polygon(
            [(x + r * math.cos(t), y + r * math.sin(t)) for r, t in zip(radii, turns, strict=True)], fill=fill
        )


def flat_scene(seed: int, size: tuple[int, int] = (256, 256)) -> tuple[Image.Image, list[Thing]]:
    """A photo of 3-5 objects that do not touch, on one plain background."""
    rng = random.Random(seed)
    width, height = size
    photo = Image.new("RGB", size, rng.choice(["white", "black", "lightgray", "gray"]))
    things: list[Thing] = []
    for _ in range(200):
        if len(things) == 3 + seed % 3:
            break
        shape, colour, kind = rng.choice(SHAPES), rng.choice(COLOURS), rng.choice(list(SIZES))
        half = rng.uniform(*SIZES[kind]) * min(size)
        x, y = rng.uniform(half + 2, width - half - 2), rng.uniform(half + 2, height - half - 2)
        if any(max(abs(x - t.x), abs(y - t.y)) < half + t.half + 6 for t in things):
            continue
        stencil = Image.new("1", size)
        draw_shape(ImageDraw.Draw(stencil), (shape, x, y, half), 1)
        draw_shape(ImageDraw.Draw(photo), (shape, x, y, half), colour)
        things.append(Thing(shape, colour, kind, x, y, half, np.asarray(stencil)))
    return photo, things


def sentences(things: list[Thing], size: tuple[int, int]) -> list[tuple[str, str, bool, np.ndarray]]:
    """(kind, sentence, semantic, mask) for what can be said of a scene without doubt."""
    found = []
    for thing in things:
        for words in ((thing.colour, thing.shape), (thing.size, thing.colour, thing.shape)):
            same = [t for t in things if {t.colour, t.shape, t.size} >= set(words)]
            if same == [thing]:
                found.append(("attribute", f"the {' '.join(words)}", False, thing.mask))
    for shape in SHAPES:
        group = [t for t in things if t.shape == shape]
        if len(group) < 2:
            continue
        found.append(("semantic", shape, True, np.any([t.mask for t in group], axis=0)))
        for word, axis, sign in (("leftmost", 0, -1), ("rightmost", 0, 1), ("top", 1, -1), ("bottom", 1, 1)):
            order = sorted(group, key=lambda t, axis=axis, sign=sign: -sign * (t.x, t.y)[axis])
            if abs((order[0].x, order[0].y)[axis] - (order[1].x, order[1].y)[axis]) > 0.12 * size[axis]:
                found.append(("superlative", f"the {word} {shape}", False, order[0].mask))
    for anchor in things:
        if sum((t.colour, t.shape) == (anchor.colour, anchor.shape) for t in things) > 1:
            continue
        for shape in SHAPES:
            others = [t for t in things if t.shape == shape and t is not anchor]
            for words, axis, sign in (("left of", 0, -1), ("right of", 0, 1), ("above", 1, -1), ("below", 1, 1)):
                offsets = [sign * ((t.x, t.y)[axis] - (anchor.x, anchor.y)[axis]) / size[axis] for t in others]
                if sum(offset > 0 for offset in offsets) == 1 and all(abs(offset) > 0.12 for offset in offsets):
                    target = others[int(np.argmax(offsets))]
                    text = f"the {shape} {words} the {anchor.colour} {anchor.shape}"
                    found.append(("relation", text, False, target.mask))
    return found


def untrue_sentences(things: list[Thing]) -> list[tuple[str, str, bool, np.ndarray]]:
    """The same for what a scene does not show, although all but one word would fit something in it."""
    nothing, found = np.zeros_like(things[0].mask), []
    shown = {(t.colour, t.shape) for t in things}
    for thing in things:
        for colour, shape in [(c, thing.shape) for c in COLOURS] + [(thing.colour, s) for s in SHAPES]:
            if (colour, shape) not in shown:
                found.append(("absent", f"the {colour} {shape}", False, nothing))
        for shape in {shape for _, shape in shown}:
            missing = [colour for colour in COLOURS if (colour, thing.shape) not in shown]
            words = ("left of", "right of", "above", "below")[len(found) % 4]
            found.append(("absent", f"the {shape} {words} the {missing[0]} {thing.shape}", False, nothing))
    found += [("absent", shape, True, nothing) for shape in SHAPES if shape not in {shape for _, shape in shown}]
    return found
