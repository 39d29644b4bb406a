"""Scores a segmenter of videos on films with exact masks."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np

from modeling_evf_sam.evaluation.video_metrics import boundary_accuracy, region_similarity


class Film(Protocol):
    """A film with what is true of it, such as `rendered_scenes.films` draws.

    Attributes:
        name: what messages call it.
        kind: the group that it is scored in.
        sentences: P of them, about one object each.
    """

    name: str
    kind: str
    sentences: list[str]

    def __len__(self) -> int:
        """The number of frames."""

    def frames(self) -> Iterator[np.ndarray]:
        """Yields each frame, (H, W, 3) uint8."""

    def masks(self) -> Iterator[np.ndarray]:
        """Yields the visible pixels of the objects on each frame, (P, H, W) bool."""


SegmentFilm = Callable[[Iterable[np.ndarray], list[str]], Iterable[np.ndarray]]


def evaluate_films(segment_film: SegmentFilm, films: Iterable[Film]) -> dict[str, object]:
    """Scores every sentence of every film, one frame at a time.

    As in DAVIS 2017, an object's figure is the mean of its frames, and the figure of a group is the mean of its
    objects. All frames count, the first and the last too: the prompt is a sentence, so no frame is given away.

    Args:
        segment_film: (frames, sentences) -> masks: frames are (H, W, 3) uint8, and for each the masks (P, H, W) bool
            of the P sentences come back, in order.
        films: such as `RenderedFilms`.

    Returns:
        Fractions `j`, `f` and `j_and_f`, and `objects`, their number; and the same for each kind of film in `by_kind`.

    Raises:
        ValueError: there are no films, or the masks do not fit a film's frames.
    """
    groups: dict[str, list[np.ndarray]] = {}
    for film in films:
        groups.setdefault(film.kind, []).append(_score(segment_film, film))
    if not groups:
        raise ValueError("there are no films to score")
    by_kind = {kind: _figures(groups[kind]) for kind in sorted(groups)}
    return {**_figures([scores for group in groups.values() for scores in group]), "by_kind": by_kind}


def _score(segment_film: SegmentFilm, film: Film) -> np.ndarray:
    """Returns J and F of each sentence of one film, (2, P)."""
    scores = [
        (region_similarity(found, meant), boundary_accuracy(found, meant))
        for found, meant in _pairs(segment_film(film.frames(), film.sentences), film)
    ]
    return np.mean(scores, axis=0)


def _pairs(found: Iterable[np.ndarray], film: Film) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the found and the true masks (P, H, W) of each frame."""
    answers, number = iter(found), 0
    for number, meant in enumerate(film.masks(), start=1):
        masks = next(answers, None)
        if masks is None:
            raise ValueError(f"film {film.name} has {len(film)} frames, but masks of {number - 1} came back")
        if masks.shape != meant.shape or masks.dtype != bool:
            raise ValueError(
                f"film {film.name}: masks of frame {number} are {masks.dtype} of shape {masks.shape}; "
                f"return bool of shape {meant.shape} (sentences, height, width)"
            )
        yield masks, meant
    if next(answers, None) is not None:
        raise ValueError(f"film {film.name} has {number} frames, but masks of more came back")


def _figures(groups: list[np.ndarray]) -> dict[str, float]:
    scores = np.concatenate(groups, axis=1)
    j, f = scores.mean(axis=1).tolist()
    return {"j": j, "f": f, "j_and_f": (j + f) / 2, "objects": scores.shape[1]}
