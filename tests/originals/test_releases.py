import json
import logging
import shutil
import socket
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from modeling_evf_sam import EvfSamConfig, EvfSamModel, EvfSamProcessor
from modeling_evf_sam.presets import PRESETS
from tests.golden import golden_config
from tests.hub_server import use_hub

WHOLE = "model.safetensors"


@pytest.fixture()
def release(shared, tmp_path) -> Path:
    """A copy of the tiny release, that a test may change."""
    return Path(shutil.copytree(shared / "golden" / "original_hub_folder", tmp_path / "evf-sam", copy_function=copy))


def copy(source: str, target: str) -> None:
    Path(target).write_bytes(Path(source).read_bytes())  # writable, whatever the source is


def add_tokenizer(folder: Path, shared: Path) -> None:
    for file in (shared / "tokenizer" / "beit3").iterdir():
        copy(str(file), str(folder / file.name))


@pytest.fixture()
def pickled(release) -> Path:
    torch.save(load_file(release / WHOLE), release / "pytorch_model.bin")
    (release / WHOLE).unlink()
    return release


@torch.no_grad()
def golden_masks_differ_by(model: EvfSamModel, shared: Path) -> float:
    inputs, outputs = (
        load_file(shared / "golden" / "evf_sam" / f"{name}.safetensors") for name in ("inputs", "outputs")
    )
    masks = model(
        pixel_values=inputs["images"],
        multimodal_pixel_values=inputs["images_evf"],
        input_ids=inputs["input_ids"][:, None],
    ).pred_masks[:, 0]
    return (masks - outputs["inference.mask_decoder.0"]).abs().max().item()


def test_a_release_loads_as_it_is_and_is_saved_under_our_names(release, shared, tmp_path):
    model = EvfSamModel.from_pretrained(release)
    assert golden_masks_differ_by(model, shared) < 1e-4
    assert not model.training
    model.save_pretrained(tmp_path / "ours")
    assert set(load_file(tmp_path / "ours" / WHOLE)) < set(model.state_dict())  # less the Fourier matrix's second name
    assert golden_masks_differ_by(AutoModel.from_pretrained(tmp_path / "ours"), shared) < 1e-4


@pytest.mark.parametrize("arguments", [{}, {"dtype": "bfloat16"}, {"device_map": "auto"}, {"dtype": torch.float16}])
def test_arguments_of_from_pretrained_hold(release, arguments):
    model, info = EvfSamModel.from_pretrained(release, output_loading_info=True, **arguments)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert str(model.dtype).removeprefix("torch.") == str(arguments.get("dtype", "float32")).removeprefix("torch.")


def test_the_model_follows_its_tensors_whatever_config_json_says(release):
    config = EvfSamModel.from_pretrained(release).config  # config.json says ViT-H and BEIT-3 base
    assert (config.view_size, config.multimodal_view_size) == (128, 32)
    assert (config.image_layout, config.mask_selection, config.semantic_prompts) == ("pad", "first", False)


def test_configuration_and_processor_need_no_weights(release, shared):
    add_tokenizer(release, shared)
    (release / WHOLE).unlink()
    config = EvfSamConfig.from_pretrained(release)
    expected = EvfSamConfig(**PRESETS["evf-sam-beit3-base"])
    for part in ("multimodal_config", "sam_config"):
        assert getattr(config, part).to_dict() == getattr(expected, part).to_dict()
    image_processor = EvfSamProcessor.from_pretrained(release).image_processor
    assert (image_processor.image_size, image_processor.multimodal_image_size) == (1024, 224)


def test_sizes_that_config_json_leaves_open_come_with_the_model(release, shared):
    add_tokenizer(release, shared)
    (release / "config.json").write_text('{"model_type": "evf"}')
    for cls in (EvfSamConfig, EvfSamProcessor):
        with pytest.raises(ValueError, match=r"name no sizes.*load the model first, then take model\.config"):
            cls.from_pretrained(release)
    assert EvfSamModel.from_pretrained(release).config.view_size == 128


def test_a_damaged_release_is_named(release):
    tensors = load_file(release / WHOLE)
    tensors["text_hidden_fcs.0.0.weight"][0, 0] = torch.nan
    save_file(tensors, release / WHOLE)
    with pytest.raises(ValueError, match=r"evf-sam: .* 1 not finite \(projector.fc1.weight\)"):
        EvfSamModel.from_pretrained(release)


def test_switches_and_whole_configurations_can_be_given(release):
    assert EvfSamModel.from_pretrained(release, mask_selection="best_iou").config.mask_selection == "best_iou"
    given = golden_config(bce_loss_weight=2.0)
    assert EvfSamModel.from_pretrained(release, config=given).config.bce_loss_weight == 2.0


@pytest.mark.parametrize(
    ("name", "file", "text", "multitask"),
    [
        ("evf-sam", None, None, False),
        ("evf-sam-multitask", None, None, True),
        ("mine", "added_tokens.json", {"[semantic]": 64002}, True),
        ("mine", "tokenizer_config.json", {"added_tokens_decoder": {"64002": {"content": "[semantic]"}}}, True),
        ("mine", "tokenizer_config.json", {"tokenizer_class": "XLMRobertaTokenizer"}, False),
    ],
)
def test_multitask_releases_are_known_by_name_or_token(release, name, file, text, multitask):
    folder = release.rename(release.parent / name)
    if file:
        (folder / file).write_text(json.dumps(text))
    assert EvfSamConfig.from_pretrained(folder).semantic_prompts is multitask


def test_pickles_are_read_on_request_alone(pickled, shared):
    with pytest.raises(ValueError, match="use_safetensors=False"):
        EvfSamModel.from_pretrained(pickled)
    assert golden_masks_differ_by(EvfSamModel.from_pretrained(pickled, use_safetensors=False), shared) < 1e-4


def test_the_processor_has_the_tokenizer_of_the_release(release, shared, caplog, monkeypatch):
    with pytest.raises(ValueError, match=r"no tokenizer: put BEIT-3's beit3\.spm"):
        EvfSamProcessor.from_pretrained(release)
    add_tokenizer(release, shared)
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    processor = EvfSamProcessor.from_pretrained(release)
    assert caplog.messages == []
    assert processor.tokenizer.model_max_length == 1022
    for case in json.loads((shared / "tokenizer" / "expected_ids.json").read_text()):
        assert processor.tokenizer(case["text"])["input_ids"] == case["input_ids"]
        if case["text"].strip():  # a sentence without words is refused
            assert processor(text=case["text"])["input_ids"][0, 0].tolist() == case["input_ids"]


def test_a_release_in_the_hub_cache_loads_by_its_name(release, shared, tmp_path):
    repository = tmp_path / "cache" / "models--someone--evf-sam"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("a" * 40)
    (repository / "snapshots").mkdir()
    release.rename(repository / "snapshots" / ("a" * 40))
    model = EvfSamModel.from_pretrained("someone/evf-sam", cache_dir=tmp_path / "cache", local_files_only=True)
    assert golden_masks_differ_by(model, shared) < 1e-4


@pytest.mark.parametrize("cls", [EvfSamModel, EvfSamConfig, EvfSamProcessor])
def test_a_folder_that_is_not_there(cls, tmp_path):
    with pytest.raises(OSError, match=r"nowhere' does not exist: check the path"):
        cls.from_pretrained(tmp_path / "nowhere")


@pytest.mark.parametrize("cls", [EvfSamModel, EvfSamConfig, EvfSamProcessor])
def test_a_hub_that_is_out_of_reach_is_asked_once(cls, monkeypatch, tmp_path):
    with socket.socket() as closed:  # bound and not listening: connections are refused
        closed.bind(("127.0.0.1", 0))
        use_hub(monkeypatch, f"http://127.0.0.1:{closed.getsockname()[1]}", tmp_path)
        start = time.perf_counter()
        with pytest.raises(OSError, match=r"model 'nosuch' is no folder here and no Hub id in reach") as error:
            cls.from_pretrained("nosuch")
    assert time.perf_counter() - start < 3
    assert "\n" not in str(error.value)
