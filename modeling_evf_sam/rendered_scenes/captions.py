"""Captions: sentences that list what a scene shows and ask for nothing, as those that encoders are pretrained on."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from modeling_evf_sam.rendered_scenes.expressions import (
    DIRECTIONS,
    RELATION_MARGIN,
    RELATION_WORDS,
    SIZE_WORDS,
    offset,
)
from modeling_evf_sam.rendered_scenes.scene import SceneObject, pick

PLACES = {"left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom"}
OUTER = 1 / 3  # of the photo's side: what lies there lies "on the left", and so on
SAID = {"size": 0.4, "colour": 0.85, "shape": 0.85, "place": 0.3, "relation": 0.35}  # how often


def caption(rng: np.random.Generator, objects: Sequence[SceneObject], photo_size: tuple[int, int]) -> str:
    """Every object once, in any order, some with their place or with where they lie beside the next one.

    Args:
        rng: the source of every choice.
        objects: the scene.
        photo_size: (height, width) of the photo in pixels.
    """
    order = [objects[index] for index in rng.permutation(len(objects))]
    text = _describe(rng, order[0], photo_size)
    for item, other in pairwise(order):
        ways = [way for way in DIRECTIONS if offset(item, other, way, photo_size) >= RELATION_MARGIN]
        related = ways and rng.random() < SAID["relation"]
        between = pick(rng, RELATION_WORDS[pick(rng, ways)]) if related else "and"
        text = f"{text} {between} {_describe(rng, other, photo_size)}"
    return text


def _describe(rng: np.random.Generator, item: SceneObject, photo_size: tuple[int, int]) -> str:
    said = {name for name, share in SAID.items() if rng.random() < share}
    words = [pick(rng, SIZE_WORDS[item.size])] if "size" in said else []
    words += [item.colour] if "colour" in said else []
    words += [item.shape if "shape" in said else "object"]
    article = "an" if words[0][0] in "aeiou" else "a"
    ways = [
        way
        for way, (axis, sign) in DIRECTIONS.items()
        if sign * (item.center[axis] / photo_size[1 - axis] - 0.5) > 0.5 - OUTER
    ]
    place = [PLACES[pick(rng, ways)]] if ways and "place" in said else []
    return " ".join([article, *words, *place])
