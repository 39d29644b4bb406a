import numpy as np

from modeling_evf_sam.rendered_scenes.captions import caption
from modeling_evf_sam.rendered_scenes.curriculum.tokenizer import train_tokenizer
from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes
from modeling_evf_sam.rendered_scenes.scene import COLOURS, SHAPES, SceneObject

LEFT, RIGHT = (
    SceneObject(shape=shape, colour=colour, size=size, center=center, extent=20, mask=np.zeros((100, 100), bool))
    for shape, colour, size, center in (("star", "red", "small", (10, 50)), ("circle", "blue", "large", (90, 55)))
)


def captions(count, objects):
    return [caption(np.random.default_rng(seed), objects, (100, 100)) for seed in range(count)]


def test_every_object_is_listed_once():
    for text in captions(100, [LEFT, RIGHT, LEFT]):
        assert sum(word in ("a", "an") for word in text.split()) == 3
        assert "the " not in text.replace("at the", "").replace("on the", "").replace("to the", "")


def test_what_is_said_is_true():
    texts = captions(300, [LEFT, RIGHT])
    said = " | ".join(texts)
    assert "red star on the left" in said and "blue circle on the right" in said
    assert "red star left of" in said and "blue circle right of" in said
    wrong = ("star on the right", "star right of", "circle on the left", "circle left of", "above", "below", "top")
    assert not [word for word in wrong if word in said]
    assert not {word for word in said.split() if word in {*COLOURS, *SHAPES}} - {"red", "blue", "star", "circle"}


def test_all_captions_can_be_read():
    tokenizer = train_tokenizer(vocab_size=4000, max_length=62, num_expressions=2000)
    scenes = RenderedScenes("train", 200, sentences_per_scene=1)
    drawn = [scenes.scene(index) for index in range(len(scenes))]
    texts = [caption(np.random.default_rng(0), scene.objects, scene.object_map.shape) for scene in drawn]
    assert max(len(tokenizer(text)["input_ids"]) for text in texts) <= 62
