"""Seconds, FLOPs and memory of actions that are measured in turns."""

import ctypes
import gc
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

SAMPLING_SECONDS = 0.001


@dataclass(frozen=True, kw_only=True)
class Action:
    """Something to measure.

    Attributes:
        what: its name.
        run: does it once.
        dtype: what it computes in, such as "float32"; empty where it computes nothing.
        sentences: how many for each photo; None where the action does not read any.
    """

    what: str
    run: Callable[[], object]
    dtype: str = ""
    sentences: int | None = None


@dataclass(kw_only=True)
class Measurement:
    """What was measured of an action.

    Attributes:
        action: which one.
        flops: of one run, 2 for a multiply-add.
        memory: bytes that one run took at its peak, on top of what was there before it.
        seconds: of each timed run.
    """

    action: Action
    flops: int
    memory: int
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle of the timed runs, in seconds."""
        return median(self.seconds)

    @property
    def rate(self) -> float:
        """FLOP per second."""
        return self.flops / self.median


@torch.no_grad()
def measure(
    actions: Sequence[Action],
    *,
    repeats: int,
    device: torch.device,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> list[Measurement]:
    """Runs every action once to count FLOPs and memory, and then all of them in turns, so that drift hits all alike.

    Args:
        actions: in the order of the turns.
        repeats: timed runs of each action.
        device: where they compute.
        progress: wraps the runs, to show how far it is (`tqdm`, for example).

    Raises:
        ValueError: fewer than 1 repeat.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, not {repeats}")
    measurements: list[Measurement] = []
    turns = [(turn, index) for turn in range(repeats + 1) for index in range(len(actions))]
    for turn, index in progress(turns):
        if turn == 0:
            measurements.append(_count(actions[index], device))
        else:
            measurements[index].seconds.append(_time(actions[index], device))
    return measurements


def count_flops(run: Callable[[], object]) -> int:
    """Runs something and counts the FLOPs of its matrix products, convolutions and attention."""
    with FlopCounterMode(display=False, custom_mapping=UNCOUNTED) as counter:
        run()
    return counter.get_total_flops()


def _attention_flops(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _int8_flops(tokens: Any, *_: Any, out_shape: Any, **__: Any) -> int:
    return 2 * math.prod(tokens) * out_shape[-1]


UNCOUNTED = {  # torch leaves them out
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    torch.ops.quantized.linear_dynamic: _int8_flops,
}


def _count(action: Action, device: torch.device) -> Measurement:
    with peak_memory(device) as grown:
        flops = count_flops(action.run)
    return Measurement(action=action, flops=flops, memory=grown[0])


def _time(action: Action, device: torch.device) -> float:
    synchronize(device)
    start = time.perf_counter()
    action.run()
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device: torch.device) -> None:
    """Waits until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def peak_memory(device: torch.device) -> Iterator[list[int]]:
    """Gives a list that holds, when the block has ended, by how many bytes memory grew in it at the most.

    On a GPU torch's own count of allocated bytes, elsewhere the resident memory of this process, looked at every
    millisecond.
    """
    gc.collect()
    grown = [0]
    if device.type == "cuda":
        synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield grown
        grown[0] = torch.cuda.max_memory_allocated(device) - before
        return
    with suppress(AttributeError, OSError):  # glibc would meet the block's needs from what it kept for later
        ctypes.CDLL(None).malloc_trim(0)
    ended = threading.Event()
    watcher = threading.Thread(target=_watch_resident_memory, args=(grown, ended), daemon=True)
    watcher.start()
    try:
        yield grown
    finally:
        ended.set()
        watcher.join()


def _watch_resident_memory(grown: list[int], ended: threading.Event) -> None:
    process = psutil.Process()
    before = process.memory_info().rss
    while not ended.wait(SAMPLING_SECONDS):
        grown[0] = max(grown[0], process.memory_info().rss - before)
