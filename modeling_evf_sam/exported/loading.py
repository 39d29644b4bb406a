"""A folder that `evf-sam export` wrote -> a model and a processor."""

import json
from pathlib import Path

from modeling_evf_sam.exported.backends import open_graphs
from modeling_evf_sam.exported.model import ExportedModel, ModelSettings
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
    settings, processor = load_settings(Path(folder))
    graphs = open_graphs(Path(folder), GRAPHS, backend, dtype or "float32")
    return ExportedModel(graphs, settings), processor


def load_settings(folder: Path) -> tuple[ModelSettings, ExportedProcessor]:
    """What a folder says of its model, and its processor.

    Raises:
        ValueError: it is no such folder, or `tokenizers` is missing.
    """
    try:
        metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ValueError(f"'{folder}' has no {METADATA}: give a folder that evf-sam export wrote") from None
    require("tokenizers", extra="onnx", what="reading sentences")
    from tokenizers import Tokenizer

    tokens = Tokens(backend=Tokenizer.from_file(str(folder / TOKENIZER)), **metadata["tokens"])
    return ModelSettings(**metadata["model"]), ExportedProcessor(Views(**metadata["views"]), tokens)
