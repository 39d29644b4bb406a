"""A benchmark run: everything that is measured of a model, as a record for JSON."""

import copy
import platform
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.sam.modeling_sam import SamVisionModel

from modeling_evf_sam.bench.exported_calls import exported_calls
from modeling_evf_sam.bench.measuring import Action, Measurement, measure
from modeling_evf_sam.bench.stages import (
    ANOTHER,
    CALL,
    ENCODE,
    INT8,
    PHOTO_SIZE,
    PRODUCT,
    SEPARATE,
    TRANSFORMERS,
    Calls,
    largest_product,
    matrix_product,
    sentences,
    transformers_encoder,
    transformers_encoding,
)
from modeling_evf_sam.inference.quantization import quantize
from modeling_evf_sam.modeling_evf_sam import EvfSamModel
from modeling_evf_sam.processing_evf_sam import EvfSamProcessor

Record = dict[str, Any]
FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8")  # that say how fast a CPU can be


def run_benchmark(
    model: EvfSamModel,
    processor: EvfSamProcessor,
    *,
    counts: Sequence[int] = (1, 10, 100),
    dtype: str | None = None,
    num_photos: int = 1,
    repeats: int = 5,
    exported: Sequence[Path] = (),
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Record:
    """Measures a model and what it is compared with, in turns.

    Args:
        model: on its device; it stays in the precision to measure.
        processor: the model's own.
        counts: numbers of sentences on a photo.
        dtype: the precision to measure, "float32", "bfloat16", "float16" or, on a CPU, "int8"; default: the model's.
        num_photos: photos in a call.
        repeats: timed runs of everything.
        exported: folders that `evf-sam export` wrote, whose calls are measured as well.
        progress: wraps the runs, to show how far it is.

    Returns:
        `machine`, `setting`, `measurements` and `ratios`, ready for JSON; times in seconds, memory in bytes.

    Raises:
        ValueError: no repeats, or no exported graphs.
    """
    baseline = transformers_encoder(model)
    parameters = model.num_parameters()  # those of int8 layers would not be counted
    precision = dtype or str(model.dtype).removeprefix("torch.")
    model.to(torch.float32 if precision == INT8 else getattr(torch, precision))
    model.requires_grad_(False).eval()  # FlopCounterMode trips over some gradients
    calls = Calls(quantize(model) if precision == INT8 else model, processor, precision, num_photos)
    with torch.no_grad():
        actions = [calls.encoding(), calls.another(), calls.separate()]
        for count in counts:
            actions += [*calls.stages(count), calls.whole(count)]
        for folder in exported:
            actions += exported_calls(folder, calls.photos, counts, precision)
        actions += _compared(calls, baseline)
    measurements = measure(actions, repeats=repeats, device=model.device, progress=progress)
    rates = {m.action.dtype: m.rate for m in measurements if m.action.what == PRODUCT}
    return {
        "machine": machine(model.device),
        "setting": {
            "dtype": precision,
            "photos": num_photos,
            "photo_size": list(PHOTO_SIZE),
            "view_size": model.config.view_size,
            "tokens": calls.prepare(sentences(1))["input_ids"].shape[-1],
            "parameters": parameters,
            "repeats": repeats,
        },
        "measurements": [_entry(m, num_photos, rates) for m in measurements],
        "ratios": _ratios(measurements),
    }


def _compared(calls: Calls, baseline: SamVisionModel | None) -> list[Action]:
    """The encoder of transformers, and the encoder's largest product, in float32 and in the model's precision."""
    sizes, device = largest_product(calls.model, calls.pixel_values[:1]), calls.model.device
    actions = [matrix_product(sizes, device, name) for name in dict.fromkeys(("float32", calls.precision))]
    if baseline is not None:
        dtypes = dict.fromkeys((torch.float32, calls.model.dtype))
        encoders = [baseline if dtype == torch.float32 else copy.deepcopy(baseline).to(dtype) for dtype in dtypes]
        actions += [transformers_encoding(encoder, calls.pixel_values) for encoder in encoders]
    return actions


def _entry(measurement: Measurement, num_photos: int, rates: dict[str, float]) -> Record:
    action, middle = measurement.action, measurement.median
    entry = {
        "what": action.what,
        "sentences": action.sentences,
        "dtype": action.dtype,
        "seconds": measurement.seconds,
        "median": middle,
        "flops": measurement.flops,
        "share_of_peak": measurement.rate / rates[action.dtype] if measurement.flops else None,
        "memory": measurement.memory,
    }
    if action.what == PRODUCT:
        return entry
    entry |= {"seconds_per_photo": middle / num_photos, "photos_per_second": num_photos / middle}
    if action.sentences is not None:
        entry["seconds_per_sentence"] = middle / (num_photos * action.sentences)
    return entry


def _ratios(measurements: list[Measurement]) -> Record:
    """How whole calls and encoders compare; `call` has an entry for each number of sentences but the first."""
    calls = {m.action.sentences or 0: m for m in measurements if m.action.what == CALL}
    encoder, another, separate = (_find(measurements, what) for what in (ENCODE, ANOTHER, SEPARATE))
    per_sentence = separate.median / (separate.action.sentences or 1)
    first_count, first = next(iter(calls.items()))
    return {
        "another_of_first_sentence": another.median / (calls[1].median if 1 in calls else per_sentence),
        "call": {
            str(count): {
                "of": first_count,
                "time": call.median / first.median,
                "flops": call.flops / first.flops,
                "separate_calls": count * per_sentence / call.median,
            }
            for count, call in calls.items()
        },
        "transformers": {
            m.action.dtype: {
                "time": m.median / encoder.median,
                "flops": m.flops / encoder.flops,
                "more_memory": m.memory - encoder.memory,
            }
            for m in measurements
            if m.action.what == TRANSFORMERS
        },
    }


def _find(measurements: list[Measurement], what: str) -> Measurement:
    return next(m for m in measurements if m.action.what == what)


def machine(device: torch.device) -> Record:
    """What a timing is taken on, ready for JSON."""
    return {
        "device": device.type,
        "name": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor_name(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "flags": [flag for flag in FLAGS if flag in _cpu_table().get("flags", "").split()],
        "system": platform.platform(terse=True),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def _processor_name() -> str:
    return _cpu_table().get("model name") or platform.processor() or platform.machine()


def _cpu_table() -> dict[str, str]:
    """What Linux says of the first processor; nothing elsewhere."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text().split("\n\n")[0].splitlines() if table.is_file() else []
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
