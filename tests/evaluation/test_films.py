"""Scores of films, with segmenters that know the truth and spoil it in a known way."""

from collections.abc import Callable, Iterator
from itertools import chain

import numpy as np
import pytest

from modeling_evf_sam import DEFAULT_CHECKPOINT
from modeling_evf_sam.evaluation.films import evaluate_films
from modeling_evf_sam.evaluation.video_metrics import boundary_accuracy, region_similarity
from modeling_evf_sam.inference.loading import load_model
from modeling_evf_sam.inference.segmenting import segment
from modeling_evf_sam.rendered_scenes.films import Film, RenderedFilms

FILMS = RenderedFilms("validation", 3, frames=8)


def spoiled(change: Callable[[int, np.ndarray], np.ndarray]) -> Callable:
    """A segmenter that gives change(frame's number, true masks) back."""
    films = iter([FILMS[index] for index in range(len(FILMS))])

    def segment_film(frames: Iterator[np.ndarray], sentences: list[str]) -> Iterator[np.ndarray]:
        film = next(films)
        assert sentences == film.sentences
        for number, (frame, masks) in enumerate(zip(frames, film.masks(), strict=True)):
            assert frame.shape == (*film.photo_size, 3)
            yield change(number, masks)

    return segment_film


def test_truth_is_perfect():
    figures = evaluate_films(spoiled(lambda number, masks: masks), FILMS)
    objects = sum(len(film.sentences) for film in FILMS)
    assert (figures["j"], figures["f"], figures["j_and_f"], figures["objects"]) == (1, 1, 1, objects)
    assert sorted(figures["by_kind"]) == ["crossing", "leaving", "moving"]


def test_first_and_last_frame_count():
    figures = evaluate_films(spoiled(lambda number, masks: masks ^ (number in (0, 7))), FILMS)
    assert figures["by_kind"]["moving"]["j"] == pytest.approx(6 / 8)


def test_an_object_is_the_mean_of_its_frames_and_a_group_of_its_objects():
    figures = evaluate_films(spoiled(lambda number, masks: np.roll(masks, number, axis=2)), FILMS)
    j, f = {}, {}
    for film in FILMS:
        pairs = [(np.roll(masks, number, axis=2), masks) for number, masks in enumerate(film.masks())]
        j[film.kind] = [np.mean([region_similarity(a[p], b[p]) for a, b in pairs]) for p in range(len(film.sentences))]
        f[film.kind] = [np.mean([boundary_accuracy(a[p], b[p]) for a, b in pairs]) for p in range(len(film.sentences))]
    for kind, found in figures["by_kind"].items():
        mean_j, mean_f = np.mean(j[kind]), np.mean(f[kind])
        expected = {"j": mean_j, "f": mean_f, "j_and_f": (mean_j + mean_f) / 2, "objects": len(j[kind])}
        assert found == pytest.approx(expected)
    assert figures["j"] == pytest.approx(np.mean([*chain(*j.values())]))
    assert figures["f"] == pytest.approx(np.mean([*chain(*f.values())]))


def masks_of(film: Film, count: int) -> list[np.ndarray]:
    return [np.zeros((len(film.sentences), *film.photo_size), bool)] * count


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda film: masks_of(film, 7), "has 8 frames, but masks of 7 came back"),
        (lambda film: masks_of(film, 9), "has 8 frames, but masks of more came back"),
        (lambda film: [masks[0] for masks in masks_of(film, 8)], "masks of frame 1 are bool of shape"),
        (lambda film: [masks * 1.0 for masks in masks_of(film, 8)], "masks of frame 1 are float64"),
    ],
)
def test_masks_that_do_not_fit(answer: Callable[[Film], list[np.ndarray]], message: str):
    film = FILMS[0]
    with pytest.raises(ValueError, match=message):
        evaluate_films(lambda frames, sentences: answer(film), [film])


def test_no_films():
    with pytest.raises(ValueError, match="no films"):
        evaluate_films(spoiled(lambda number, masks: masks), [])


def test_the_embedded_checkpoint_frame_by_frame():
    """Over 10 films of 24 frames J&F is 0.88; half of what is lost is lost where an object is hidden or gone."""
    model, processor = load_model(DEFAULT_CHECKPOINT, "cpu", "float32")

    def segment_film(frames: Iterator[np.ndarray], sentences: list[str]) -> Iterator[np.ndarray]:
        return (segment(model, processor, [frame], [sentences])[0].masks for frame in frames)

    figures = evaluate_films(segment_film, FILMS)
    assert figures["j_and_f"] > 0.75
    assert figures["by_kind"]["moving"]["j_and_f"] > 0.8
