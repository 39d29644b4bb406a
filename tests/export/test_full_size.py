from pathlib import Path

import pytest
import torch

from modeling_evf_sam import DEFAULT_CHECKPOINT, EvfSamModel, EvfSamProcessor
from modeling_evf_sam.export.exporting import TOLERANCE, export


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_sam_b_with_beit3_base(tmp_path: Path, format):
    pytest.importorskip({"onnx": "onnxruntime", "openvino": "openvino"}[format])
    torch.manual_seed(0)
    model = EvfSamModel.from_preset("evf-sam-vit-b").eval()
    tokenizer = EvfSamProcessor.from_pretrained(DEFAULT_CHECKPOINT).tokenizer
    report = export(model, EvfSamProcessor.from_config(model.config, tokenizer), tmp_path / "graphs", format)
    print(report)
    assert report["differences"].keys() >= {"pred_masks", "iou_scores"}
    assert max(report["differences"].values()) <= TOLERANCE
    assert sum(report["bytes"].values()) > 1.2e9
