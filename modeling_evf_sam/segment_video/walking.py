"""What is asked of a film, and the walk over its frames that answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image
from pycocotools import mask as coco_mask

from modeling_evf_sam.data.segmentations import run_lengths
from modeling_evf_sam.inference.video import EvfSamVideoPredictor, FrameResult
from modeling_evf_sam.segment_video.film import Film


@dataclass(frozen=True, kw_only=True)
class Correction:
    """Points and a box on one frame, in its pixels, about every object.

    Attributes:
        frame: the frame's number.
        points: [x, y] each.
        labels: 1 (on the objects) or 0 (beside them) for each point.
        box: [x0, y0, x1, y1], or None.
    """

    frame: int
    points: list[list[float]]
    labels: list[int]
    box: list[float] | None = None


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of a film.

    Attributes:
        sentences: P of them, an object each; object 1 is the first.
        semantic: whether every pixel of a category is meant.
        key_frame: where sentences are read: "first", "best" or a frame's number, as in `EvfSamVideoPredictor`.
        redetect: every so many frames lost objects are looked for by their sentences; None for never.
        corrections: of the objects.
    """

    sentences: list[str]
    semantic: bool = False
    key_frame: int | str = "first"
    redetect: int | None = None
    corrections: Sequence[Correction] = ()

    def check(self, film: Film) -> None:
        """Raises a ValueError if it names a frame or a place that the film does not have."""
        if isinstance(self.key_frame, int):
            film.index(self.key_frame)
        for each in self.corrections:
            film.index(each.frame)
            corners = each.points + ([] if each.box is None else [each.box[:2], each.box[2:]])
            for x, y in corners:
                if not (0 <= x <= film.size[0] and 0 <= y <= film.size[1]):
                    size = f"{film.size[0]} x {film.size[1]}"
                    raise ValueError(f"({x:g}, {y:g}) is outside the frames, which are {size}: give pixels of a frame")


def walk(
    predictor: EvfSamVideoPredictor, film: Film, question: Question, indices: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Answers a question about some frames of a film.

    Args:
        predictor: one without sentences.
        film: the film.
        question: what is asked.
        indices: of the frames, as `film[index]` takes them; all of them for a predictor with a memory.

    Yields:
        For each frame, in the order of the walk, its number as `frame`, and `objects`, with object, score, area in
        pixels, box [x0, y0, x1, y1] and COCO's run lengths of each. Where objects have key frames of their own, some
        frames come twice, each time with other objects.
    """
    places = {index: place for place, index in enumerate(indices)}
    for sentence in question.sentences:
        predictor.add_sentence(sentence, semantic=question.semantic)
    for each in question.corrections:
        place = places.get(film.index(each.frame))
        if place is not None:
            _correct(predictor, each, place, len(question.sentences))
    key_frame = question.key_frame if predictor.has_memory else "first"  # without one, all frames are alike
    if isinstance(key_frame, int):
        key_frame = places[film.index(key_frame)]
    frames: Any = _Part(film, indices)
    for result in predictor.propagate(frames, key_frame=key_frame, redetect=question.redetect):
        yield {"frame": film.stamps[indices[result.frame]].number, "objects": _objects(result)}


class _Part:
    """Some frames of a film."""

    def __init__(self, film: Film, indices: Sequence[int]):
        self._film, self._indices = film, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, place: int) -> Image.Image:
        return self._film[self._indices[place]]


def _correct(predictor: EvfSamVideoPredictor, correction: Correction, place: int, count: int) -> None:
    for number in range(1, count + 1):
        if correction.points:
            predictor.add_points(number, place, correction.points, correction.labels)
        if correction.box is not None:
            predictor.add_box(number, place, correction.box)


def _objects(result: FrameResult) -> list[dict[str, Any]]:
    masks = result.masks.cpu().numpy()  # (P, H, W)
    runs = [run_lengths(mask) for mask in masks]
    return [
        {"object": number, "score": score, "area": int(mask.sum()), "box": _corners(run), "rle": run}
        for number, score, mask, run in zip(result.object_ids, result.scores.tolist(), masks, runs, strict=True)
    ]


def _corners(run: dict[str, Any]) -> list[float]:
    """The mask's pixel edges x0, y0, x1, y1, the last two exclusive; zeros for an empty mask."""
    x, y, width, height = coco_mask.toBbox(run).tolist()
    return [x, y, x + width, y + height]
