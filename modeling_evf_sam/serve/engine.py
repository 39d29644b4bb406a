"""One thread that computes what all clients ask: what waits about one photo is decoded together."""

import hashlib
import queue
import threading
import time
from collections.abc import Container, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from modeling_evf_sam.inference.known_limits import photo_warning
from modeling_evf_sam.inference.predictor import EncodedPhoto, EvfSamPredictor, PhotoCache
from modeling_evf_sam.inference.segmentation import Segmentation
from modeling_evf_sam.prompts_evf_sam import PRESENT_THRESHOLD

AT_A_TIME = 64  # sentences that are taken from the queue together


class Busy(Exception):
    """The queue is full: ask again in so many seconds."""

    def __init__(self, seconds: int):
        super().__init__(f"the server is busy: ask again in {seconds} s")
        self.seconds = seconds


class UnknownPhoto(LookupError):
    """The photo of an id is not here, or not any more."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked of a photo, in photo pixels; lists have an entry for each sentence.

    Attributes:
        sentences: P of them.
        semantic: P flags.
        points: P lists of [x, y].
        point_labels: P lists of 1 or 0.
        boxes: P boxes, or None.
        exclude: P lists of names.
        instances: whether to part each answer into its objects.
        present_threshold: least presence of what gets a mask.
    """

    sentences: list[str]
    semantic: list[bool]
    points: list[list[list[float]]]
    point_labels: list[list[int]]
    boxes: list[list[float] | None]
    exclude: list[list[str]]
    instances: bool = False
    present_threshold: float = PRESENT_THRESHOLD

    def joined(self, others: Sequence["Asked"]) -> "Asked":
        """All sentences of several as one."""
        rows = {name: [row for one in (self, *others) for row in getattr(one, name)] for name in PER_SENTENCE}
        return Asked(instances=self.instances, present_threshold=self.present_threshold, **rows)


PER_SENTENCE = ("sentences", "semantic", "points", "point_labels", "boxes", "exclude")


class Traits(NamedTuple):
    """Of a checkpoint: whether it knows prompts for every pixel of a category, and what it is not made for."""

    semantic: bool
    warning: str | None


class Answer(NamedTuple):
    """Which photo it is about, and what was found in it; nothing where nothing was asked."""

    photo_id: str
    found: Segmentation | None


@dataclass(kw_only=True)
class Job:
    """A request that waits: of what photo, and what; nothing for a photo that is to be encoded alone."""

    photo_id: str
    photo: Image.Image | None
    asked: Asked | None
    answer: "Future[Answer]" = field(default_factory=Future)

    @property
    def kind(self) -> tuple:
        """Jobs of one kind are computed together."""
        asked = self.asked
        return (self.photo_id, asked and (asked.instances, asked.present_threshold))


class Engine:
    """A model, the photos that it has encoded, and a queue of what is asked of it.

    Args:
        model: in evaluation mode, on any device; or an exported one.
        processor: the model's own.
        cache_bytes: how much memory encoded photos may take up.
        queue_size: requests that may wait.
        embeddings: a folder with files of encoded photos, to take them from and add to; for a torch model.
    """

    def __init__(
        self, model: Any, processor: Any, *, cache_bytes: int, queue_size: int, embeddings: str | None = None
    ):
        self._files: Container[Image.Image] = ()
        if embeddings is None:
            self.predictor = EvfSamPredictor(model, processor)
        else:
            from modeling_evf_sam.serve.embedding_files import PredictorWithFiles  # needs torch

            self.predictor = predictor = PredictorWithFiles(model, processor, embeddings)
            self._files = predictor.files
        self.photos = PhotoCache(cache_bytes)
        self.encodings = 0  # how often a photo was encoded
        self._waiting: queue.Queue[Job | None] = queue.Queue(queue_size)
        self._seconds = 1.0  # that a request took, lately
        self._open = True
        self._thread = threading.Thread(target=self._work, name="evf-sam-engine", daemon=True)
        self._thread.start()

    @property
    def traits(self) -> Traits:
        """What the model is, as far as those who ask must know."""
        semantic = bool(getattr(self.predictor.processor, "semantic_prompts", False))
        return Traits(semantic, photo_warning(self.predictor.model.config))

    @property
    def num_waiting(self) -> int:
        """Requests in the queue."""
        return self._waiting.qsize()

    @property
    def is_open(self) -> bool:
        """Whether requests are taken."""
        return self._open and self._thread.is_alive()

    def ask(self, photo: Image.Image | str, asked: Asked | None) -> "Future[Answer]":
        """Puts a request into the queue.

        Args:
            photo: upright and RGB; or the id of one that was sent before.
            asked: what to segment; None to encode the photo alone.

        Raises:
            Busy: the queue is full, or the engine is closing.
            UnknownPhoto: there is no photo of that id.
        """
        photo_id = photo if isinstance(photo, str) else identify(photo)
        if isinstance(photo, str) and photo not in self.photos:
            raise UnknownPhoto(f"photo '{photo[:80]}' is not here, or not any more: send it again")
        job = Job(photo_id=photo_id, photo=None if isinstance(photo, str) else photo, asked=asked)
        try:
            if not self.is_open:
                raise queue.Full
            self._waiting.put_nowait(job)
        except queue.Full:
            raise Busy(max(1, round(self._seconds * self._waiting.qsize()))) from None
        return job.answer

    def close(self) -> None:
        """Ends when all that was taken is done."""
        self._open = False
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        ending = False
        while not (ending and self._waiting.empty()):
            jobs = self._take()
            ending |= None in jobs
            groups: dict[tuple, list[Job]] = {}
            for job in jobs:
                if job is not None and job.answer.set_running_or_notify_cancel():
                    groups.setdefault(job.kind, []).append(job)
            for group in groups.values():
                start = time.perf_counter()
                self._answer(group)
                self._seconds = 0.8 * self._seconds + 0.2 * (time.perf_counter() - start) / len(group)

    def _take(self) -> list[Job | None]:
        """What waits, as far as it is not too much at a time; at least one."""
        jobs = [self._waiting.get()]
        count = 0
        while count < AT_A_TIME:
            try:
                jobs.append(self._waiting.get_nowait())
            except queue.Empty:
                break
            count += len(jobs[-1].asked.sentences) if jobs[-1] and jobs[-1].asked else 1
        return jobs

    def _answer(self, jobs: list[Job]) -> None:
        """Answers jobs of one kind; where that fails one by one, as one of them may be to blame."""
        try:
            answers = self._compute(jobs)
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].answer.set_exception(error)
            for job in jobs if len(jobs) > 1 else ():
                self._answer([job])
            return
        for job, answer in zip(jobs, answers, strict=True):
            job.answer.set_result(answer)

    def _compute(self, jobs: list[Job]) -> list[Answer]:
        encoded, photo_id = self._encode(jobs), jobs[0].photo_id
        all_asked = [job.asked for job in jobs if job.asked is not None]
        if not all_asked:
            return [Answer(photo_id, None)] * len(jobs)
        asked = all_asked[0].joined(all_asked[1:])
        result = self.predictor.predict(
            asked.sentences,
            photo=encoded,
            semantic=asked.semantic,
            points=asked.points,
            point_labels=asked.point_labels,
            boxes=asked.boxes,
            exclude=asked.exclude if any(asked.exclude) else None,
            instances=asked.instances,
            present_threshold=asked.present_threshold,
        )
        answers, start = [], 0
        for one in all_asked:
            rows = slice(start, start := start + len(one.sentences))
            own = {name: values[rows] for name, values in result.items()}
            answers.append(Answer(photo_id, Segmentation.from_tensors(own, one.sentences, one.semantic)))
        return answers

    def _encode(self, jobs: list[Job]) -> EncodedPhoto:
        photo = next((job.photo for job in jobs if job.photo is not None), None)

        def encode() -> EncodedPhoto:
            if photo is None:
                raise UnknownPhoto(f"photo '{jobs[0].photo_id}' is not here any more: send it again")
            self.encodings += photo not in self._files
            return self.predictor.encode(photo)

        return self.photos.get(jobs[0].photo_id, encode)


def identify(photo: Image.Image) -> str:
    """What a photo is called: a digest of its size and pixels."""
    return hashlib.sha256(np.array(photo.size).tobytes() + photo.tobytes()).hexdigest()
