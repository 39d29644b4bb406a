"""Rendered scenes: repeatable, exact, and truthful.

The sentences are read back by a parser of this file's own, which shares no code and no word list with the generator.
"""

import re
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest

from modeling_evf_sam.rendered_scenes.arranging import arrange
from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes, expression_corpus
from modeling_evf_sam.rendered_scenes.expressions import denote, draw_expressions
from modeling_evf_sam.rendered_scenes.scene import COLOURS, SHAPES, Scene, SceneObject

KIND_NAMES = ("attribute", "superlative", "relation", "semantic")

# An independent reading of the sentences.
SIZES = {"small": "small", "little": "small", "tiny": "small", "large": "large", "big": "large", "huge": "large"}
ADJECTIVES = {
    **dict.fromkeys(("leftmost", "left most", "far left", "left"), "left"),
    **dict.fromkeys(("rightmost", "right most", "far right", "right"), "right"),
    **dict.fromkeys(("topmost", "top most", "top", "highest", "uppermost"), "top"),
    **dict.fromkeys(("bottommost", "bottom most", "bottom", "lowest"), "bottom"),
    "smallest": "smallest",
    **dict.fromkeys(("largest", "biggest"), "largest"),
}
PLACES = {
    **dict.fromkeys(("on the far left", "on the left", "furthest to the left"), "left"),
    **dict.fromkeys(("on the far right", "on the right", "furthest to the right"), "right"),
    **dict.fromkeys(("at the very top", "at the top"), "top"),
    **dict.fromkeys(("at the very bottom", "at the bottom"), "bottom"),
}
RELATIONS = {
    **dict.fromkeys(("left of", "to the left of", "on the left side of"), "left"),
    **dict.fromkeys(("right of", "to the right of", "on the right side of"), "right"),
    **dict.fromkeys(("above", "over"), "top"),
    **dict.fromkeys(("below", "under", "beneath"), "bottom"),
}
GENERIC = ("object", "shape", "thing", "one")
AXIS = {"left": (0, -1), "right": (0, 1), "top": (1, -1), "bottom": (1, 1)}


def alternatives(words: dict[str, str]) -> str:
    return "|".join(sorted(words, key=len, reverse=True))


@dataclass
class Reading:
    wanted: dict[str, str]
    extreme: str | None = None
    relation: str | None = None
    anchor: "Reading | None" = None


def read(text: str, *, semantic: bool = False) -> Reading:
    text = text.lower().removesuffix(".")
    if semantic:
        return Reading(attributes(text.removesuffix("s")))
    if match := re.fullmatch(rf"(.+?) ({alternatives(RELATIONS)}) (.+)", text):
        target, relation, anchor = match.groups()
        return Reading(attributes(target), relation=RELATIONS[relation], anchor=Reading(attributes(anchor)))
    if match := re.fullmatch(rf"(.+) ({alternatives(PLACES)})", text):
        return Reading(attributes(match[1]), extreme=PLACES[match[2]])
    if match := re.fullmatch(rf"(?:the )?({alternatives(ADJECTIVES)}) (.+)", text):
        return Reading(attributes(match[2]), extreme=ADJECTIVES[match[1]])
    return Reading(attributes(text))


def attributes(text: str) -> dict[str, str]:
    *modifiers, noun = re.sub(r"^(the|an|a) ", "", text).split()
    assert noun in SHAPES or noun in GENERIC, text
    wanted = {"shape": noun} if noun in SHAPES else {}
    for modifier in modifiers:
        wanted["colour" if modifier in COLOURS else "size"] = modifier if modifier in COLOURS else SIZES[modifier]
    assert len(wanted) == len(modifiers) + (noun in SHAPES), text
    return wanted


def resolve(reading: Reading, scene: Scene) -> list[int]:
    """The objects that a reading means; asserts every margin on the way."""
    height, width = scene.object_map.shape
    sides = (width, height)
    found = [i for i, o in enumerate(scene.objects) if all(getattr(o, k) == v for k, v in reading.wanted.items())]
    if reading.anchor is not None:
        (anchor,) = resolve(reading.anchor, scene)
        axis, sign = AXIS[reading.relation]
        origin = scene.objects[anchor].center[axis]
        steps = {i: sign * (scene.objects[i].center[axis] - origin) / sides[axis] for i in found if i != anchor}
        assert all(abs(step) >= 0.1 for step in steps.values())
        return [i for i, step in steps.items() if step > 0]
    if reading.extreme in AXIS:
        axis, sign = AXIS[reading.extreme]
        order = sorted(found, key=lambda i: -sign * scene.objects[i].center[axis])
        lead = abs(scene.objects[order[0]].center[axis] - scene.objects[order[1]].center[axis])
        assert lead >= 0.08 * sides[axis] - 1e-6
        return order[:1]
    if reading.extreme is not None:
        extents = sorted((scene.objects[i].extent, i) for i in found)
        first, second = extents[:2] if reading.extreme == "smallest" else extents[:-3:-1]
        assert max(first[0], second[0]) / min(first[0], second[0]) >= 1.3 - 1e-6
        return [first[1]]
    return found


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_sentences_mean_exactly_their_masks(kind: str):
    dataset = RenderedScenes("validation", 120, kinds=[kind])
    for index in range(len(dataset)):
        sample, scene = dataset[index], dataset.scene(index)
        assert set(sample.kinds) == {kind}
        assert sample.semantic == [kind == "semantic"] * len(sample.sentences)
        for sentence, mask in zip(sample.sentences, sample.masks, strict=True):
            reading = read(sentence, semantic=kind == "semantic")
            found = resolve(reading, scene)
            assert len(found) == 1 or (kind == "semantic" and found), sentence
            assert (reading.extreme is not None, reading.anchor is not None) == (
                kind == "superlative",
                kind == "relation",
            ), sentence
            expected = np.any([scene.objects[i].mask for i in found], axis=0)
            assert np.array_equal(mask, expected), (index, sentence)


def test_sample_layout():
    dataset = RenderedScenes("train", 60, sentences_per_scene=3)
    lengths = Counter()
    for index in range(len(dataset)):
        sample = dataset[index]
        assert sample.photo.mode == "RGB"
        assert sample.masks.dtype == bool
        assert sample.masks.shape == (len(sample.sentences), sample.photo.height, sample.photo.width)
        assert len(set(sample.sentences)) == len(sample.sentences) == len(sample.kinds) == len(sample.semantic)
        assert sample.semantic == [kind == "semantic" for kind in sample.kinds]
        assert sample.masks.any(axis=(1, 2)).all()
        lengths[len(sample.sentences)] += 1
    assert lengths[3] >= 55
    assert min(lengths) >= 1


def test_same_seed_same_scenes():
    first, second = RenderedScenes("train", 20, seed=7), RenderedScenes("train", 10**9, seed=7)
    for index in (0, 3, 19):
        a, b = first[index], second[index]
        assert np.array_equal(np.asarray(a.photo), np.asarray(b.photo))
        assert (a.sentences, a.kinds) == (b.sentences, b.kinds)
        assert np.array_equal(a.masks, b.masks)
        assert np.array_equal(first.scene(index).photo, np.asarray(a.photo))


def test_the_scenes_of_a_seed_stay_what_they_are():
    """The published scores of the embedded checkpoint are those of these scenes."""
    first = RenderedScenes("test", 1)[0]
    assert first.sentences == ["the smallest green triangle", "a large pink square", "square", "the largest triangle"]
    assert first.masks.shape == (4, 135, 126)
    assert first.masks.sum((1, 2)).tolist() == [180, 1936, 4731, 876]


def test_splits_and_seeds_share_no_scene():
    sources = [RenderedScenes(split, 15, seed=seed) for split in ("train", "validation", "test") for seed in (0, 1)]
    photos = [source.scene(index).photo for source in sources for index in range(15)]
    assert len({(photo.shape, photo.tobytes()) for photo in photos}) == len(photos)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    dataset = RenderedScenes("test", 200)
    return [dataset.scene(index) for index in range(len(dataset))]


def test_masks_partition_the_photo(scenes: list[Scene]):
    for scene in scenes:
        masks = np.stack([item.mask for item in scene.objects])
        assert scene.photo.dtype == np.uint8 and scene.photo.shape == (*masks.shape[1:], 3)
        assert masks.sum(axis=0).max() == 1
        assert np.array_equal(masks.any(axis=0), scene.object_map >= 0)
        assert np.array_equal(masks.argmax(axis=0)[scene.object_map >= 0], scene.object_map[scene.object_map >= 0])


def test_fields_agree_with_masks(scenes: list[Scene]):
    """An object that nothing touches fills its box; one that is partly hidden stays within it."""
    alone = 0
    for scene in scenes:
        for item in scene.objects:
            rows, columns = (np.flatnonzero(item.mask.any(axis=axis)) for axis in (1, 0))
            box = (columns[0], rows[0], columns[-1], rows[-1])
            half = item.extent / 2
            assert box[0] >= item.center[0] - half and box[2] <= item.center[0] + half
            assert box[1] >= item.center[1] - half and box[3] <= item.center[1] + half
            if not any(boxes_meet(item, other) for other in scene.objects if other is not item):
                alone += 1
                assert ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) == item.center
                assert max(box[2] - box[0], box[3] - box[1]) + 1 == item.extent
    assert alone > 400


def boxes_meet(first: SceneObject, second: SceneObject) -> bool:
    reach = (first.extent + second.extent) / 2
    return all(abs(a - b) <= reach for a, b in zip(first.center, second.center, strict=True))


def test_scenes_keep_their_bounds(scenes: list[Scene]):
    for scene in scenes:
        shorter, longer = sorted(scene.object_map.shape)
        assert 96 <= shorter and longer <= 256 and longer / shorter <= 1.51
        assert 2 <= len(scene.objects) <= 6
        extents: dict[str, list[int]] = {"small": [], "large": []}
        for item in scene.objects:
            extents[item.size].append(item.extent)
            low, high = (0.13, 0.20) if item.size == "small" else (0.28, 0.42)
            assert low <= item.extent / shorter <= high
            assert item.mask.sum() >= 40
            if item.shape == "circle":
                assert item.mask.sum() >= 0.64 * np.pi / 4 * item.extent**2
        if all(extents.values()):
            assert min(extents["large"]) / max(extents["small"]) >= 1.6


def test_scenes_use_every_shape_colour_and_size(scenes: list[Scene]):
    objects = [item for scene in scenes for item in scene.objects]
    assert {item.shape for item in objects} == set(SHAPES)
    assert {item.colour for item in objects} == set(COLOURS)
    assert {item.size for item in objects} == {"small", "large"}
    repeats = [len({(o.shape, o.colour) for o in scene.objects}) < len(scene.objects) for scene in scenes]
    assert np.mean(repeats) > 0.25


def test_some_objects_overlap_but_never_their_own_colour(scenes: list[Scene]):
    touching = 0
    for scene in scenes:
        codes = np.where(scene.object_map >= 0, scene.object_map, -1)
        colours = np.array([list(COLOURS).index(item.colour) for item in scene.objects])
        for a, b in ((codes[:, 1:], codes[:, :-1]), (codes[1:], codes[:-1])):
            meet = (a != b) & (a >= 0) & (b >= 0)
            touching += bool(meet.any())
            assert (colours[a[meet]] != colours[b[meet]]).all()
    assert touching > 5


def test_kinds_come_in_their_usual_shares_and_relations_matter():
    kinds, needed = Counter(), []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        arrangement = arrange(rng)
        photo_size = arrangement.object_map.shape
        for expression in draw_expressions(rng, arrangement.objects, photo_size, count=4):
            kinds[expression.kind] += 1
            if expression.kind == "relation":
                bare = replace(expression.phrase, relation=None, anchor=None)
                needed.append(len(denote(bare, arrangement.objects, photo_size)) > 1)
    shares = {kind: count / kinds.total() for kind, count in kinds.items()}
    assert shares == pytest.approx(
        {"attribute": 0.25, "superlative": 0.25, "relation": 0.35, "semantic": 0.15}, abs=0.04
    )
    assert np.mean(needed) >= 0.6


def test_sentences_of_a_scene_spread_over_its_objects():
    samples = [RenderedScenes("train", 80)[index] for index in range(80)]
    different = sum(len({mask.tobytes() for mask in sample.masks}) for sample in samples)
    assert different / sum(len(sample.sentences) for sample in samples) > 0.75


def test_corpus_has_every_word():
    sentences = list(expression_corpus(2500, seed=3))
    assert len(sentences) == 2500
    assert sentences[:40] == list(expression_corpus(40, seed=3))
    assert sentences[:40] != list(expression_corpus(40, seed=4))
    said = {word for sentence in sentences for word in sentence.lower().removesuffix(".").split()}
    phrases = " ".join([*SIZES, *ADJECTIVES, *PLACES, *RELATIONS, *GENERIC, *SHAPES, *COLOURS])
    assert said == {*phrases.split(), "the", "a", "an", *(shape + "s" for shape in SHAPES)}


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("training", 5), {}, "split 'training' is unknown"),
        (("train", -1), {}, "size -1"),
        (("train", 5), {"sentences_per_scene": 0}, "sentences_per_scene 0"),
        (("train", 5), {"kinds": ["relation", "colour"]}, r"\['colour'\]"),
        (("train", 5), {"kinds": []}, "at least one"),
    ],
)
def test_bad_arguments(arguments: tuple, options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        RenderedScenes(*arguments, **options)


@pytest.mark.parametrize("index", [-1, 3])
def test_index_out_of_range(index: int):
    with pytest.raises(IndexError, match=f"scene {index}"):
        RenderedScenes("train", 3)[index]


def test_kinds_come_in_the_given_shares():
    dataset = RenderedScenes("train", 150, kinds={"attribute": 0.1, "semantic": 0.9})
    drawn = [kind for index in range(len(dataset)) for kind in (e.kind for e in dataset.draw(index)[1])]
    assert set(drawn) == {"attribute", "semantic"}
    assert drawn.count("semantic") > 2 * drawn.count("attribute")
