"""Whole calls by what runs exported graphs, to stand beside those of the model."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from modeling_evf_sam.bench.measuring import Action
from modeling_evf_sam.bench.stages import CALL, INT8, sentences
from modeling_evf_sam.exported.loading import REPORT, load_exported
from modeling_evf_sam.inference.segmenting import segment
from modeling_evf_sam.photos import Photo


def exported_calls(folder: Path, photos: Sequence[Photo], counts: Sequence[int], precision: str) -> Iterator[Action]:
    """A call of a folder's graphs for each number of sentences, by the backend that its files are for.

    Args:
        folder: what `evf-sam export` wrote.
        photos: of each call.
        counts: numbers of sentences on a photo.
        precision: of the model beside it; OpenVINO computes in bfloat16 where that is it, all else as the files say.

    Raises:
        ValueError: it is no such folder, or its backend is missing.
    """
    try:
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
        backend, in_int8 = report["backend"], report["int8"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(f"'{folder}' has no {REPORT}: give a folder that evf-sam export wrote") from None
    dtype = "bfloat16" if (backend, precision) == ("openvino", "bfloat16") else "float32"
    model, processor = load_exported(folder, backend, dtype)
    for count in counts:
        texts = [sentences(count)] * len(photos)
        yield Action(
            what=f"{CALL}, {backend}",
            sentences=count,
            dtype=f"{INT8} and {dtype}" if in_int8 else dtype,
            run=lambda texts=texts: segment(model, processor, photos, texts),  # type: ignore[misc]
        )
