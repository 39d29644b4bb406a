"""Graphs of every SAM and every encoder answer as their models do."""

import json

import pytest
import torch

from modeling_evf_sam import EvfSamConfig, EvfSamModel, EvfSamProcessor
from modeling_evf_sam.export import exporting
from modeling_evf_sam.export.exporting import TOLERANCE, export
from modeling_evf_sam.export.formats import FORMATS
from tests.golden import GOLDEN_EFFICIENT_SAM, GOLDEN_SAM, GOLDEN_SAM2, ruled_tensor
from tests.tiny_encoders import BEIT3, CLIP, VILT, bert_tokenizer, clip_tokenizer

HEAD = {"presence": {"hidden_size": 8, "temperature": 1.5}}
LINE = {"quality": [[-2.0, 0.1], [0.5, 0.5], [2.0, 0.9]]}
# As few layers as show all kinds of them: a layer takes part of a second to export.
VISION = {**GOLDEN_SAM["vision_config"], "num_hidden_layers": 2, "global_attn_indexes": [1]}
SAM = {"sam_config": {**GOLDEN_SAM, "vision_config": VISION}}
EFFICIENT = {"sam_config": GOLDEN_EFFICIENT_SAM}
SAM2 = {"sam_config": GOLDEN_SAM2, "image_layout": "stretch"}

SYSTEMS = {
    "sam2, clip late": {**SAM2, "multimodal_config": CLIP, "fusion": "late", "mask_selection": "best_iou"},
    "efficient_sam, vilt early": {**EFFICIENT, "multimodal_config": VILT},
}
MORE_SYSTEMS = {
    "sam, beit3 early, presence and quality": {**SAM, "multimodal_config": BEIT3, **HEAD, **LINE},
    "sam2, beit3 late, presence": {**SAM2, "multimodal_config": BEIT3, "fusion": "late", **HEAD},
    "sam2, beit3 text": {**SAM2, "multimodal_config": BEIT3, "fusion": "text", "mask_selection": "stability"},
    "sam, beit3 early in 1": {**SAM, "multimodal_config": BEIT3, "num_fusion_layers": 1, "prompt_feature": "concat"},
    "sam, vilt late": {**SAM, "multimodal_config": VILT, "fusion": "late"},
    "sam2, vilt text": {**SAM2, "multimodal_config": VILT, "fusion": "text", "image_layout": "pad_stretch"},
    "efficient_sam, clip text": {**EFFICIENT, "multimodal_config": CLIP, "fusion": "text"},
}


def build(switches, beit3_tokenizer):
    """A model whose weights follow from their names and spread as trained ones do, and its processor."""
    model = EvfSamModel(EvfSamConfig(**switches)).eval()
    state = {name: ruled_tensor(name, tuple(value.shape)) for name, value in model.state_dict().items()}
    model.load_state_dict(state)
    kind = model.config.multimodal_config.model_type
    tokenizer = {"beit3": lambda: beit3_tokenizer, "clip": clip_tokenizer, "vilt": bert_tokenizer}[kind]()
    return model, EvfSamProcessor.from_config(model.config, tokenizer)


def check(folder, switches, tokenizer, format, **more):
    pytest.importorskip({"onnx": "onnxruntime", "openvino": "openvino", "torch": "torch"}[format])
    report = export(*build(switches, tokenizer), folder, format, **more)
    assert json.loads((folder / "report.json").read_text()) == report
    assert {"pixel_values", "pred_masks", "iou_scores"} <= report["differences"].keys()
    assert ("presence_logits" in report["differences"]) == ("presence" in switches)
    assert ("quality" in report["differences"]) == ("quality" in switches)
    return report


@pytest.mark.parametrize("system", SYSTEMS)
def test_onnx(tmp_path, tiny_tokenizer, system):
    report = check(tmp_path / "graphs", SYSTEMS[system], tiny_tokenizer, "onnx")
    assert max(report["differences"].values()) <= TOLERANCE
    assert report["versions"]["opset"] == 18
    names = {"photo.onnx", "sentence.onnx", "decode.onnx", "evf_sam.json", "tokenizer.json"}
    assert report["bytes"].keys() == names


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("system", {**SYSTEMS, **MORE_SYSTEMS})
def test_every_encoder_and_format(tmp_path, tiny_tokenizer, system, format):
    report = check(tmp_path / "graphs", {**SYSTEMS, **MORE_SYSTEMS}[system], tiny_tokenizer, format)
    assert max(report["differences"].values()) <= TOLERANCE


def test_torch(tmp_path, tiny_tokenizer):
    report = check(tmp_path / "graphs", SYSTEMS["efficient_sam, vilt early"], tiny_tokenizer, "torch")
    assert max(report["differences"].values()) <= TOLERANCE
    assert "opset" not in report["versions"]


def test_int8_is_compared_before_and_after(tmp_path, tiny_tokenizer, monkeypatch):
    compared = []
    whole = exporting.compare
    monkeypatch.setattr(exporting, "compare", lambda *arguments: compared.append(whole(*arguments)) or compared[-1])
    switches = MORE_SYSTEMS["sam, beit3 early, presence and quality"]
    report = check(tmp_path / "graphs", switches, tiny_tokenizer, "onnx", int8=True)
    wide, narrow = (entry["differences"] for entry in compared)
    assert max(wide.values()) <= TOLERANCE < narrow["pred_masks"] < 0.3
    assert report["differences"] == narrow
    assert sorted(path.name for path in (tmp_path / "graphs").iterdir()) == sorted([*report["bytes"], "report.json"])
    onnx = pytest.importorskip("onnx")
    operators = {node.op_type for node in onnx.load(tmp_path / "graphs" / "photo.onnx").graph.node}
    assert "MatMulInteger" in operators


def test_openvino_int8(tmp_path, tiny_tokenizer):
    pytest.importorskip("nncf", reason="int8 for OpenVINO needs the extra 'int8'")
    photos = [torch.rand(3, 40, 60)]
    more = {"int8": True, "photos": photos}
    report = check(tmp_path / "graphs", SYSTEMS["efficient_sam, vilt early"], tiny_tokenizer, "openvino", **more)
    assert TOLERANCE < report["differences"]["pred_masks"] < 0.3


def test_graphs_that_answer_otherwise_are_not_written(tmp_path, tiny_tokenizer, monkeypatch):
    model, processor = build(SYSTEMS["efficient_sam, vilt early"], tiny_tokenizer)
    monkeypatch.setattr("modeling_evf_sam.export.exporting.TOLERANCE", -1)
    with pytest.raises(ValueError, match="the graphs answer otherwise than the model: pixel_values by"):
        export(model, processor, tmp_path / "graphs", "torch")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"format": "tensorrt"}, "format 'tensorrt' is unknown: use one of onnx, web, openvino, torch"),
        ({"format": "torch", "int8": True}, "int8 is for the formats onnx and openvino"),
        ({"format": "onnx", "int8": True, "photos": ["photo.png"]}, "finds its ranges in each call: leave them out"),
    ],
)
def test_what_cannot_be_exported_is_refused(tmp_path, tiny_tokenizer, more, message):
    model, processor = build(SYSTEMS["efficient_sam, vilt early"], tiny_tokenizer)
    with pytest.raises(ValueError, match=message):
        export(model, processor, tmp_path / "graphs", **more)


def test_other_precisions_and_photos_of_any_size_are_refused(tmp_path, tiny_tokenizer):
    model, processor = build(SYSTEMS["efficient_sam, vilt early"], tiny_tokenizer)
    processor.image_processor.do_resize = False
    with pytest.raises(ValueError, match="do_resize=False cannot be exported: set it to True"):
        export(model, processor, tmp_path, "torch")
    with pytest.raises(ValueError, match=r"in float32 on the CPU, not in torch.bfloat16"):
        export(model.to(torch.bfloat16), processor, tmp_path, "torch")
