"""What phrases denote, on one scene that is small enough to check by eye."""

import numpy as np
import pytest

from modeling_evf_sam.rendered_scenes.expressions import KINDS, Phrase, denote, draw_expressions, word
from modeling_evf_sam.rendered_scenes.scene import SceneObject

PHOTO_SIZE = (100, 200)  # (height, width)


def item(shape: str, colour: str, size: str, center: tuple[float, float], extent: int) -> SceneObject:
    return SceneObject(
        shape=shape, colour=colour, size=size, center=center, extent=extent, mask=np.zeros(PHOTO_SIZE, bool)
    )


OBJECTS = [
    item("circle", "red", "small", (30, 50), 16),
    item("circle", "red", "large", (100, 52), 36),
    item("star", "blue", "small", (115, 15), 15),
    item("circle", "blue", "large", (170, 80), 30),
]


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        pytest.param(Phrase(shape="star"), {2}, id="shape"),
        pytest.param(Phrase(shape="circle", colour="red"), {0, 1}, id="shape and colour"),
        pytest.param(Phrase(shape="circle", colour="red", size="small"), {0}, id="three attributes"),
        pytest.param(Phrase(shape="square"), set(), id="nothing"),
        pytest.param(Phrase(shape="circle", extreme="left"), {0}, id="leftmost"),
        pytest.param(Phrase(extreme="top"), {2}, id="topmost of all"),
        pytest.param(Phrase(colour="red", extreme="bottom"), None, id="no clear lead in height"),
        pytest.param(Phrase(shape="circle", extreme="smallest"), {0}, id="smallest"),
        pytest.param(Phrase(shape="circle", extreme="largest"), None, id="no clear lead in size"),
        pytest.param(Phrase(shape="star", extreme="left"), {2}, id="only candidate"),
        pytest.param(Phrase(relation="left", anchor=Phrase(size="large", colour="red")), None, id="star too near"),
        pytest.param(
            Phrase(shape="circle", relation="left", anchor=Phrase(size="large", colour="red")), {0}, id="left of"
        ),
        pytest.param(
            Phrase(shape="circle", relation="right", anchor=Phrase(shape="star")), None, id="circle too near"
        ),
        pytest.param(Phrase(shape="circle", relation="bottom", anchor=Phrase(shape="star")), {0, 1, 3}, id="below"),
        pytest.param(
            Phrase(colour="blue", relation="top", anchor=Phrase(colour="blue", shape="circle")), {2}, id="above"
        ),
        pytest.param(Phrase(relation="left", anchor=Phrase(colour="blue")), None, id="two anchors"),
        pytest.param(Phrase(relation="left", anchor=Phrase(shape="square")), None, id="no anchor"),
    ],
)
def test_denote(phrase: Phrase, expected: set[int] | None):
    assert denote(phrase, OBJECTS, PHOTO_SIZE) == expected


def test_semantic_wording_is_the_class_alone():
    rng = np.random.default_rng(0)
    texts = {word(rng, Phrase(shape="star", colour="red"), semantic=True).lower().rstrip(".") for _ in range(100)}
    assert texts == {"red star", "red stars"}


@pytest.mark.parametrize(
    ("phrase", "article"), [(Phrase(colour="orange", shape="star"), "an"), (Phrase(shape="star"), "a")]
)
def test_indefinite_article(phrase: Phrase, article: str):
    rng = np.random.default_rng(0)
    first_words = {word(rng, phrase).lower().split()[0] for _ in range(200)}
    assert article in first_words
    assert not {"a", "an"} - {article} & first_words


@pytest.mark.parametrize("kind", KINDS)
def test_draws_every_object_it_can(kind: str):
    rng = np.random.default_rng(1)
    drawn = [e for _ in range(40) for e in draw_expressions(rng, OBJECTS, PHOTO_SIZE, count=4, kinds={kind: 1.0})]
    assert {e.kind for e in drawn} == {kind}
    assert set().union(*(e.targets for e in drawn)) == {0, 1, 2, 3}


def test_fewer_sentences_where_the_scene_gives_no_more():
    twins = [OBJECTS[0], item("circle", "red", "small", (34, 52), 16)]
    assert (
        draw_expressions(
            np.random.default_rng(0), twins, PHOTO_SIZE, count=4, kinds={"attribute": 0.5, "relation": 0.5}
        )
        == []
    )
