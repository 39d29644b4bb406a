"""How the objects of a film move: each along a smooth curve, straight or bent, through three points."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

REACH = (0.2, 0.6)  # from a path's start to its end, of the picture's shorter side
BEND = 0.35  # the most that an arc's middle lies beside the straight line, of the line's length
BEYOND = (0.6, 0.9)  # where a path outside begins, turns or ends, from the border, of the box: 0.5 is just outside
MEETING = 0.06  # the most that the middles of two crossing paths lie beside their meeting point, of the shorter side

Plan = Callable[[np.random.Generator, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class FilmKind:
    """What happens in a film.

    Attributes:
        plan: (rng, starts (N, 2), boxes (N, 2), sides (2,)) -> the paths (N, 3, 2): where the centre of each object is
            at the start, in the middle and at the end of the film. All are (x, y) in pixels.
        least_visible: the range for the share of its pixels that the most hidden object of a sentence shows in its
            worst frame.
        leaves: whether the object of a sentence is out of the picture at times.
    """

    plan: Plan
    least_visible: tuple[float, float]
    leaves: bool = False


def centres(paths: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Where objects are: the quadratic curves through paths (N, 3, 2) at times (T,) from 0 to 1, as (T, N, 2)."""
    weights = np.stack([(1 - times) * (1 - 2 * times), 4 * times * (1 - times), times * (2 * times - 1)])
    return np.einsum("kt,nkd->tnd", weights, paths)


def wander(rng: np.random.Generator, starts: np.ndarray, boxes: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Every object goes its own way inside the picture."""
    angles = rng.uniform(0, 2 * np.pi, len(starts))
    reach = rng.uniform(*REACH, len(starts)) * sides.min()
    steps = np.stack([np.cos(angles), np.sin(angles)], axis=1) * reach[:, None]
    first, last = boxes / 2, sides - boxes / 2
    inside = (first <= starts + steps) & (starts + steps <= last)
    return _paths(rng, starts, np.clip(starts + np.where(inside, steps, -steps), first, last))


def cross(rng: np.random.Generator, starts: np.ndarray, boxes: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Two objects change places and meet on the way; the others wander."""
    paths = wander(rng, starts, boxes, sides)
    pair = rng.permutation(len(starts))[:2]
    ends = np.clip(starts[pair[::-1]], boxes[pair] / 2, sides - boxes[pair] / 2)
    paths[pair] = _paths(rng, starts[pair], ends)
    paths[pair, 1] = paths[pair[0], 1] + rng.uniform(-MEETING, MEETING, (2, 2)) * sides.min()
    return paths


def leave(rng: np.random.Generator, starts: np.ndarray, boxes: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """One object comes in, goes out, or goes out and comes back, over the nearest border; the others wander."""
    paths = wander(rng, starts, boxes, sides)
    leaver, moment = int(rng.integers(len(starts))), int(rng.integers(3))
    far, axis = np.unravel_index(np.argmin([starts[leaver], sides - starts[leaver]]), (2, 2))
    beyond = boxes[leaver, axis] * rng.uniform(*BEYOND)
    paths[leaver, moment, axis] = sides[axis] + beyond if far else -beyond
    if moment != 1:  # an even pace from the picture to its outside
        paths[leaver, 1] = paths[leaver, ::2].mean(axis=0)
    return paths


FILM_KINDS = {
    "moving": FilmKind(plan=wander, least_visible=(0.65, 1.0)),  # the least that a still scene shows of any object
    "crossing": FilmKind(plan=cross, least_visible=(0.0, 0.4)),
    "leaving": FilmKind(plan=leave, least_visible=(0.0, 0.0), leaves=True),
}


def _paths(rng: np.random.Generator, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Half of the paths are straight, the others are arcs."""
    bends = rng.uniform(-BEND, BEND, len(starts)) * (rng.random(len(starts)) < 0.5)
    aside = (ends - starts)[:, ::-1] * (-1, 1) * bends[:, None]
    return np.stack([starts, (starts + ends) / 2 + aside, ends], axis=1)
