import pytest
import torch

from modeling_evf_sam import EvfSamConfig, EvfSamModel
from modeling_evf_sam.originals.converting import original_state_dict
from modeling_evf_sam.originals.sizes import detect_config, detect_encoder, detect_sam
from modeling_evf_sam.presets import PRESETS
from tests.golden import GOLDEN_ENCODER, SYSTEMS, golden_config
from tests.original_files import PARTS, RELEASES, expanded, listed


def tiny_tensors(name: str) -> dict[str, torch.Tensor]:
    return dict(EvfSamModel(golden_config(**SYSTEMS[name])).state_dict())


@pytest.mark.parametrize(("file", "preset"), [(file, preset) for file, (preset, _, _) in RELEASES.items()])
def test_a_release_tells_its_preset(shared, file, preset):
    original = listed(shared, file)
    assert detect_config(original).to_dict() == EvfSamConfig(**PRESETS[preset]).to_dict()
    multitask = PRESETS.get(f"{preset}-multitask")
    if multitask:
        assert detect_config(original, multitask=True).to_dict() == EvfSamConfig(**multitask).to_dict()


@pytest.mark.parametrize("file", PARTS)
def test_a_single_file_tells_its_sizes(shared, file):
    detect = detect_encoder if file.startswith("beit3") else detect_sam
    assert expanded(detect(listed(shared, file))).to_dict() == expanded(PARTS[file]).to_dict()


@pytest.mark.parametrize("name", ["evf_sam", "evf_efficient_sam"])
def test_sizes_follow_from_shapes(name):
    """The tiny golden sizes, by way of the original names of a model that has them."""
    config = golden_config(**SYSTEMS[name])
    config.sam_config.vision_config.initializer_range = 0.02
    assert detect_config(original_state_dict(tiny_tensors(name)), image_size=128).to_dict() == config.to_dict()


def test_a_view_of_384_pixels_is_detected():
    tensors = {
        "beit3.text_embed.weight": torch.empty(64010, 768, device="meta"),
        "beit3.vision_embed.proj.weight": torch.empty(768, 3, 16, 16, device="meta"),
        "beit3.encoder.embed_positions.A.weight": torch.empty(3 + 24 * 24, 768, device="meta"),
        "beit3.encoder.embed_positions.B.weight": torch.empty(1024, 768, device="meta"),
        "beit3.encoder.layers.0.ffn.A.fc1.weight": torch.empty(3072, 768, device="meta"),
    }
    assert detect_encoder(tensors) == {
        **GOLDEN_ENCODER,
        "vocab_size": 64010,
        "hidden_size": 768,
        "num_hidden_layers": 1,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "image_size": 384,
        "patch_size": 16,
        "max_position_embeddings": 1024,
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"visual_model.image_encoder.pos_embed": None}, "visual_model.image_encoder.pos_embed is missing"),
        ({"visual_model.image_encoder.pos_embed": (8, 8, 48)}, r"pos_embed has shape \(8, 8, 48\), but needs 4"),
        ({"visual_model.mask_decoder.mask_tokens.weight": None}, "mask_tokens.weight is missing"),
        ({"mm_extractor.beit3.text_embed.weight": None}, "beit3.text_embed.weight is missing"),
        (
            {"visual_model.image_encoder.trunk.pos_embed": (1, 16, 7, 7)},
            "no published SAM-2 has width 16 and 0 blocks: pass",
        ),
    ],
)
def test_sizes_that_cannot_be_told_are_errors(changes, message):
    tensors = original_state_dict(tiny_tensors("evf_sam"))
    for name, shape in changes.items():
        tensors.pop(name, None)
        if shape:
            tensors[name] = torch.zeros(shape)
    with pytest.raises(ValueError, match=message):
        detect_config(tensors)
