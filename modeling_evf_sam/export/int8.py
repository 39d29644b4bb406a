"""Encoders in 8 bits: their files are rewritten in place. The mask decoder, which costs little, stays as it is."""

import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from modeling_evf_sam.exported.backends import openvino_core
from modeling_evf_sam.exported.views import Views
from modeling_evf_sam.extras import require
from modeling_evf_sam.photos import Photo, to_rgb

ENCODERS = ("photo", "sentence")
RANGES = {"onnx": "in each call", "openvino": "on photos"}


def check_int8(format: str, photos: Sequence[Photo]) -> None:
    """Raises a ValueError if a format has no int8, its library is missing, or photos are missing or of no use."""
    if format not in RANGES:
        raise ValueError("int8 is for the formats onnx and openvino: choose one of them")
    if format == "openvino":
        require("nncf", extra="int8", what="int8 for openvino")
    if bool(photos) != (format == "openvino"):
        wanted = "give photos like those to be segmented" if format == "openvino" else "leave them out"
        raise ValueError(f"int8 for {format} finds its ranges {RANGES[format]}: {wanted}, by --calibrate")


def quantize_onnx(folder: Path) -> None:
    """Computes linear layers in int8; weights have a scale for each output, inputs one that is found in each call.

    Scales that are found on photos beforehand are no faster on a CPU, and twice as far off.
    """
    from onnxruntime.quantization import quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    for name in ENCODERS:
        file = folder / f"{name}.onnx"
        large = file.with_suffix(".onnx.data").exists()
        with tempfile.TemporaryDirectory() as work, _replacing(folder) as narrow:
            folded = Path(work, file.name)  # weights stand where quantisation looks for them
            quant_pre_process(file, folded, skip_symbolic_shape=True, save_as_external_data=large)
            quantize_dynamic(
                folded,
                narrow / file.name,
                op_types_to_quantize=["MatMul", "Gemm"],
                nodes_to_exclude=_products_with_stacks(folded),
                per_channel=True,
                use_external_data_format=large,
            )


def _products_with_stacks(file: Path) -> list[str]:
    """Names of the products with a stack of matrices, such as codes of positions: scales for them are not computed."""
    import onnx

    graph = onnx.load(file, load_external_data=False).graph
    stacks = {weight.name for weight in graph.initializer if len(weight.dims) > 2}
    return [node.name for node in graph.node if node.op_type == "MatMul" and stacks.intersection(node.input)]


def quantize_openvino(folder: Path, views: Views, photos: Sequence[Photo]) -> None:
    """Computes the image encoder in int8, in ranges found on photos; keeps the sentence encoder's weights in int8."""
    import nncf
    import openvino

    nncf.set_log_level(logging.ERROR)
    samples = [{"pixel_values": views.sam_view(to_rgb(photo))[None]} for photo in photos]
    narrow = {
        "photo": lambda model: nncf.quantize(
            model,
            nncf.Dataset(samples),
            subset_size=len(samples),
            model_type=nncf.ModelType.TRANSFORMER,
            fast_bias_correction=True,
        ),
        "sentence": lambda model: nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM),
    }
    for name in ENCODERS:
        file = folder / f"{name}.xml"
        with _replacing(folder) as written, redirect_stdout(sys.stderr):  # where progress is shown
            model = narrow[name](openvino_core().read_model(file))
            openvino.save_model(model, written / file.name, compress_to_fp16=False)
            del model  # and its hold on the files


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """Gives a folder whose files then take the place of those of the same names in another."""
    with tempfile.TemporaryDirectory(dir=folder) as written:
        yield Path(written)
        for file in Path(written).iterdir():
            file.replace(folder / file.name)
