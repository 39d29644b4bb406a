import re

import numpy as np
import pytest

from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes
from modeling_evf_sam.rendered_scenes.denying import deny, is_absent
from modeling_evf_sam.rendered_scenes.expressions import Phrase, denote
from modeling_evf_sam.rendered_scenes.scene import SceneObject

SIZE = (100, 100)


def _object(colour: str, shape: str, x: float, size: str = "small") -> SceneObject:
    return SceneObject(
        shape=shape, colour=colour, size=size, center=(x, 50.0), extent=15, mask=np.zeros(SIZE, dtype=bool)
    )


OBJECTS = [_object("red", "star", 20), _object("blue", "circle", 80), _object("blue", "circle", 50)]


@pytest.mark.parametrize(
    ("phrase", "absent"),
    [
        (Phrase(colour="red", shape="star"), False),
        (Phrase(colour="blue", shape="star"), True),  # both words fit something, but not the same thing
        (Phrase(size="large"), True),
        (Phrase(shape="square", extreme="left"), True),
        (Phrase(shape="circle", extreme="left"), False),
        (Phrase(shape="circle", relation="right", anchor=Phrase(shape="star")), False),
        (Phrase(shape="circle", relation="left", anchor=Phrase(shape="star")), True),
        (Phrase(shape="star", relation="left", anchor=Phrase(colour="green")), True),
        (Phrase(shape="star", relation="left", anchor=Phrase(shape="circle")), False),  # of which there are two
        (Phrase(shape="circle", relation="top", anchor=Phrase(shape="star")), False),  # neither above nor below
    ],
)
def test_what_is_absent(phrase, absent):
    assert is_absent(phrase, OBJECTS, SIZE) == absent


def test_a_denied_sentence_differs_in_one_thing_and_names_nothing():
    scenes, changed = RenderedScenes("validation", 160), set()
    for index in range(len(scenes)):
        scene, expressions = scenes.draw(index)
        size = scene.object_map.shape
        for number, expression in enumerate(expressions):
            untrue = deny(np.random.default_rng((index, number)), expression, scene.objects, size)
            if untrue is None:
                continue
            assert (untrue.kind, untrue.targets, untrue.semantic) == ("absent", frozenset(), expression.semantic)
            assert not denote(untrue.phrase, scene.objects, size)
            (name,) = _differences(untrue.phrase, expression.phrase)
            changed.add(name)
    assert changed == {"shape", "colour", "size", "relation", "anchor shape", "anchor colour", "anchor size"}


def _differences(one: Phrase, other: Phrase) -> list[str]:
    names = [n for n in ("shape", "colour", "size", "extreme", "relation") if getattr(one, n) != getattr(other, n)]
    if one.anchor is not None and other.anchor is not None:
        names += [f"anchor {name}" for name in _differences(one.anchor, other.anchor)]
    return names


def test_what_says_nothing_of_its_object_cannot_be_denied():
    scene, expressions = RenderedScenes("validation", 1).draw(0)
    vague = next(iter(expressions)).__class__(
        text="the leftmost one", kind="superlative", phrase=Phrase(extreme="left"), targets=frozenset([0]),
        semantic=False,
    )  # fmt: skip
    assert deny(np.random.default_rng(0), vague, scene.objects, scene.object_map.shape) is None


def test_a_data_set_with_absent_things():
    plain, half = RenderedScenes("test", 50), RenderedScenes("test", 50, absent=0.5)
    kinds = []
    for index in range(50):
        sample, true = half[index], plain[index]
        assert np.array_equal(np.asarray(sample.photo), np.asarray(true.photo))
        for kind, mask, sentence, told in zip(
            sample.kinds, sample.masks, sample.sentences, true.sentences, strict=True
        ):
            kinds.append(kind)
            assert (kind == "absent") == (not mask.any())
            assert kind == "absent" or sentence == told
            assert re.search(r"\w", sentence)
    assert 0.4 < kinds.count("absent") / len(kinds) <= 0.5
    with pytest.raises(ValueError, match="absent is a share of the sentences, from 0 to 1, not 2"):
        RenderedScenes("test", 1, absent=2)
