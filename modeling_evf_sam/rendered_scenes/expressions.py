"""Referring expressions about simple objects: what they mean, how they are worded, and how to draw them.

A `Phrase` is the meaning. `denote` reads it against a list of objects by geometry alone, `word` turns it into a
sentence, and `draw_expressions` finds sentences that are true of one scene without ambiguity.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from modeling_evf_sam.rendered_scenes.scene import SceneObject, pick

# kind -> how often it is looked for; relations are harder to find, and come out as about 35 % of the sentences
KINDS = {"attribute": 0.24, "superlative": 0.24, "relation": 0.39, "semantic": 0.13}

POSITION_MARGIN = 0.08  # the winner's lead over the runner-up, of the photo's side
EXTENT_MARGIN = 1.3  # the same for size, as a ratio
RELATION_MARGIN = 0.1  # centres nearer than this, of the photo's side, are neither left nor right, above nor below

SIZE_WORDS = {"small": ("small", "small", "little", "tiny"), "large": ("large", "large", "big", "huge")}
NOUNS = ("object", "shape", "thing", "one")

# direction -> (axis of the centre, sign that makes the wanted end the largest)
DIRECTIONS = {"left": (0, -1), "right": (0, 1), "top": (1, -1), "bottom": (1, 1)}
EXTREMES = (*DIRECTIONS, "smallest", "largest")
EXTREME_ADJECTIVES = {
    "left": ("leftmost", "leftmost", "left most", "left", "far left"),
    "right": ("rightmost", "rightmost", "right most", "right", "far right"),
    "top": ("topmost", "top", "top most", "highest", "uppermost"),
    "bottom": ("bottommost", "bottom", "bottom most", "lowest"),
    "smallest": ("smallest",),
    "largest": ("largest", "biggest"),
}
EXTREME_PLACES = {
    "left": ("on the far left", "on the left", "furthest to the left"),
    "right": ("on the far right", "on the right", "furthest to the right"),
    "top": ("at the very top", "at the top"),
    "bottom": ("at the very bottom", "at the bottom"),
}
RELATION_WORDS = {
    "left": ("left of", "to the left of", "on the left side of"),
    "right": ("right of", "to the right of", "on the right side of"),
    "top": ("above", "above", "over"),
    "bottom": ("below", "under", "beneath"),
}


@dataclass(frozen=True, kw_only=True)
class Phrase:
    """What an expression says; an absent part says nothing.

    Attributes:
        shape: name of the shape.
        colour: name of the colour.
        size: "small" or "large".
        extreme: one of `EXTREMES`: the object of this class that lies or measures furthest that way.
        relation: one of `DIRECTIONS`: where the object lies, seen from the anchor.
        anchor: the phrase for the object that `relation` starts from.
    """

    shape: str | None = None
    colour: str | None = None
    size: str | None = None
    extreme: str | None = None
    relation: str | None = None
    anchor: "Phrase | None" = None


@dataclass(frozen=True, kw_only=True)
class Expression:
    """A sentence with its meaning.

    Attributes:
        text: the sentence.
        kind: one of `KINDS`, or "absent" for what the scene does not show.
        phrase: what it says.
        targets: indices of the objects that it denotes.
        semantic: whether it asks for all objects of its class.
    """

    text: str
    kind: str
    phrase: Phrase
    targets: frozenset[int]
    semantic: bool


def denote(phrase: Phrase, objects: Sequence[SceneObject], photo_size: tuple[int, int]) -> set[int] | None:
    """Returns the indices of the objects that a phrase is true of.

    Args:
        phrase: the meaning.
        objects: the scene.
        photo_size: (height, width) of the photo in pixels, for the margins.

    Returns:
        A set of indices, or None where the geometry leaves a doubt: an anchor that is not exactly one object,
        a candidate that is too near the anchor's own height or column, or a winner without a clear lead.
    """
    found = {i for i, item in enumerate(objects) if _has_attributes(item, phrase)}
    if phrase.relation is not None:
        assert phrase.anchor is not None
        anchors = denote(phrase.anchor, objects, photo_size)
        if anchors is None or len(anchors) != 1:
            return None
        leads = {i: offset(objects[i], objects[min(anchors)], phrase.relation, photo_size) for i in found - anchors}
        if any(abs(lead) < RELATION_MARGIN for lead in leads.values()):
            return None
        found = {i for i, lead in leads.items() if lead > 0}
    if phrase.extreme is not None and len(found) > 1:
        return _winner(phrase.extreme, found, objects, photo_size)
    return found


def _has_attributes(item: SceneObject, phrase: Phrase) -> bool:
    return (
        phrase.shape in (None, item.shape)
        and phrase.colour in (None, item.colour)
        and phrase.size in (None, item.size)
    )


def offset(item: SceneObject, anchor: SceneObject, direction: str, photo_size: tuple[int, int]) -> float:
    """How far an object lies in a direction from the anchor, in photo sides."""
    axis, sign = DIRECTIONS[direction]
    return sign * (item.center[axis] - anchor.center[axis]) / photo_size[1 - axis]


def _winner(
    extreme: str, found: set[int], objects: Sequence[SceneObject], photo_size: tuple[int, int]
) -> set[int] | None:
    if extreme in DIRECTIONS:
        axis, sign = DIRECTIONS[extreme]
        score = {i: sign * objects[i].center[axis] / photo_size[1 - axis] for i in found}
        margin = POSITION_MARGIN
    else:
        sign = 1 if extreme == "largest" else -1
        score = {i: sign * float(np.log(objects[i].extent)) for i in found}
        margin = float(np.log(EXTENT_MARGIN))
    first, second = sorted(found, key=score.__getitem__, reverse=True)[:2]
    return {first} if score[first] - score[second] >= margin else None


def word(rng: np.random.Generator, phrase: Phrase, *, semantic: bool = False) -> str:
    """Writes a phrase as an English sentence; the same phrase has many wordings.

    Args:
        rng: the source of the choice.
        phrase: the meaning.
        semantic: name the class alone, without an article and at times in the plural.
    """
    if semantic:
        text = " ".join(filter(None, (phrase.colour, phrase.shape)))
        text += "s" if rng.random() < 0.3 else ""
    elif phrase.anchor is not None and phrase.relation is not None:
        target, anchor = _noun_phrase(rng, replace(phrase, anchor=None)), _noun_phrase(rng, phrase.anchor)
        text = f"{target} {pick(rng, RELATION_WORDS[phrase.relation])} {anchor}"
    else:
        text = _noun_phrase(rng, phrase)
    if rng.random() < 0.1:
        text = text[0].upper() + text[1:]
    return text + ("." if rng.random() < 0.1 else "")


def _noun_phrase(rng: np.random.Generator, phrase: Phrase) -> str:
    words = [pick(rng, SIZE_WORDS[phrase.size])] if phrase.size else []
    if phrase.colour:
        words.insert(int(rng.random() < 0.85) and len(words), phrase.colour)
    place = ""
    if phrase.extreme in EXTREME_PLACES and rng.random() < 0.35:
        place = " " + pick(rng, EXTREME_PLACES[phrase.extreme])
    elif phrase.extreme is not None:
        words.insert(0, pick(rng, EXTREME_ADJECTIVES[phrase.extreme]))
    bare = " ".join([*words, phrase.shape or pick(rng, NOUNS)])
    article = rng.random()
    if article < 0.65 or bare == "one" or (phrase.extreme is not None and article < 0.8):
        bare = "the " + bare
    elif article < 0.75 and phrase.extreme is None:
        bare = ("an " if bare[0] in "aeiou" else "a ") + bare
    return bare + place


def draw_expressions(
    rng: np.random.Generator,
    objects: Sequence[SceneObject],
    photo_size: tuple[int, int],
    *,
    count: int,
    kinds: Mapping[str, float] = KINDS,
) -> list[Expression]:
    """Draws up to `count` different sentences that are true of a scene, spread over its objects.

    Args:
        rng: the source of every choice.
        objects: the scene.
        photo_size: (height, width) of the photo in pixels.
        count: how many sentences to look for; fewer come back only where the scene does not give them.
        kinds: which of `KINDS` to draw from, with the share of each.
    """
    names, shares = list(kinds), np.cumsum(list(kinds.values()))
    uses = np.zeros(len(objects))
    drawn: dict[str, Expression] = {}
    for _ in range(3 * count):
        kind = names[int(np.searchsorted(shares, rng.random() * shares[-1], side="right"))]
        for target in np.argsort(uses + rng.random(len(objects)), kind="stable").tolist():
            phrase = _find_phrase(rng, kind, target, objects, photo_size)
            if phrase is not None:
                break
        else:
            continue
        text = word(rng, phrase, semantic=kind == "semantic")
        if text in drawn:
            continue
        targets = frozenset(denote(phrase, objects, photo_size) or ())
        semantic = kind == "semantic"
        drawn[text] = Expression(text=text, kind=kind, phrase=phrase, targets=targets, semantic=semantic)
        uses[list(targets)] += 1 / len(targets)
        if len(drawn) == count:
            break
    return list(drawn.values())


def _find_phrase(
    rng: np.random.Generator, kind: str, target: int, objects: Sequence[SceneObject], photo_size: tuple[int, int]
) -> Phrase | None:
    """Proposes phrases of one kind for one object until one denotes it (semantic: its whole class)."""
    relation_matters = rng.random() < 0.85
    for _ in range(10):
        phrase = PROPOSALS[kind](rng, target, objects, photo_size)
        if phrase is None:
            continue
        siblings = sum(_has_attributes(item, phrase) for item in objects)
        if kind == "semantic":
            if siblings > 1 or rng.random() < 0.1:
                return phrase
        elif siblings > 1 or kind == "attribute" or (kind == "relation" and not relation_matters):
            if denote(phrase, objects, photo_size) == {target}:
                return phrase
    return None


def _propose_attribute(
    rng: np.random.Generator, target: int, objects: Sequence[SceneObject], photo_size: tuple[int, int]
) -> Phrase | None:
    return Phrase(**_describe(rng, objects[target], shape=0.8, colour=0.65, size=0.4))


def _propose_superlative(
    rng: np.random.Generator, target: int, objects: Sequence[SceneObject], photo_size: tuple[int, int]
) -> Phrase | None:
    named = _describe(rng, objects[target], shape=0.65, colour=0.35, size=0.05, at_least_one=False)
    return Phrase(**named, extreme=pick(rng, tuple(DIRECTIONS) if rng.random() < 0.55 else ("smallest", "largest")))


def _propose_relation(
    rng: np.random.Generator, target: int, objects: Sequence[SceneObject], photo_size: tuple[int, int]
) -> Phrase | None:
    other = pick(rng, [item for i, item in enumerate(objects) if i != target])
    anchor = Phrase(**_describe(rng, other, shape=0.85, colour=0.6, size=0.25))
    if sum(_has_attributes(item, anchor) for item in objects) > 1:
        return None
    directions = [way for way in DIRECTIONS if offset(objects[target], other, way, photo_size) >= RELATION_MARGIN]
    if not directions:
        return None
    named = _describe(rng, objects[target], shape=0.8, colour=0.4, size=0.2, at_least_one=False)
    return Phrase(**named, relation=pick(rng, directions), anchor=anchor)


def _propose_semantic(
    rng: np.random.Generator, target: int, objects: Sequence[SceneObject], photo_size: tuple[int, int]
) -> Phrase | None:
    return Phrase(**_describe(rng, objects[target], shape=1.0, colour=0.3, size=0.0))


PROPOSALS = {
    "attribute": _propose_attribute,
    "superlative": _propose_superlative,
    "relation": _propose_relation,
    "semantic": _propose_semantic,
}


def _describe(
    rng: np.random.Generator, item: SceneObject, *, shape: float, colour: float, size: float, at_least_one: bool = True
) -> dict[str, Any]:
    """Names each attribute of an object with the given chance: the arguments of a `Phrase`."""
    while True:
        chances = {"shape": shape, "colour": colour, "size": size}
        named = {name: getattr(item, name) for name, chance in chances.items() if rng.random() < chance}
        if named or not at_least_one:
            return named
