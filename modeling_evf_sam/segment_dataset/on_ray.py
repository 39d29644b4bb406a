"""Blocks of photos, spread over the workers of Ray Data."""

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeling_evf_sam.files import remove_stale
from modeling_evf_sam.segment_dataset import check_ray
from modeling_evf_sam.segment_dataset.reading import Job, Prompt
from modeling_evf_sam.segment_dataset.results import FAILURES, done_photos

if TYPE_CHECKING:
    import pyarrow


OWN = ("texts", "semantic", "labels")  # columns with what is asked of a photo alone


@dataclass(kw_only=True)
class Summary:
    """How many photos there are of each kind.

    Attributes:
        done: segmented in this run.
        done_before: found in the parts that were there.
        failed: listed in the file of failures.
        without_sentence: passed over.
    """

    done: int = 0
    done_before: int = 0
    failed: int = 0
    without_sentence: int = 0


def segment_dataset(
    job: Job,
    output: Path,
    *,
    model: str,
    device: str | None = None,
    dtype: str | None = None,
    backend: str = "torch",
    workers: int | None = None,
    batch_size: int = 8,
    part_size: int = 256,
    instances: bool = False,
    progress: Callable[[Iterable[int], int], Iterable[int]] = lambda counts, _: counts,
) -> Summary:
    """Segments the photos of a job that `output` does not hold yet.

    Runs on the cluster that the environment variable RAY_ADDRESS names, otherwise on this machine; every machine
    must see the photos, the model and `output` at the same paths.

    Args:
        job: photos and sentences.
        output: an existing folder; gets a parquet file for each block of photos, and `failures.jsonl`.
        model: folder or Hub id of a checkpoint.
        device: a torch device for every worker; None takes a GPU each where there are any.
        dtype: what every worker computes in, as `load` takes it.
        backend: what every worker computes with; but for "torch", `model` is a folder that `evf-sam export` wrote.
        workers: processes that hold the model; default one for each GPU, or a single one.
        batch_size: photos computed at a time.
        instances: whether to part each answer into its objects.
        part_size: photos in a block: what a stopped run does again, at the most, for each worker.
        progress: wraps the numbers of photos of the finished blocks; gets the number of all photos too.

    Raises:
        ValueError: Ray Data is missing, or a worker cannot load the model.
    """
    remove_stale(output)
    before = done_photos(output)
    names = [name for name in job.names if job.prompts(name)]
    summary = Summary(without_sentence=len(job.names) - len(names), done_before=len(before.intersection(names)))
    names = [name for name in names if name not in before]
    (output / FAILURES).unlink(missing_ok=True)  # what failed before is tried again
    if not names:
        return summary
    blocks = [_table(job, names[start : start + part_size]) for start in range(0, len(names), part_size)]
    settings = {"model": model, "device": device, "dtype": dtype, "backend": backend, "batch_size": batch_size}
    settings["instances"] = instances
    places = {"root": job.root, "output": output, "shared": job.shared}
    results = _run_on_ray(blocks, {**settings, **places}, use_gpu=device is None, workers=workers)
    for _ in progress(_collect(results, output / FAILURES, summary), len(names)):
        pass
    return summary


def _table(job: Job, names: list[str]) -> "pyarrow.Table":
    """One row for each photo; sentences that all photos share travel with the workers instead."""
    import pyarrow

    own = [[] if job.shared else job.prompts(name) for name in names]
    columns = {
        "image": pyarrow.array(names, pyarrow.string()),
        "texts": pyarrow.array([[p.text for p in row] for row in own], pyarrow.list_(pyarrow.string())),
        "semantic": pyarrow.array([[p.semantic for p in row] for row in own], pyarrow.list_(pyarrow.bool_())),
        "labels": pyarrow.array([[p.label for p in row] for row in own], pyarrow.list_(pyarrow.string())),
    }
    return pyarrow.table(columns)


class Worker:
    """A `PartWriter` as Ray Data calls it: a block of photos in, what became of them out.

    Ray would try again without end where the making of a worker fails, so that a mistake is kept and told instead.
    """

    def __init__(self, *, shared: list[Prompt], threads: int, **settings: Any):
        import torch

        from modeling_evf_sam.segment_dataset.worker import PartWriter

        torch.set_num_threads(threads)
        self.shared, self.mistake = shared, ""
        try:
            self.writer = PartWriter(**settings)
        except (ValueError, OSError) as error:
            self.mistake = str(error)

    def __call__(self, block: "pyarrow.Table") -> dict[str, list]:
        """Segments one block; returns the number of its photos, its failures as JSON, and why nothing can be done."""
        if self.mistake:
            return {"photos": [0], "failures": ["[]"], "mistake": [self.mistake]}
        photos = [
            (row["image"], self.shared or [Prompt(*own) for own in zip(*(row[name] for name in OWN), strict=True)])
            for row in block.to_pylist()
        ]
        return {"photos": [len(photos)], "failures": [json.dumps(self.writer.write(photos))], "mistake": [""]}


def _run_on_ray(
    blocks: "list[pyarrow.Table]", settings: dict[str, Any], *, use_gpu: bool, workers: int | None
) -> Iterator[dict[str, Any]]:
    """Yields the result of each block as it is finished."""
    check_ray()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    try:
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False  # `progress` shows photos
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0)) if use_gpu else 0
        workers = workers or gpus or 1
        threads = max(1, int(resources["CPU"]) // workers)
        results = ray.data.from_arrow(blocks).map_batches(
            Worker,
            fn_constructor_kwargs={**settings, "threads": threads},
            batch_size=None,  # a whole block
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=threads,
            num_gpus=gpus / workers if gpus else None,
        )
        yield from results.iter_rows()
    finally:
        ray.shutdown()


def _collect(results: Iterable[dict[str, Any]], file: Path, summary: Summary) -> Iterator[int]:
    """Adds results to the summary, failures to the file, and yields how many photos each result stands for."""
    for result in results:
        if result["mistake"]:
            raise ValueError(result["mistake"])
        failures = json.loads(result["failures"])
        if failures:
            with file.open("a", encoding="utf-8") as stream:
                stream.writelines(json.dumps(failure, ensure_ascii=False) + "\n" for failure in failures)
        summary.done += result["photos"] - len(failures)
        summary.failed += len(failures)
        yield result["photos"]
