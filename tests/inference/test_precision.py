import pytest
import torch

from modeling_evf_sam import DEFAULT_CHECKPOINT, EvfSamModel
from modeling_evf_sam.inference.precision import default_dtype
from tests.golden import SYSTEMS, golden_config


@pytest.mark.parametrize(
    ("device", "abilities", "expected"),
    [
        ("cpu", (False, False), torch.float32),
        ("cpu", (True, False), torch.bfloat16),
        ("cpu", (False, True), torch.bfloat16),
        ("cuda:1", (7, 5), torch.float32),
        ("cuda", (8, 0), torch.bfloat16),
        ("cuda", (9, 0), torch.bfloat16),
        ("mps", None, torch.float32),
    ],
)
def test_bfloat16_where_the_hardware_has_it(monkeypatch, device, abilities, expected):
    monkeypatch.delenv("EVF_SAM_DTYPE", raising=False)
    if device == "cpu":
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: abilities[0])
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: abilities[1])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: abilities)
    assert default_dtype(device) == expected
    assert default_dtype(torch.device(device)) == expected


@pytest.mark.parametrize("device", ["cpu", "mps"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_environment_wins_over_the_hardware(monkeypatch, device, dtype):
    monkeypatch.setenv("EVF_SAM_DTYPE", dtype)
    assert default_dtype(device) == getattr(torch, dtype)


def test_another_name_in_the_environment_is_an_error(monkeypatch):
    monkeypatch.setenv("EVF_SAM_DTYPE", "float16")
    with pytest.raises(ValueError, match="EVF_SAM_DTYPE is 'float16': set it to float32 or bfloat16, or unset it"):
        default_dtype("cpu")


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["evf_sam", "evf_sam2"])
def test_position_matrices_stay_float32(name, dtype, tmp_path):
    whole = EvfSamModel(golden_config(**SYSTEMS[name]))
    whole.save_pretrained(tmp_path)
    half = EvfSamModel.from_pretrained(tmp_path, dtype=dtype).eval()
    wide = {key for key, tensor in half.state_dict().items() if tensor.dtype == torch.float32}
    assert wide == {key for key in half.state_dict() if key.endswith("shared_embedding.positional_embedding")} | {
        "sam.shared_image_embedding.positional_embedding"
    }
    positions = half.sam.get_image_wide_positional_embeddings()
    torch.testing.assert_close(positions, whole.sam.get_image_wide_positional_embeddings(), atol=1e-6, rtol=0)


@torch.no_grad()
def test_points_and_boxes_in_bfloat16():
    """Coordinates that bfloat16 does not tell apart still give masks of their own."""
    whole = EvfSamModel.from_pretrained(DEFAULT_CHECKPOINT).eval()
    half = EvfSamModel.from_pretrained(DEFAULT_CHECKPOINT, dtype=torch.bfloat16).eval()
    side = whole.config.view_size
    points = torch.tensor([[[[side - 1.0, 9.0]], [[side - 1.2, 9.0]]]])
    batch = {
        "pixel_values": torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0)),
        "multimodal_pixel_values": torch.zeros(1, 3, *[whole.config.multimodal_view_size] * 2),
        "input_ids": torch.tensor([[[0, 9, 2], [0, 9, 2]]]),
        "input_points": points,
        "input_labels": torch.ones(1, 2, 1, dtype=torch.long),
        "input_boxes": torch.tensor([[[3.0, 5.0, 60.0, 90.0]] * 2]),
    }
    masks, expected = half(**batch).pred_masks, whole(**batch).pred_masks
    assert masks.dtype == torch.bfloat16
    assert ((masks > 0) == (expected > 0)).float().mean() > 0.95
    code = half.sam.prompt_encoder.shared_embedding
    assert not torch.equal(*(code(point[:, None].float(), (side, side)) for point in points.unbind(1)))
