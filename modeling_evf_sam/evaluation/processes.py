"""One evaluation in several processes, as `torchrun` starts them: every photo belongs to one of them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

import torch
from torch import distributed

from modeling_evf_sam.evaluation.evaluator import EvaluationResult, SentenceResult

PATIENCE = timedelta(days=1)  # that the first process to finish waits for the last


@dataclass(frozen=True)
class Processes:
    """This process, number `rank` of `count`."""

    rank: int
    count: int

    def share(self, photos: int) -> range:
        """The photos of this process: every `count`-th, so that no photo is scored twice and none is left out."""
        return range(self.rank, photos, self.count)

    def join(self, part: EvaluationResult) -> EvaluationResult | None:
        """Brings the results of all shares together, in the order of the photos.

        Args:
            part: of this process; its samples were those of `share`, in order.

        Returns:
            In the first process, what a single process would have found; None in the others.

        Raises:
            ValueError: another process has failed.
        """
        if self.count == 1:
            return part
        parts: list[EvaluationResult] | None = [part] * self.count if self.rank == 0 else None
        try:
            distributed.gather_object(part, parts)
        except RuntimeError:
            raise ValueError("another process of this evaluation has failed: see its message") from None
        if parts is None:
            return None
        return EvaluationResult(
            sorted(self._renumbered(parts), key=lambda sentence: (sentence.index, sentence.number))
        )

    def _renumbered(self, parts: list[EvaluationResult]) -> Iterator[SentenceResult]:
        for rank, part in enumerate(parts):
            for sentence in part.sentences:
                yield replace(sentence, index=rank + self.count * sentence.index)


@contextmanager
def joined_processes() -> Iterator[Processes]:
    """Joins the processes that `torchrun` started, each with a GPU of its own where there are some.

    Processes that are joined already stay so; torch cannot join them a second time.
    """
    if distributed.is_initialized():
        yield Processes(distributed.get_rank(), distributed.get_world_size())
        return
    count = int(os.environ.get("WORLD_SIZE", 1))
    if count == 1:
        yield Processes(0, 1)
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    distributed.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield Processes(distributed.get_rank(), count)
    finally:
        distributed.destroy_process_group()
