"""Films: repeatable, exact, steady below the moving objects, and true to their kind."""

from itertools import islice, pairwise

import numpy as np
import pytest

from modeling_evf_sam.rendered_scenes import films
from modeling_evf_sam.rendered_scenes.films import Film, RenderedFilms
from modeling_evf_sam.rendered_scenes.motion import FILM_KINDS
from modeling_evf_sam.rendered_scenes.scene import COLOURS, SHAPES

SIZE_WORDS = {
    **dict.fromkeys(("small", "little", "tiny"), "small"),
    **dict.fromkeys(("large", "big", "huge"), "large"),
}


@pytest.fixture(scope="module")
def some_films() -> list[Film]:
    dataset = RenderedFilms("validation", 9, frames=12)
    return [dataset[index] for index in range(len(dataset))]


def neighbourhood(mask: np.ndarray, reach: int) -> np.ndarray:
    """The pixels (H, W) within a square of that reach around the mask's pixels."""
    height, width = mask.shape
    padded = np.pad(mask, reach)
    shifts = range(2 * reach + 1)
    return np.any([padded[y : y + height, x : x + width] for y in shifts for x in shifts], axis=0)


def test_layout(some_films: list[Film]):
    for film in some_films:
        frames, masks = list(film.frames()), list(film.masks())
        assert len(film) == len(frames) == len(masks) == 12
        assert {(frame.shape, frame.dtype) for frame in frames} == {((*film.photo_size, 3), np.dtype(np.uint8))}
        assert {(m.shape, m.dtype) for m in masks} == {((len(film.sentences), *film.photo_size), np.dtype(bool))}
        assert max(m.sum(axis=0).max() for m in masks) <= 1  # each sentence has an object of its own


def test_same_seed_same_film():
    first, again = RenderedFilms("train", 2, seed=3)[1], RenderedFilms("train", 10**9, seed=3)[1]
    other = RenderedFilms("train", 2, seed=4)[1]
    assert first.sentences == again.sentences
    for one, two in ((first.frames(), again.frames()), (first.masks(), again.masks())):
        assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert other.photo_size != first.photo_size or not np.array_equal(next(other.frames()), next(first.frames()))


def test_sentences_name_one_object_by_its_attributes(some_films: list[Film]):
    for film in some_films:
        items = [cut_out.item for cut_out in film.cut_outs]
        for sentence, target in zip(film.sentences, film.targets, strict=True):
            words = sentence.lower().removesuffix(".").split()
            known = {(name, w) for name, all_ in (("shape", SHAPES), ("colour", COLOURS)) for w in words if w in all_}
            known |= {("size", SIZE_WORDS[word]) for word in words if word in SIZE_WORDS}
            assert len(known) + len({"the", "a", "an"} & set(words)) + (words[-1] not in SHAPES) == len(words)
            assert [i for i, item in enumerate(items) if all(getattr(item, k) == v for k, v in known)] == [target]


def test_masks_are_the_pixels_of_flat_paint(some_films: list[Film]):
    flat = [film for film in some_films if film.flat]
    assert flat
    for film in flat:
        inks = {}
        for index, (frame, masks) in enumerate(zip(film.frames(), film.masks(), strict=True)):
            drawn = film.arrangement(index)
            areas = {-1: drawn.object_map < 0, **dict(zip(film.targets, masks & ~drawn.outline_map, strict=True))}
            for target, area in areas.items():
                if area.any():
                    assert (frame[area] == inks.setdefault(target, frame[area][0])).all()
        for target in film.targets:
            assert tuple(inks[target].tolist()) in COLOURS[film.cut_outs[target].item.colour]
            assert not np.array_equal(inks[target], inks[-1])


def test_nothing_flickers(some_films: list[Film]):
    textured = [film for film in some_films if not film.flat]
    assert textured
    for film in textured:
        # Blur mixes a pixel with its neighbours.
        bare = [~neighbourhood(film.arrangement(i).object_map >= 0, 1) for i in range(len(film))]
        for (one, bare_one), (two, bare_two) in pairwise(zip(film.frames(), bare, strict=True)):
            steady = bare_one & bare_two
            assert np.array_equal(one[steady], two[steady])


def test_objects_follow_their_paths(some_films: list[Film]):
    whole = 0
    for film in some_films:
        for masks, middles, shares in zip(film.masks(), film.centres, film.visible_shares(), strict=True):
            for mask, target, share in zip(masks, film.targets, shares, strict=True):
                if share == 1:
                    whole += 1
                    y, x = np.nonzero(mask)
                    middle = (x.min() + x.max()) / 2, (y.min() + y.max()) / 2
                    assert middle == pytest.approx(middles[target], abs=0.5 + 1e-6)
        steps = np.linalg.norm(np.diff(film.centres, axis=0), axis=-1) / min(film.photo_size)  # (T - 1, N)
        assert steps.max() < 3 / len(film)  # nothing jumps
        assert steps.sum(axis=0).min() > 0.1
    assert whole > 100


@pytest.mark.parametrize("kind", FILM_KINDS)
def test_kinds(kind: str):
    dataset = RenderedFilms("validation", 6, kinds=[kind], seed=1)
    for film in dataset:
        masks = np.stack(list(film.masks()), axis=1)  # (P, T, H, W)
        shares = film.visible_shares()
        at_border = masks[:, :, [0, -1]].any(axis=(2, 3)) | masks[..., [0, -1]].any(axis=(2, 3))
        assert film.kind == kind
        assert ((shares >= 0.65).mean(axis=0) >= 2 / 3).all()
        gone = (shares == 0).any(axis=0)
        if kind == "moving":
            assert shares.min() >= 0.65
        elif kind == "crossing":
            assert shares.min() <= 0.4
            assert not film.outside().any()
        else:
            assert (gone & at_border.any(axis=1)).any()
            assert (shares[film.outside()] == 0).all()


def test_kinds_take_turns(some_films: list[Film]):
    assert [film.kind for film in some_films[:4]] == ["moving", "crossing", "leaving", "moving"]


def test_objects_of_one_colour_stay_apart(some_films: list[Film]):
    for film in some_films:
        for index in range(len(film)):
            drawn = film.arrangement(index)
            for number, item in enumerate(drawn.objects):
                near = set(drawn.object_map[neighbourhood(item.mask, 1)].tolist()) - {-1, number}
                assert item.colour not in {drawn.objects[other].colour for other in near}


def test_frames_are_drawn_when_they_are_asked_for(monkeypatch: pytest.MonkeyPatch):
    film = RenderedFilms("train", 1, frames=50)[0]
    painted = []
    monkeypatch.setattr(films, "paint", lambda rng, arrangement: painted.append(arrangement) or len(painted))
    assert list(islice(film.frames(), 3)) == [1, 2, 3]
    assert len(painted) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "val"}, "split 'val' is unknown; choose one of train, validation, test"),
        ({"kinds": ["flying"]}, "choose at least one of moving, crossing, leaving"),
        ({"kinds": []}, "choose at least one of"),
        ({"size": -1}, "size -1 must be >= 0"),
        ({"frames": 7}, "frames 7 must be >= 8"),
    ],
)
def test_bad_arguments(change: dict, message: str):
    with pytest.raises(ValueError, match=message):
        RenderedFilms(**{"split": "train", "size": 1, **change})


@pytest.mark.parametrize("index", [-1, 2])
def test_films_outside_the_data_set(index: int):
    with pytest.raises(IndexError, match="outside the 2 films"):
        RenderedFilms("train", 2)[index]
