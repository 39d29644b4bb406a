"""What runs a graph: a file in, a function from named arrays to named arrays out."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from modeling_evf_sam.extras import require

Run = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]


def open_onnxruntime(file: Path, dtype: str) -> Run:
    """Opens an ONNX file with onnxruntime, on the fastest device that it has.

    Raises:
        ValueError: onnxruntime is missing, or another precision than that of the file is asked for.
    """
    require("onnxruntime", extra="onnx", what="backend onnxruntime")
    if dtype != "float32":
        raise ValueError(f"onnxruntime computes as the file says, not in {dtype}: leave --dtype out, or use openvino")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(file, options, providers=onnxruntime.get_available_providers())
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))


def open_openvino(file: Path, dtype: str) -> Run:
    """Opens an OpenVINO or ONNX file with OpenVINO, on the CPU.

    Raises:
        ValueError: OpenVINO is missing, or has no such precision.
    """
    require("openvino", extra="openvino", what="backend openvino")
    hints = {"float32": "f32", "bfloat16": "bf16"}
    if dtype not in hints:
        raise ValueError(f"openvino computes in {' or '.join(hints)}, not in {dtype}: choose another --dtype")
    model = openvino_core().read_model(file)
    names = [output.any_name for output in model.outputs]  # the only ones: compiling adds others
    compiled = openvino_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": hints[dtype]})
    return lambda inputs: dict(zip(names, compiled(inputs).values(), strict=True))


@cache
def openvino_core() -> Any:
    """OpenVINO of this process: one that stays.

    Each has signals handled on a stack of its own, which it frees when it goes. Where two go in the order in which
    they came, the first one's is put back after it was freed, and the next signal, such as Ctrl-C, ends the process.
    """
    import openvino

    return openvino.Core()


def open_torch(file: Path, dtype: str) -> Run:
    """Opens a file of `torch.export`."""
    import torch

    step = torch.export.load(file).module()

    def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        tensors = {name: torch.from_numpy(values) for name, values in inputs.items()}
        levels = {name: tensors.pop(name) for name in inputs if name.startswith("image_embeddings")}
        with torch.no_grad():
            outputs = step(**tensors, **({"levels": levels} if levels else {}))
        return {name: values.numpy() for name, values in outputs.items()}

    return run


BACKENDS: dict[str, tuple[Callable[[Path, str], Run], tuple[str, ...]]] = {  # and the files that each reads
    "onnxruntime": (open_onnxruntime, (".onnx",)),
    "openvino": (open_openvino, (".xml", ".onnx")),
    "torch": (open_torch, (".pt2",)),
}


def open_graphs(folder: Path, names: tuple[str, ...], backend: str, dtype: str) -> dict[str, Run]:
    """Opens the graphs of a folder.

    Raises:
        ValueError: there is no such backend, it is not installed, or the folder has nothing for it.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend '{backend}' is unknown: use one of {', '.join(BACKENDS)}")
    start, suffixes = BACKENDS[backend]
    for suffix in suffixes:
        files = {name: folder / f"{name}{suffix}" for name in names}
        if all(file.is_file() for file in files.values()):
            return {name: start(file, dtype) for name, file in files.items()}
    raise ValueError(f"'{folder}' has no {' or '.join(suffixes)} files for {backend}: export them with --format")
