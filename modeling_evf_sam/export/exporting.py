"""A model and its processor -> a folder of graphs, with what running them needs and a report."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from modeling_evf_sam.export.formats import FORMATS, check_format, versions
from modeling_evf_sam.export.graphs import trace
from modeling_evf_sam.export.int8 import check_int8, quantize_onnx, quantize_openvino
from modeling_evf_sam.export.web import check_web, write_page
from modeling_evf_sam.exported.loading import METADATA, REPORT, TOKENIZER, load_exported, load_settings
from modeling_evf_sam.exported.views import Views
from modeling_evf_sam.files import whole_folder, write_json
from modeling_evf_sam.modeling_evf_sam import EvfSamModel
from modeling_evf_sam.photos import Photo
from modeling_evf_sam.processing_evf_sam import EvfSamProcessor
from modeling_evf_sam.prompts_evf_sam import PRESENT_THRESHOLD

# What the check of a format runs on
BACKENDS = {"onnx": "onnxruntime", "web": "onnxruntime", "openvino": "openvino", "torch": "torch"}
COMPARED = ("pixel_values", "multimodal_pixel_values", "pred_masks", "iou_scores", "quality", "presence_logits")
TOLERANCE = 1e-4  # of values in float32, in units of the largest


def export(
    model: EvfSamModel,
    processor: EvfSamProcessor,
    folder: Path,
    format: str = "onnx",
    *,
    int8: bool = False,
    photos: Sequence[Photo] = (),
) -> dict[str, Any]:
    """Writes a model as three graphs: "photo", "sentence" and "decode".

    Beside them lie evf_sam.json, with sizes, tokens, preprocessing and calibration, tokenizer.json, and report.json,
    with versions, bytes, seconds to load, and how far the graphs' answers are from the model's.

    Args:
        model: in evaluation mode, in float32 on the CPU.
        processor: the model's own.
        folder: made where it does not exist; it appears with all files or not at all.
        format: "onnx", "openvino", "torch", or "web": ONNX, and a page that runs it in a browser.
        int8: whether linear layers of the encoders compute in 8 bits; not for "torch". The graphs are compared with
            the model before that, and the report has the differences after it.
        photos: for int8 in OpenVINO: some like those to be segmented.

    Returns:
        The report.

    Raises:
        ValueError: an unknown format, missing libraries, a model or a processor that cannot be exported, or graphs
            that give other answers than the model.
    """
    check_format(format)
    if model.device.type != "cpu" or model.dtype != torch.float32:
        raise ValueError(f"a model is exported in float32 on the CPU, not in {model.dtype} on {model.device}")
    if int8:
        check_int8(format, photos)
    metadata = describe(model, processor)
    if format == "web":
        check_web(metadata["views"]["image_layout"])
    with whole_folder(folder) as staging:
        if format == "web":  # first, as npm may fail, and graphs take minutes
            metadata = write_page(staging, metadata)
        for graph in trace(model):
            FORMATS[format][0](graph, staging)
        write_json({"format": format, **metadata}, staging / METADATA)
        processor.tokenizer.backend_tokenizer.save(str(staging / TOKENIZER))
        compared = compare(model, processor, staging, BACKENDS[format])
        _refuse_others(compared["differences"])
        if int8:
            _quantize(staging, format, photos)
            compared = compare(model, processor, staging, BACKENDS[format])
        report = {"format": format, "int8": int8, "versions": versions(format), "bytes": _sizes(staging), **compared}
        write_json(report, staging / REPORT)
    return report


def describe(model: EvfSamModel, processor: EvfSamProcessor) -> dict[str, Any]:
    """What running the graphs needs to know.

    Raises:
        ValueError: SAM's view is not resized, so that photos of other sizes would not fit the graphs.
    """
    config, views = model.config, processor.image_processor
    if not views.do_resize:
        raise ValueError("a processor with do_resize=False cannot be exported: set it to True")
    tokens = vars(processor.tokens).copy()
    del tokens["backend"]  # which is in tokenizer.json
    known = {name: getattr(views, name) for name in Views.__dataclass_fields__ if hasattr(views, name)}
    for kind in ("image", "multimodal_image"):
        known |= {} if views.do_normalize else {f"{kind}_mean": [0.0] * 3, f"{kind}_std": [1.0] * 3}
    settings = Views(**{**known, "unit": 1 / views.rescale_factor if views.do_rescale else 1.0})
    return {
        "model": {
            "sam": config.sam_config.model_type,
            "view_size": config.view_size,
            "quality": config.quality,
            "trained_on": config.trained_on,
        },
        "views": asdict(settings),
        "tokens": tokens,
        "thresholds": {"mask": 0.0, "present": PRESENT_THRESHOLD},
    }


def _quantize(folder: Path, format: str, photos: Sequence[Photo]) -> None:
    if format == "onnx":
        quantize_onnx(folder)
    else:
        quantize_openvino(folder, load_settings(folder)[1].image_processor, photos)


def _sizes(folder: Path) -> dict[str, int]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {file.relative_to(folder).as_posix(): file.stat().st_size for file in files}


@torch.no_grad()
def compare(model: EvfSamModel, processor: EvfSamProcessor, folder: Path, backend: str) -> dict[str, Any]:
    """Asks the graphs in a folder and the model about the same photos of noise.

    Returns:
        The backend, seconds to load, and for each output the largest difference, in units of its largest value.
    """
    start = time.perf_counter()
    graphs, reader = load_exported(folder, backend)
    seconds = time.perf_counter() - start
    photos = [Image.effect_noise(size, 64).convert("RGB") for size in ((64, 48), (40, 56))]
    asked: dict[str, Any] = {
        "text": [["a red cup", "a"], ["the cup"]],
        "input_points": [[None, [[9, 9], [20, 30]]], [[[5, 5]]]],
    }
    asked["input_boxes"] = [[None, None], [[4, 4, 30, 40]]]
    given, wanted = reader(photos, **asked), processor(photos, **asked)
    values, answers = {**given, **graphs(**given)}, {**wanted, **model(**wanted)}
    differences = {name: _difference(values[name], answers[name].numpy()) for name in COMPARED if name in answers}
    return {"backend": backend, "seconds_to_load": round(seconds, 3), "differences": differences}


def _refuse_others(differences: dict[str, float]) -> None:
    wrong = [f"{name} by {difference:.1e}" for name, difference in differences.items() if not difference <= TOLERANCE]
    if wrong:
        raise ValueError(f"the graphs answer otherwise than the model: {', '.join(wrong)}, more than {TOLERANCE}")


def _difference(values: np.ndarray, wanted: np.ndarray) -> float:
    return float(abs(values - wanted).max() / max(abs(wanted).max(), np.finfo(np.float32).tiny))
