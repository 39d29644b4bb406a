"""Sentences about what is not there: one word of a true sentence is changed, until nothing in the scene fits it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from modeling_evf_sam.rendered_scenes.expressions import DIRECTIONS, Expression, Phrase, denote, word
from modeling_evf_sam.rendered_scenes.scene import COLOURS, SHAPES, SceneObject, pick

VALUES = {"shape": SHAPES, "colour": tuple(COLOURS), "size": ("small", "large"), "relation": tuple(DIRECTIONS)}


def deny(
    rng: np.random.Generator, expression: Expression, objects: Sequence[SceneObject], photo_size: tuple[int, int]
) -> Expression | None:
    """Another sentence that differs from a true one in one word, and names nothing in the scene.

    Args:
        rng: the source of the choice.
        expression: what is true.
        objects: the scene.
        photo_size: (height, width) of the photo in pixels.

    Returns:
        An expression of the kind "absent" without targets; None where every such change names something, or leaves a
        doubt.
    """
    fit = [[one for one in changes if is_absent(one, objects, photo_size)] for changes in _changes(expression.phrase)]
    choices = [changes for changes in fit if changes]
    if not choices:
        return None
    phrase = pick(rng, pick(rng, choices))  # each word is as likely to change, however many others it could be
    text = word(rng, phrase, semantic=expression.semantic)
    return replace(expression, text=text, kind="absent", phrase=phrase, targets=frozenset())


def is_absent(phrase: Phrase, objects: Sequence[SceneObject], photo_size: tuple[int, int]) -> bool:
    """Whether the scene shows nothing that a phrase could mean: not the thing itself, or not what it starts from."""
    if phrase.anchor is not None and is_absent(phrase.anchor, objects, photo_size):
        return True
    if denote(replace(phrase, extreme=None, relation=None, anchor=None), objects, photo_size) == set():
        return True
    return phrase.relation is not None and denote(replace(phrase, extreme=None), objects, photo_size) == set()


def _changes(phrase: Phrase) -> Iterator[list[Phrase]]:
    """For each word of a phrase, or of what it starts from, the phrases that have another in its place."""
    for name, values in VALUES.items():
        said = getattr(phrase, name)
        if said is not None:
            others: list[dict[str, Any]] = [{name: value} for value in values if value != said]
            yield [replace(phrase, **other) for other in others]
    if phrase.anchor is not None:
        yield from ([replace(phrase, anchor=anchor) for anchor in anchors] for anchors in _changes(phrase.anchor))
