"""Every row of the paper's Tables 1, 3, 4, 5 and 6, by its name, at a small size: a step on a real photo, and back."""

import pytest
import torch

from modeling_evf_sam import EvfSamConfig, EvfSamModel, EvfSamProcessor
from modeling_evf_sam.data.open_dataset import open_dataset
from modeling_evf_sam.presets import PRESETS
from modeling_evf_sam.rendered_scenes.ablation import load_ablation
from modeling_evf_sam.training.freezing import PAPERS_PARTS, PARTS, freeze_all_but
from tests.golden import GOLDEN_EFFICIENT_SAM, GOLDEN_ENCODER, GOLDEN_SAM, GOLDEN_SAM2
from tests.tiny_encoders import CLIP, VILT, bert_tokenizer, clip_tokenizer

ENCODERS = {"beit3": GOLDEN_ENCODER, "clip": CLIP, "vilt": VILT}
SAMS = {"sam": GOLDEN_SAM, "sam2": GOLDEN_SAM2, "efficient_sam": GOLDEN_EFFICIENT_SAM}
ROWS = {name: (preset, PAPERS_PARTS) for name, preset in PRESETS.items()} | {
    name: (PRESETS["evf-sam"], row.train)
    for name, row in load_ablation().rows.items()
    if name.startswith("train-")  # Table 4
}


def small(preset):
    """The same system with other sizes: half of the layers fused where half are."""
    encoder = ENCODERS[preset["multimodal_config"]["model_type"]]
    preset = {**preset, "multimodal_config": encoder, "sam_config": SAMS[preset["sam_config"]["model_type"]]}
    if "num_fusion_layers" in preset:
        preset["num_fusion_layers"] = encoder["num_hidden_layers"] // 2
    return EvfSamConfig(**preset)


@pytest.fixture(scope="module")
def sample(shared):
    """A photo, two sentences about it, and their masks."""
    sample = open_dataset(f"refer:{shared / 'data/refcoco-mini'}:refcoco:unc", "val")[0]
    return sample.photo, sample.sentences[:2], sample.masks[:2]


@pytest.fixture
def tokenizers(tiny_tokenizer):
    return {"beit3": tiny_tokenizer, "clip": clip_tokenizer(), "vilt": bert_tokenizer()}


@pytest.mark.parametrize("name", ROWS)
def test_a_step_on_a_real_photo_and_back(name, sample, tokenizers, tmp_path):
    preset, parts = ROWS[name]
    config = small(preset)
    if config.multimodal_config.model_type == "beit3":
        config.multimodal_config.vocab_size = len(tokenizers["beit3"])
    torch.manual_seed(0)
    model = EvfSamModel(config)
    processor = EvfSamProcessor.from_config(config, tokenizers[config.multimodal_config.model_type])
    photo, sentences, masks = sample
    inputs = processor(images=[photo], text=[sentences], labels=[masks])

    parts = [part for part in parts if any(key.startswith(f"{PARTS[part]}.") for key in model.state_dict())]
    freeze_all_but(model, parts)
    before = {key: tensor.clone() for key, tensor in model.named_parameters()}
    optimizer = torch.optim.AdamW([parameter for parameter in model.parameters() if parameter.requires_grad], lr=1e-3)
    loss = model(**inputs).loss
    loss.backward()
    optimizer.step()
    changed = {key for key, tensor in model.named_parameters() if not torch.equal(tensor, before[key])}
    assert changed
    assert all(key.startswith(tuple(f"{PARTS[part]}." for part in parts)) for key in changed)
    assert {part for part in parts if any(key.startswith(f"{PARTS[part]}.") for key in changed)} == set(parts)

    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again = EvfSamModel.from_pretrained(tmp_path).eval()
    inputs = EvfSamProcessor.from_pretrained(tmp_path)(images=[photo], text=[sentences])
    with torch.no_grad():
        expected = model.eval()(**inputs).pred_masks
        torch.testing.assert_close(again(**inputs).pred_masks, expected, atol=1e-6, rtol=1e-5)
    assert expected.abs().max() > 0
