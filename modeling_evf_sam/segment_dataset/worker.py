"""One worker: photos and sentences in, a part of the results out."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from PIL.Image import Image

from modeling_evf_sam.inference.backends import load
from modeling_evf_sam.inference.segmentation import Segmentation
from modeling_evf_sam.inference.segmenting import segment
from modeling_evf_sam.photos import open_photo
from modeling_evf_sam.segment_dataset.reading import Prompt
from modeling_evf_sam.segment_dataset.results import write_part

READING_THREADS = 4

Opened = tuple[str, list[Prompt], Image]
Opening = tuple[str, list[Prompt], "Future[Image]"]
Rows = list[dict[str, Any]]


class PartWriter:
    """A model that segments blocks of photos, and writes a part of the results for each.

    Args:
        model: folder or Hub id of a checkpoint.
        device: a torch device; None takes a GPU where there is one.
        dtype: what to compute in, as `load` takes it.
        backend: what computes; but for "torch", `model` is a folder that `evf-sam export` wrote.
        root: where the names of photos start.
        output: folder for the parts.
        batch_size: photos computed at a time; no more than twice as many are in memory.
        instances: whether to part each answer into its objects, each of which gets a row.
    """

    def __init__(
        self,
        *,
        model: str,
        device: str | None,
        dtype: str | None = None,
        backend: str = "torch",
        root: Path,
        output: Path,
        batch_size: int,
        instances: bool = False,
    ):
        self.model, self.processor = load(model, device, dtype, backend)
        self.root, self.output, self.batch_size, self.instances = root, output, batch_size, instances
        self.pool = ThreadPoolExecutor(READING_THREADS)

    def write(self, photos: Sequence[tuple[str, list[Prompt]]]) -> list[dict[str, str]]:
        """Segments the photos of one block and writes what was found, in the order given.

        Args:
            photos: a name and sentences for each.

        Returns:
            `image` and `error` of each photo that failed.
        """
        rows: Rows = []
        failures = []
        for batch in self._batches(photos):
            for name, result in self._segment_batch(batch):
                if isinstance(result, Exception):
                    failures.append({"image": name, "error": " ".join(str(result).split())})
                else:
                    rows += result
        if rows:
            write_part(self.output, [name for name, _ in photos], rows)
        return failures

    def _batches(self, photos: Sequence[tuple[str, list[Prompt]]]) -> Iterator[list[Opening]]:
        """Yields batches, while threads already read the next one."""
        starts = range(0, len(photos), self.batch_size)
        waiting: list[Opening] = []
        for start in starts:
            batch = photos[start : start + self.batch_size]
            opened = [(name, prompts, self.pool.submit(open_photo, self.root / name)) for name, prompts in batch]
            if waiting:
                yield waiting
            waiting = opened
        yield waiting

    def _segment_batch(self, batch: list[Opening]) -> Iterator[tuple[str, Rows | Exception]]:
        """Yields rows, or what went wrong, for each photo."""
        opened = []
        for name, prompts, opening in batch:
            try:
                opened.append((name, prompts, opening.result()))
            except (ValueError, OSError) as error:
                yield name, error
        try:
            yield from self._predict(opened)
        except ValueError:  # one of them is to blame
            for photo in opened:
                yield self._predict_alone(photo)

    def _predict_alone(self, photo: Opened) -> tuple[str, Rows | Exception]:
        try:
            return self._predict([photo])[0]
        except ValueError as error:
            return photo[0], error

    def _predict(self, photos: list[Opened]) -> list[tuple[str, Rows | Exception]]:
        if not photos:
            return []
        found = segment(
            self.model,
            self.processor,
            [photo for _, _, photo in photos],
            [[prompt.text for prompt in prompts] for _, prompts, _ in photos],
            semantic=[[prompt.semantic for prompt in prompts] for _, prompts, _ in photos],
            instances=self.instances,
        )
        return [
            (name, list(_rows(name, prompts, result)))
            for (name, prompts, _), result in zip(photos, found, strict=True)
        ]


def _rows(name: str, prompts: list[Prompt], found: Segmentation) -> Iterator[dict[str, Any]]:
    """A row for each answer, or for each of its objects where it was parted into some."""
    for prompt, answer in zip(prompts, found.record()["masks"], strict=True):
        instances = answer.pop("instances", [])
        row = {"image": name, "label": prompt.label or prompt.text, **answer}
        yield from [{**row, **own, "instance": number} for number, own in enumerate(instances, start=1)] or [row]
