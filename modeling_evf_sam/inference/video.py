"""Films: sentences and corrections in, the masks of one frame after the other out."""

import operator
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from modeling_evf_sam.inference.video_trackers import Answers, Clicks, FrameByFrame, MemoryTracker, Task, Tracker
from modeling_evf_sam.modeling_evf_sam import EvfSamModel
from modeling_evf_sam.modeling_evf_sam_video import EvfSamVideoModel, ObjectMemory
from modeling_evf_sam.photos import Photo, to_rgb
from modeling_evf_sam.processing_evf_sam import EvfSamProcessor

KEY_CANDIDATES = 5  # frames on which key_frame="best" reads the sentences
PASSES = {"forward": (1,), "backward": (-1,), "both": (1, -1)}


@dataclass
class FrameResult:
    """The objects of one frame of H x W pixels.

    Attributes:
        frame: its number, from 0.
        object_ids: P objects.
        masks: (P, H, W) bool.
        scores: (P,) SAM's own estimate of each mask's IoU.
        object_scores: (P,) logits that the object is on the frame, which it is above zero; None where SAM does not
            tell (SAM-1, EfficientSAM, and SAM-2 without its memory).
    """

    frame: int
    object_ids: list[int]
    masks: Tensor
    scores: Tensor
    object_scores: Tensor | None


@dataclass
class _Object:
    sentence: str
    semantic: bool
    frame: int
    clicks: dict[int, Clicks] = field(default_factory=dict)


@dataclass
class _Run:
    """One walk over a film.

    Attributes:
        keys: on which frame each object begins.
        redetect: every so many frames the sentences of lost objects are read again.
        memories: what is known of each object.
        met: (object, frame) of the prompts that the walk came by.
        seen: objects that were on some frame.
        earliest: what was known of objects that were seen, lost, and then found again by their sentence.
    """

    keys: dict[int, int]
    redetect: int | None
    memories: defaultdict[int, ObjectMemory] = field(default_factory=lambda: defaultdict(ObjectMemory))
    met: set[tuple[int, int]] = field(default_factory=set)
    seen: set[int] = field(default_factory=set)
    earliest: dict[int, ObjectMemory] = field(default_factory=dict)

    def turn(self) -> None:
        """Go on from the key frames in the other direction, with the memories from around them."""
        self.memories.update(self.earliest)
        for memory in self.memories.values():
            memory.turn()

    def find_again(self, number: int, memory: ObjectMemory) -> None:
        """An object that was lost begins a new memory."""
        if number in self.seen:
            self.earliest.setdefault(number, self.memories[number])
        self.memories[number] = memory


class EvfSamVideoPredictor:
    """Follows what sentences name through a film.

    Sentences and corrections are declared, each for the frame that it is about; `propagate` then walks over the
    frames. Each frame is encoded once for all objects, and let go; with `EvfSamVideoModel` six frames and sixteen
    pointers are kept of each object, and the frames with a prompt, however long the film is. What is declared during
    the walk counts from the next frame on.

    Args:
        model: in evaluation mode, on any device. `EvfSamVideoModel` follows objects by SAM-2's memory; `EvfSamModel`,
            of any SAM, reads each sentence on each frame.
        processor: the model's processor.
    """

    def __init__(self, model: EvfSamModel, processor: EvfSamProcessor):
        self._tracker: Tracker
        if isinstance(model, EvfSamVideoModel):
            self._tracker = MemoryTracker(model, processor)
        else:
            self._tracker = FrameByFrame(model, processor)
        self._objects: dict[int, _Object] = {}

    @property
    def has_memory(self) -> bool:
        """Whether objects are followed; otherwise every frame is a photo, and corrections hold on it alone."""
        return isinstance(self._tracker, MemoryTracker)

    def add_sentence(self, sentence: str, frame: int = 0, semantic: bool = False) -> int:
        """Name an object.

        Args:
            sentence: what it is.
            frame: the number of the frame on which the sentence is read, and from which on the object is followed.
            semantic: whether every pixel of a category is asked for, not one object.

        Returns:
            The object's id, counted from 1.

        Raises:
            ValueError: the sentence is empty, or the number is none.
        """
        if not isinstance(sentence, str) or not sentence.strip():
            raise ValueError(f"{sentence!r} is no sentence: give some words")
        number = len(self._objects) + 1
        self._objects[number] = _Object(sentence, semantic, _frame_number(frame))
        return number

    def add_points(
        self, object_id: int, frame: int, points: Sequence[Sequence[float]], labels: Sequence[int] | None = None
    ) -> None:
        """Correct an object on a frame by points; those of further calls add up.

        Args:
            object_id: what `add_sentence` returned.
            frame: the frame's number.
            points: [x, y] each, in pixels of the frame.
            labels: 1 (on the object, the default) or 0 (beside it) for each point.

        Raises:
            ValueError: there is no such object, or the labels do not fit.
        """
        labels = [1] * len(points) if labels is None else list(labels)
        if not points or len(labels) != len(points):
            raise ValueError(f"{len(points)} points and {len(labels)} labels: give as many of each, at least one")
        clicks = self._clicks(object_id, frame)
        clicks.points.extend(points)
        clicks.labels.extend(labels)

    def add_box(self, object_id: int, frame: int, box: Sequence[float]) -> None:
        """Correct an object on a frame by a box [x0, y0, x1, y1] in pixels of the frame, in place of an earlier one.

        Raises:
            ValueError: there is no such object.
        """
        self._clicks(object_id, frame).box = box

    def propagate(
        self,
        frames: Iterable[Photo],
        *,
        key_frame: int | str = "first",
        direction: str | None = None,
        redetect: int | None = None,
    ) -> Iterator[FrameResult]:
        """Walk over a film. Each call begins anew, with all sentences and corrections so far.

        Args:
            frames: the film's frames, as `photos.to_rgb` takes them, read one at a time; an iterator where the walk
                goes forward only.
            key_frame: where sentences are read: "first", each on the frame that `add_sentence` was given; a number,
                all on that frame; or "best", each on the one of a few frames where it fits best.
            direction: from the key frame "forward", "backward" or "both"; default: "forward" for "first", otherwise
                "both". Both means forward first, then, in falling order, the frames before.
            redetect: every so many frames the sentence of an object that is lost is read again; if the object is
                there, it is followed from there on. Without a memory every sentence is read on every frame anyway.

        Yields:
            The objects of each frame, from their key frames on; one that is not there has an empty mask.

        Raises:
            ValueError: bad arguments, frames that are no photos, or prompts for frames that the film does not have.
        """
        direction = direction or ("forward" if key_frame == "first" else "both")
        if direction not in PASSES:
            raise ValueError(f"direction is {direction!r}, expected one of {', '.join(PASSES)}")
        if redetect is not None and (not isinstance(redetect, int) or redetect < 1):
            raise ValueError(f"redetect is {redetect!r}: give a number of frames, 1 or more")
        if not self._objects:
            raise ValueError("there is nothing to follow: call add_sentence first")
        if (direction != "forward" or key_frame == "best") and not _at_hand(frames):
            raise ValueError('an iterator goes forward only: give a list of frames, or key_frame="first"')
        if _at_hand(frames) and not len(frames):  # type: ignore[arg-type]
            raise ValueError("the film has no frames")
        return self._run(frames, key_frame, PASSES[direction], redetect)

    @torch.no_grad()
    def _run(
        self, frames: Any, key_frame: int | str, steps: tuple[int, ...], redetect: int | None
    ) -> Iterator[FrameResult]:
        run = _Run(self._keys(frames, key_frame), redetect)
        for number, frame in self._prompts(run) if _at_hand(frames) else []:
            if frame >= len(frames):
                raise ValueError(f"{self._name(number)} has a prompt on frame {frame}, but the film ends before it")
        for step in steps:
            run.turn()
            started = operator.ge if step == steps[0] else operator.gt  # the key frame once
            for index, read in _walk(frames, step):
                active = [number for number in self._objects if started((index - self._key(number, run)) * step, 0)]
                if active:
                    yield self._segment(_photo(read(), index), index, step, active, run)
        for number, frame in self._prompts(run):
            if (number, frame) not in run.met:
                raise ValueError(f"{self._name(number)} has a prompt on frame {frame}, which was not come by")

    def _segment(self, frame: Image.Image, index: int, step: int, active: list[int], run: _Run) -> FrameResult:
        encoded = self._tracker.encode(frame)
        tasks = [self._task(number, index, run) for number in active]
        answers = self._tracker.segment(encoded, index, step, tasks)
        lost = self._lost(index, active, answers, run)
        if lost:
            again = [replace(tasks[row], memory=ObjectMemory(), asked=True) for row in lost]
            found = self._tracker.segment(encoded, index, step, again)
            for place, row in enumerate(lost):
                if found.replace_in(answers, row, place):
                    run.find_again(active[row], again[place].memory)
        if answers.object_scores is not None:
            run.seen.update(active[row] for row in (answers.object_scores > 0).nonzero()[:, 0].tolist())
        return FrameResult(index, active, answers.masks, answers.scores, answers.object_scores)

    def _task(self, number: int, index: int, run: _Run) -> Task:
        each, key = self._objects[number], (number, self._key(number, run))
        task = Task(each.sentence, each.semantic, run.memories[number], key not in run.met, each.clicks.get(index))
        run.met |= {key, (number, index)} if task.clicks else {key}
        return task

    def _lost(self, index: int, active: list[int], answers: Answers, run: _Run) -> list[int]:
        """Which of the objects are not on the frame, and due to be looked for."""
        if run.redetect is None or answers.object_scores is None:
            return []
        there = (answers.object_scores > 0).tolist()
        distances = [index - self._key(number, run) for number in active]
        return [
            row
            for row, distance in enumerate(distances)
            if distance and distance % run.redetect == 0 and not there[row]
        ]

    def _key(self, number: int, run: _Run) -> int:
        """Where an object begins; one that was named during the walk does so on the next frame."""
        return run.keys.get(number, self._objects[number].frame)

    def _prompts(self, run: _Run) -> list[tuple[int, int]]:
        """(object, frame) of all that was declared."""
        keys = [(number, self._key(number, run)) for number in self._objects]
        return keys + [(number, frame) for number, each in self._objects.items() for frame in each.clicks]

    def _name(self, number: int) -> str:
        return f"object {number}, {self._objects[number].sentence!r},"

    def _keys(self, frames: Any, key_frame: int | str) -> dict[int, int]:
        """On which frame each object begins, if not on the one that it was named for."""
        if key_frame == "first":
            return {}
        if key_frame != "best":
            return dict.fromkeys(self._objects, _frame_number(key_frame))
        if not self.has_memory:
            return dict.fromkeys(self._objects, 0)
        count = min(len(frames), KEY_CANDIDATES)
        candidates = sorted({round(place * (len(frames) - 1) / max(1, count - 1)) for place in range(count)})
        fits = torch.stack([self._fit(_photo(frames[index], index), index) for index in candidates])  # (C, P)
        return {number: candidates[best] for number, best in zip(self._objects, fits.argmax(0).tolist(), strict=True)}

    def _fit(self, frame: Image.Image, index: int) -> Tensor:
        """(P,) how well each sentence fits a frame: that its object is there, and the mask's IoU."""
        tasks = [Task(each.sentence, each.semantic, ObjectMemory(), asked=True) for each in self._objects.values()]
        answers = self._tracker.segment(self._tracker.encode(frame), index, 1, tasks)
        assert answers.object_scores is not None
        return answers.object_scores.sigmoid() * answers.scores

    def _clicks(self, object_id: int, frame: int) -> Clicks:
        if object_id not in self._objects:
            known = ", ".join(map(str, self._objects)) or "none yet: call add_sentence"
            raise ValueError(f"there is no object {object_id!r}; known: {known}")
        return self._objects[object_id].clicks.setdefault(_frame_number(frame), Clicks())


def _at_hand(frames: Any) -> bool:
    """Whether frames can be read in any order."""
    return hasattr(frames, "__len__") and hasattr(frames, "__getitem__")


def _walk(frames: Any, step: int) -> Iterator[tuple[int, Callable[[], Any]]]:
    """Numbers of frames in rising or falling order, each with what reads the frame."""
    if not _at_hand(frames):
        for index, frame in enumerate(frames):
            yield index, lambda frame=frame: frame  # type: ignore[misc]
        return
    for index in range(len(frames))[::step]:
        yield index, partial(operator.getitem, frames, index)


def _frame_number(value: Any) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if number < 0 or isinstance(value, bool):
        raise ValueError(f"{value!r} is no number of a frame: count from 0")
    return number


def _photo(frame: Photo, index: int) -> Image.Image:
    try:
        return to_rgb(frame)
    except ValueError as error:
        raise ValueError(f"frame {index}: {error}") from error


__all__ = ["EvfSamVideoPredictor", "FrameResult"]
