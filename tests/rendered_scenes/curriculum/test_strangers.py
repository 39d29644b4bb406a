from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from modeling_evf_sam.data.referring_dataset import ReferringDataset, Target
from modeling_evf_sam.rendered_scenes.curriculum.strangers import Strangers
from modeling_evf_sam.rendered_scenes.curriculum.tokenizer import english_sentences
from modeling_evf_sam.rendered_scenes.curriculum.trainer import DrawnScenes
from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes


class Photos(ReferringDataset):
    """Two photos: one of dogs, and one that nothing is said about."""

    def __len__(self):
        return 2

    def read(self, index):
        photo = Image.fromarray(np.random.default_rng(index).integers(0, 256, (300, 400, 3), dtype=np.uint8))
        return photo, [Target(sentence="dog", draw=lambda: np.ones((300, 400), bool))] if index == 0 else []


@pytest.fixture(scope="module")
def strangers() -> Strangers:
    return Strangers([Photos()])


@pytest.fixture(scope="module")
def expressions() -> list:
    return RenderedScenes("train", 1).draw(0)[1]


def test_a_photo_shows_nothing_of_what_is_said(strangers, expressions):
    rng = np.random.default_rng(0)
    for _ in range(20):
        scene, said = strangers.show(rng, expressions)
        assert scene.objects == []
        assert (scene.object_map == -1).all()
        assert scene.photo.shape == (*scene.object_map.shape, 3)
        assert 112 <= max(scene.object_map.shape) < 193
        assert [one.text for one in said] == [one.text for one in expressions]
        assert all((one.kind, one.targets) == ("absent", frozenset()) for one in said)


def test_words_of_the_world(strangers, expressions):
    rng = np.random.default_rng(0)
    english = " ".join(english_sentences())
    texts = [strangers.speak(rng, expressions[0]).text for _ in range(60)]
    assert "dog" in texts
    others = [text for text in texts if text != "dog"]
    assert len(set(others)) > 20
    for text in others:
        assert 1 <= len(text.split()) <= 5
        assert text in english


def test_strangers_come_as_often_as_asked(strangers):
    scenes = RenderedScenes("train", 200)
    drawn = DrawnScenes(scenes, strangers, share=0.3)
    photos = spoken = 0
    for index in range(len(drawn)):
        scene, expressions = drawn[index]
        photos += not scene.objects
        spoken += bool(scene.objects) and expressions[-1].kind == "absent"
    assert 40 <= photos <= 80
    assert 20 <= spoken <= 64
    again = drawn[7]
    assert np.array_equal(again[0].photo, drawn[7][0].photo)
    assert DrawnScenes(scenes)[3][1] == scenes.draw(3)[1]


def test_without_photos_there_are_words_alone():
    drawn = DrawnScenes(RenderedScenes("train", 40), Strangers([]), share=1.0)
    for index in range(40):
        scene, expressions = drawn[index]
        assert scene.objects
        assert [one.kind == "absent" for one in expressions] == [False] * (len(expressions) - 1) + [True]


def test_each_sentence_beside_one_that_is_untrue():
    drawn = DrawnScenes(RenderedScenes("train", 20, sentences_per_scene=2), denied=True)
    pairs = 0
    for index in range(20):
        kinds = [one.kind for one in drawn[index][1]]
        assert kinds[0] != "absent"
        assert all(kind != "absent" or before != "absent" for before, kind in pairwise(kinds))
        pairs += kinds.count("absent")
    assert pairs > 25
