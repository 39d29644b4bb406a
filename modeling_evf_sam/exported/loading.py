"""A folder that `evf-sam export` wrote -> a model and a processor."""

import json
from pathlib import Path
from typing import Any

from modeling_evf_sam.exported.backends import open_graphs
from modeling_evf_sam.exported.model import ExportedModel
from modeling_evf_sam.exported.processor import ExportedProcessor
from modeling_evf_sam.exported.views import Views
from modeling_evf_sam.extras import require
from modeling_evf_sam.prompts_evf_sam import Tokens

GRAPHS = ("photo", "sentence", "decode")
METADATA, TOKENIZER, REPORT = "evf_sam.json", "tokenizer.json", "report.json"


def load_exported(
    folder: str | Path, backend: str = "onnxruntime", dtype: str | None = None
) -> tuple[ExportedModel, ExportedProcessor]:
    """Loads what `evf-sam export` wrote.

    Args:
        folder: where it wrote.
        backend: "onnxruntime", or "openvino", which reads ONNX files as well.
        dtype: what openvino computes in, "float32" (the default) or "bfloat16".

    Raises:
        ValueError: it is no such folder, or the backend is missing, unknown, or cannot do that.
    """
    folder = Path(folder)
    metadata = read_metadata(folder)
    graphs = open_graphs(folder, GRAPHS, backend, dtype or "float32")
    require("tokenizers", extra="onnx", what="reading sentences")
    from tokenizers import Tokenizer

    tokens = Tokens(backend=Tokenizer.from_file(str(folder / TOKENIZER)), **metadata["tokens"])
    return ExportedModel(graphs, **metadata["model"]), ExportedProcessor(Views(**metadata["views"]), tokens)


def read_metadata(folder: Path) -> dict[str, Any]:
    """The settings of the model and its processor.

    Raises:
        ValueError: the folder has none.
    """
    try:
        return json.loads((folder / METADATA).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ValueError(f"'{folder}' has no {METADATA}: give a folder that evf-sam export wrote") from None
