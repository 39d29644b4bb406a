import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from evf_sam_cli import main
from modeling_evf_sam import EvfSamConfig, EvfSamModel, EvfSamProcessor
from modeling_evf_sam.originals.converting import convert_state_dict
from tests.golden import ruled_tensor


def run(*arguments: object) -> int:
    return main(["build", *map(str, arguments)])


@pytest.fixture
def parts(original, workplace) -> Path:
    """Files laid out as Meta's and Microsoft's: pickles, the latter with a wrapper and a pretraining head."""
    sam = {
        name.removeprefix("visual_model."): tensor
        for name, tensor in original.items()
        if name.startswith("visual_model.")
    }
    beit3 = {
        name.removeprefix("mm_extractor."): tensor
        for name, tensor in original.items()
        if name.startswith("mm_extractor.")
    }
    torch.save(sam, "sam_vit_h_4b8939.pth")
    torch.save({"model": {**beit3, "mlm_head.weight": torch.ones(2, 2), "mlm_head.bias": torch.ones(2)}}, "beit3.pth")
    return workplace


FILES = ["--sam", "sam_vit_h_4b8939.pth", "--beit3", "beit3.pth"]


def test_an_untrained_model_and_its_processor(parts, original, beit3_spm):
    assert run(*FILES, "--tokenizer", beit3_spm, "--output", "fresh", "--verify") == 0
    loaded = EvfSamModel.from_pretrained("fresh").state_dict()
    for name, tensor in convert_state_dict(original).items():
        assert torch.equal(loaded[name], tensor) is not name.startswith("projector.")
    report = json.loads(Path("fresh/conversion_report.json").read_text())
    assert report["tensors"] == {
        "mapped": len(original) - 4,
        "ignored": {"mlm_head": 2},
        "written": len(loaded),
    }
    assert [row["file"] for row in report["sources"]] == ["sam_vit_h_4b8939.pth", "beit3.pth", beit3_spm.name]
    card = Path("fresh/README.md").read_text()
    assert "base_model:\n- facebook/sam-vit-huge\n" in card and "masks mean nothing" in card

    model, processor = EvfSamModel.from_pretrained("fresh"), EvfSamProcessor.from_pretrained("fresh")
    inputs = processor(images=Image.new("RGB", (40, 30)), text="star", semantic=True)
    assert model(**inputs).pred_masks.isfinite().all()


def test_the_projector_follows_from_the_seed(parts):
    projectors = []
    for number, seed in enumerate((0, 0, 1)):
        assert run(*FILES, "--output", f"fresh{number}", "--seed", seed) == 0
        projectors.append(load_file(f"fresh{number}/model.safetensors")["projector.fc1.weight"])
    assert torch.equal(projectors[0], projectors[1])
    assert not torch.equal(projectors[0], projectors[2])
    assert 0 < projectors[0].abs().max() <= 32**-0.5  # PyTorch's own for 32 inputs


def test_an_encoder_for_another_view(parts, original):
    """48 px: 6 x 6 patches of 8 px."""
    beit3 = torch.load("beit3.pth")["model"]
    name = "beit3.encoder.embed_positions.A.weight"
    torch.save({**beit3, name: ruled_tensor(name, (36 + 3, 32))}, "beit3.pth")
    assert run(*FILES, "--output", "fresh", "--verify") == 0
    assert EvfSamConfig.from_pretrained("fresh").multimodal_config.image_size == 48


def test_efficient_sam(parts, shared):
    state = load_file(shared / "golden" / "evf_efficient_sam" / "state_dict.safetensors")
    sam = {k.removeprefix("visual_model."): v for k, v in state.items() if k.startswith("visual_model.")}
    torch.save({"model": sam}, "efficient_sam.pt")
    assert run("--sam", "efficient_sam.pt", "--beit3", "beit3.pth", "--output", "fresh", "--verify") == 0
    config = EvfSamConfig.from_pretrained("fresh")
    assert (config.sam_config.model_type, config.image_layout, config.view_size) == ("efficient_sam", "stretch", 1024)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sam", "nothing.pth", "--beit3", "beit3.pth"], "'nothing.pth' do not exist"),
        (["--sam", "beit3.pth", "--beit3", "beit3.pth"], "'beit3.pth' and 'beit3.pth' are no SAM and no BEIT-3"),
        (["--sam", "sam_vit_h_4b8939.pth", "--beit3", "sam_vit_h_4b8939.pth"], "are no SAM and no BEIT-3"),
        (["--sam", ".", "--beit3", "beit3.pth"], "is pickled"),  # a folder is not that file itself
        (["--sam", "sam_vit_h_4b8939.pth"], "'--beit3'"),
        ([*FILES, "--tokenizer", "beit3.pth"], "no sentencepiece model"),
        ([*FILES, "--seed", "one"], "'--seed'"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(parts, arguments, message, capsys):
    before = sorted(parts.rglob("*"))
    assert run(*arguments, "--output", "fresh") == 2
    error = capsys.readouterr().err.splitlines()
    assert error[-1].startswith("error: ") and message in error[-1]
    assert sorted(parts.rglob("*")) == before


def test_a_vocabulary_that_is_too_long(parts, beit3_spm, capsys):
    beit3 = torch.load("beit3.pth")["model"]
    torch.save({**beit3, "beit3.text_embed.weight": torch.ones(99, 32)}, "beit3.pth")
    assert run(*FILES, "--tokenizer", beit3_spm, "--output", "fresh") == 2
    assert "tokens, the model 99" in capsys.readouterr().err
