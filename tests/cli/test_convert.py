import hashlib
import json
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from evf_sam_cli import main
from modeling_evf_sam import EvfSamConfig, EvfSamModel, EvfSamProcessor
from modeling_evf_sam.modeling_evf_sam_video import EvfSamVideoModel
from modeling_evf_sam.originals import settings
from modeling_evf_sam.originals.converting import convert_state_dict, original_state_dict
from tests.golden import GOLDEN_EFFICIENT_SAM, GOLDEN_ENCODER, GOLDEN_SAM, golden_config

GOLDEN_SIZES = {
    "ORIGINAL_SAMS": {("EvfSamModel", "huge"): GOLDEN_SAM},
    "ORIGINAL_ENCODERS": {"base": GOLDEN_ENCODER},
}


def run(*arguments: object) -> int:
    return main(["convert", *map(str, arguments)])


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.fixture
def golden_sizes(monkeypatch):
    """Let the original code build the golden sizes."""
    for table, entries in GOLDEN_SIZES.items():
        monkeypatch.setattr(settings, table, entries)


def test_the_golden_folder_becomes_ours(shared, workplace):
    source = shared / "golden" / "original_hub_folder"
    assert run(source, "--output", "ours", "--verify") == 0
    expected = convert_state_dict(load_file(source / "model.safetensors"))
    loaded = EvfSamModel.from_pretrained("ours").state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in expected.items())


def test_everything_is_written_and_reported(release, beit3_spm, capsys):
    assert run(release, "--output", "ours", "--tokenizer", beit3_spm, "--verify") == 0
    report = json.loads(Path("ours/conversion_report.json").read_text())
    rows = report["results"]
    assert files(Path("ours")) == sorted([*(row["file"] for row in rows), "conversion_report.json"])
    assert {row["file"] for row in rows} >= {"README.md", "config.json", "model.safetensors", "tokenizer.json"}
    for folder, entries in ((Path("ours"), rows), (release, report["sources"][:1])):
        for row in entries:
            content = (folder / row["file"]).read_bytes()
            assert (row["bytes"], row["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert [row["file"] for row in report["sources"]] == ["model.safetensors", beit3_spm.name]

    model = EvfSamModel.from_pretrained("ours")
    assert report["parameters"]["all"] == sum(weight.numel() for weight in model.parameters())
    original = load_file(release / "model.safetensors")
    assert report["tensors"] == {"mapped": len(original), "ignored": {}, "written": len(model.state_dict())}
    assert (report["dtype"], report["verified"]) == ("float32", True)
    assert "multitask" in report["title"] and EvfSamConfig.from_pretrained("ours").semantic_prompts
    out, _ = capsys.readouterr()
    assert report["sources"][0]["sha256"] in out and f"{report['parameters']['all']:,}" in out


@pytest.mark.parametrize(("flag", "multitask"), [("--multitask", True), ("--no-multitask", False)])
def test_the_user_settles_what_was_trained(release, flag, multitask):
    assert run(release, "--output", "ours", flag) == 0
    assert EvfSamConfig.from_pretrained("ours").semantic_prompts is multitask


def test_the_processor_has_the_token_of_a_multitask_release(release, beit3_spm, tiny_tokenizer):
    assert run(release, "--output", "ours", "--tokenizer", beit3_spm) == 0
    processor = EvfSamProcessor.from_pretrained("ours")
    semantic = tiny_tokenizer.convert_tokens_to_ids("[semantic]")
    ids = processor(images=Image.new("RGB", (9, 9)), text="star", semantic=True)["input_ids"]
    assert ids[0, 0, 1] == semantic
    assert processor.image_processor.image_size == 128


def test_the_card_can_be_run(release, beit3_spm, workplace):
    assert run(release, "--output", "ours", "--tokenizer", beit3_spm) == 0
    card = Path("ours/README.md").read_text()
    assert "license: apache-2.0" in card and "pipeline_tag: image-segmentation" in card
    assert "base_model:\n- YxZhang/evf-sam-multitask\n" in card
    Image.new("RGB", (40, 30)).save("photo.jpg")
    code = card.split("```python\n")[1].split("```")[0]
    names: dict = {}
    exec(code, names)
    assert names["result"]["masks"].shape == (2, 30, 40)


def test_a_card_without_a_tokenizer_says_so(release):
    assert run(release, "--output", "ours") == 0
    assert "There is no tokenizer" in Path("ours/README.md").read_text()
    assert "tokenizer.json" not in files(Path("ours"))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_float_type_and_shards(release, original, dtype):
    assert run(release, "--output", "ours", "--dtype", dtype, "--max-shard-size", "100KB", "--verify") == 0
    assert len(list(Path("ours").glob("model-*.safetensors"))) > 1
    loaded = EvfSamModel.from_pretrained("ours")
    assert loaded.dtype == getattr(torch, dtype)
    for name, tensor in convert_state_dict(original).items():
        assert torch.equal(loaded.state_dict()[name].to(loaded.dtype), tensor.to(loaded.dtype))


def test_the_float_type_of_the_source_stays(release, original):
    save_file({name: tensor.half() for name, tensor in original.items()}, release / "model.safetensors")
    assert run(release, "--output", "ours", "--verify") == 0
    assert EvfSamModel.from_pretrained("ours").dtype == torch.float16


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["evf-sam-multitask/pytorch_model.bin"], 0),  # the user named it
        (["evf-sam-multitask"], 2),
        (["evf-sam-multitask", "--use-pickle"], 0),
    ],
)
def test_pickles_are_read_only_where_they_were_asked_for(release, original, arguments, status, capsys):
    (release / "model.safetensors").unlink()
    torch.save(original, release / "pytorch_model.bin")
    assert run(*arguments, "--output", "ours", "--verify") == status
    assert Path("ours").exists() is (status == 0)
    if status:
        assert "is pickled, and pickles can run code" in capsys.readouterr().err
    else:
        assert EvfSamConfig.from_pretrained("ours").semantic_prompts


def test_there_and_back(release, original, beit3_spm, golden_sizes):
    assert run(release, "--output", "ours", "--tokenizer", beit3_spm) == 0
    assert run("ours", "--output", "theirs", "--to-original", "--tokenizer", beit3_spm, "--verify") == 0
    theirs = load_file("theirs/model.safetensors")
    assert theirs.keys() == original.keys()
    assert all(torch.equal(theirs[name], tensor) for name, tensor in original.items())
    config = json.loads(Path("theirs/config.json").read_text())
    assert config["model_type"] == "evf" and config["architectures"] == ["EvfSamModel"]
    assert (config["sam_scale"], config["mm_extractor_scale"]) == ("huge", "base")
    assert (config["hidden_size"], config["out_dim"], config["torch_dtype"]) == (32, 32, "float32")

    ours, back = (EvfSamProcessor.from_pretrained(folder).tokenizer for folder in ("ours", "theirs"))
    assert len(back) == len(ours)
    assert back.convert_tokens_to_ids("[semantic]") == ours.convert_tokens_to_ids("[semantic]")
    assert back("the red star").input_ids == ours("the red star").input_ids


def test_what_save_pretrained_wrote_goes_back_too(release, original, golden_sizes):
    assert run(release, "--output", "ours") == 0
    EvfSamModel.from_pretrained("ours").save_pretrained("saved")
    assert run("saved", "--output", "theirs", "--to-original", "--verify") == 0
    theirs = load_file("theirs/model.safetensors")
    assert all(torch.equal(theirs[name], tensor) for name, tensor in original.items())


def test_a_presence_head_is_left_out_of_the_originals_format(release, original, golden_sizes):
    assert run(release, "--output", "ours") == 0
    model = EvfSamModel.from_pretrained("ours")
    model.add_presence_head()
    model.save_pretrained("with-a-head")
    assert run("with-a-head", "--output", "theirs", "--to-original", "--verify") == 0
    assert load_file("theirs/model.safetensors").keys() == original.keys()
    assert json.loads(Path("theirs/conversion_report.json").read_text())["tensors"]["ignored"] == {"presence_head": 4}
    assert "Its presence head is left out: that format has no place for one." in Path("theirs/README.md").read_text()


def test_sizes_that_the_original_cannot_build_are_refused(release, capsys):
    assert run(release, "--output", "ours") == 0
    assert run("ours", "--output", "theirs", "--to-original") == 2
    assert "the original code builds no sam of width 48" in capsys.readouterr().err
    assert not Path("theirs").exists()


def test_sam2_keeps_its_memory_or_gets_it_back(shared, workplace):
    """SAM-2 of the smallest size and a tiny encoder, filled with zeros: names and shapes count."""
    keys = json.loads((shared / "reference" / "keys" / "sam2_t.json").read_text())
    sam = {f"visual_model.{name}": torch.zeros(shape, dtype=torch.bfloat16) for name, shape, _ in keys}
    tiny = golden_encoder_tensors()
    save_file({**sam, **tiny}, "evf-sam2.safetensors")
    save_file({name.removeprefix("visual_model."): tensor for name, tensor in sam.items()}, "meta.safetensors")

    assert run("evf-sam2.safetensors", "--output", "ours") == 0
    report = json.loads(Path("ours/conversion_report.json").read_text())
    assert report["tensors"]["ignored"] == {}
    EvfSamVideoModel.from_pretrained("ours")
    EvfSamModel.from_pretrained("ours").save_pretrained("photos")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "ORIGINAL_ENCODERS", GOLDEN_SIZES["ORIGINAL_ENCODERS"])
        assert run("ours", "--output", "theirs", "--to-original", "--verify") == 0
        options = ["--to-original", "--memory", "meta.safetensors"]
        assert run("photos", "--output", "theirs-again", *options, "--verify") == 0
        assert run("photos", "--output", "theirs-for-photos", "--to-original") == 0
    expected = {name.replace(".gamma", ".weight"): tensor.shape for name, tensor in {**sam, **tiny}.items()}
    for folder in ("theirs", "theirs-again"):
        theirs = load_file(f"{folder}/model.safetensors")
        assert {name: tensor.shape for name, tensor in theirs.items()} == expected
        assert "no modules for videos" not in Path(folder, "README.md").read_text()
    assert "It has no modules for videos." in Path("theirs-for-photos/README.md").read_text()


def test_efficient_sam_there_and_back(shared, workplace, monkeypatch):
    """Its 14 x 14 positions are stretched to the view, and found again."""
    sam = deepcopy(GOLDEN_EFFICIENT_SAM)
    sam["vision_config"]["image_size"] = 1024
    monkeypatch.setattr(settings, "ORIGINAL_SAMS", {("EvfEffiSamModel", "tiny"): sam})
    monkeypatch.setattr(settings, "ORIGINAL_ENCODERS", GOLDEN_SIZES["ORIGINAL_ENCODERS"])
    source = shared / "golden" / "evf_efficient_sam" / "state_dict.safetensors"
    assert run(source, "--output", "ours", "--verify") == 0
    assert run("ours", "--output", "theirs", "--to-original", "--verify") == 0
    theirs, expected = load_file("theirs/model.safetensors"), load_file(source)
    assert theirs.keys() == expected.keys()
    positions = "visual_model.image_encoder.pos_embed"
    torch.testing.assert_close(theirs.pop(positions)[:, 1:], expected.pop(positions)[:, 1:], atol=1e-5, rtol=0)
    assert all(torch.equal(theirs[name], tensor) for name, tensor in expected.items())


def golden_encoder_tensors() -> dict[str, torch.Tensor]:
    """Zeros in the places of the golden encoder and of a projector to 256 numbers."""
    config = golden_config(sam_config={"model_type": "sam"})
    with torch.device("meta"):
        names = original_state_dict(EvfSamModel(config).state_dict())
    return {
        name: torch.zeros(tensor.shape, dtype=torch.bfloat16)
        for name, tensor in names.items()
        if not name.startswith("visual_model.")
    }


def test_upload_comes_last_and_is_what_was_written(release, monkeypatch):
    from huggingface_hub import HfApi

    calls = []
    monkeypatch.setattr(HfApi, "create_repo", lambda self, *arguments, **options: calls.append(arguments))

    def upload(self, *, repo_id, folder_path, allow_patterns):
        calls.append((repo_id, sorted(allow_patterns), files(Path(folder_path))))

    monkeypatch.setattr(HfApi, "upload_folder", upload)
    assert run(release, "--output", "ours", "--push-to-hub", "me/evf-sam") == 0
    written = files(Path("ours"))
    assert calls == [("me/evf-sam",), ("me/evf-sam", written, written)]
    assert 'from_pretrained("me/evf-sam")' in Path("ours/README.md").read_text()


def _change(**changes):
    def damage(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        for name, change in changes.items():
            name = name.replace("__", ".")
            tensors[name] = change(tensors.get(name))
        save_file(
            {name: tensor for name, tensor in tensors.items() if tensor is not None}, folder / "model.safetensors"
        )

    return damage


def _cut(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-100])


WEIGHT = "text_hidden_fcs__0__0__weight"


@pytest.mark.parametrize(
    ("damage", "arguments", "message"),
    [
        (_cut, [], "not a whole safetensors file"),
        (_change(**{WEIGHT: lambda tensor: None}), [], "1 missing (projector.fc1.weight)"),
        (_change(**{WEIGHT: lambda tensor: tensor[:, 1:].clone()}), [], "projector.fc1.weight (32, 31)"),
        (_change(**{WEIGHT: lambda tensor: tensor.fill_(torch.nan)}), [], "not finite (projector.fc1.weight"),
        (_change(stranger=lambda tensor: torch.ones(1)), [], "unknown names: stranger"),
        (_change(**{WEIGHT: lambda tensor: tensor.fill_(1e6)}), ["--dtype", "float16"], "float16 cannot hold"),
        (None, ["--dtype", "int8"], "int8"),
        (None, ["--memory", "sam2.pt"], "--memory goes with --to-original"),
        (None, ["--tokenizer", "nothing.spm"], "tokenizer 'nothing.spm' does not exist"),
        (None, ["--tokenizer", "evf-sam-multitask/config.json"], "is no sentencepiece model"),
        (None, ["--to-original"], "is no folder of ours"),
        (None, ["--max-shard-size", "much"], "much"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(release, damage, arguments, message, capsys):
    if damage:
        damage(release)
    if arguments == ["--to-original"]:
        (release / "config.json").unlink()
    before = files(release.parent)
    assert run(release, "--output", "ours", *arguments) == 2
    error = capsys.readouterr().err.splitlines()
    assert error[-1].startswith("error: ") and message in error[-1]
    assert files(release.parent) == before


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("./nowhere", "model './nowhere' was not found (no such file or folder)"),
        ("ours", "is in our format already"),
    ],
)
def test_wrong_sources(release, source, message, capsys):
    assert run(release, "--output", "ours") == 0
    assert run(source, "--output", "more") == 2
    assert message in capsys.readouterr().err


def test_an_output_with_files_is_refused(release, capsys):
    assert run(release, "--output", release) == 2
    assert "is not empty: choose a new folder" in capsys.readouterr().err


def test_verify_finds_a_difference(release, monkeypatch, capsys):
    from modeling_evf_sam.originals import writing

    monkeypatch.setattr(
        writing.EvfSamModel,
        "from_pretrained",
        lambda folder, dtype: EvfSamModel(EvfSamConfig.from_pretrained(folder)),
    )
    assert run(release, "--output", "ours", "--verify") == 2
    assert "differ from their source after loading" in capsys.readouterr().err
    assert not Path("ours").exists()
