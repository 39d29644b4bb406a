"""A graph as files of each format."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import torch

from modeling_evf_sam.export.graphs import Graph
from modeling_evf_sam.extras import require

ONNX = ("onnx", "onnxscript", "onnxruntime")
OPSET = 18  # of ONNX: the one that torch writes without conversion, and that onnxruntime-web reads
ONE_FILE = 1 << 30  # bytes of weights that an ONNX file holds itself; more lie beside it, as a file ends at 2 GB


def write_onnx(graph: Graph, folder: Path) -> None:
    """Writes NAME.onnx, and NAME.onnx.data where the weights are large."""
    with _quiet():
        program = torch.onnx.export(
            graph.program,
            input_names=graph.inputs,
            output_names=graph.outputs,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    size = sum(tensor.nbytes for tensor in graph.program.state_dict.values())
    program.save(folder / f"{graph.name}.onnx", external_data=size > ONE_FILE)


def write_openvino(graph: Graph, folder: Path) -> None:
    """Writes NAME.xml and NAME.bin."""
    import openvino

    with _quiet():
        model = openvino.convert_model(graph.program)
    for port, name in zip([*model.inputs, *model.outputs], [*graph.inputs, *graph.outputs], strict=True):
        port.set_names({name})
    openvino.save_model(model, folder / f"{graph.name}.xml", compress_to_fp16=False)


def write_torch(graph: Graph, folder: Path) -> None:
    """Writes NAME.pt2, which `torch.export.load` reads."""
    torch.export.save(graph.program, folder / f"{graph.name}.pt2")


# format -> how a graph is written, libraries that are needed, and the extra that installs them
FORMATS: dict[str, tuple[Callable[[Graph, Path], None], tuple[str, ...], str]] = {
    "onnx": (write_onnx, ONNX, "onnx"),
    "web": (write_onnx, ONNX, "onnx"),
    "openvino": (write_openvino, ("openvino",), "openvino"),
    "torch": (write_torch, (), ""),
}


def check_format(name: str) -> None:
    """Raises a ValueError if there is no such format, or its libraries are missing."""
    if name not in FORMATS:
        raise ValueError(f"format '{name}' is unknown: use one of {', '.join(FORMATS)}")
    _, libraries, extra = FORMATS[name]
    for library in libraries:
        require(library, extra=extra, what=f"format {name}")


def versions(name: str) -> dict[str, str | int]:
    """What wrote the files of a format."""
    libraries = ("torch", "transformers", *FORMATS[name][1])
    return {
        **{library: version(library) for library in libraries},
        **({"opset": OPSET} if FORMATS[name][1] == ONNX else {}),
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences what the exporters say of libraries that are not there."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
