"""Releases on the Hub: what is asked, what is downloaded, and what is read."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from modeling_evf_sam import EvfSamConfig, EvfSamModel, EvfSamProcessor
from tests.hub_server import Hub, running, use_hub

RELEASE = "someone/evf-sam-multitask"
TEXTS = {"config.json", "sentencepiece.bpe.model", "tokenizer_config.json"}


@pytest.fixture
def hub(shared, tmp_path, monkeypatch):
    """A release with pickled weights; its folder of safetensors is not there yet."""
    main = tmp_path / "main"
    main.mkdir()
    for folder in (shared / "golden" / "original_hub_folder", shared / "tokenizer" / "beit3"):
        for file in folder.iterdir():
            (main / file.name).write_bytes(file.read_bytes())
    torch.save(load_file(main / "model.safetensors"), main / "pytorch_model.bin")
    (main / "model.safetensors").rename(tmp_path / "model.safetensors")
    with running(Hub({RELEASE: {"main": main}})) as hub:
        use_hub(monkeypatch, hub.url, tmp_path)
        yield hub


def add_safetensors(hub: Hub, revision: str) -> None:
    folder = hub.repositories[RELEASE]["main"].parent / revision.replace("/", "_")
    folder.mkdir(exist_ok=True)
    (folder / "model.safetensors").write_bytes((folder.parent / "model.safetensors").read_bytes())
    hub.repositories[RELEASE][revision] = folder


def assert_is_the_release(model: EvfSamModel, hub: Hub) -> None:
    bias = load_file(hub.repositories[RELEASE]["main"].parent / "model.safetensors")["text_hidden_fcs.0.0.bias"]
    assert torch.equal(model.projector.fc1.bias, bias)
    assert model.config.semantic_prompts


def test_configuration_and_processor_download_no_weights(hub):
    assert EvfSamConfig.from_pretrained(RELEASE).semantic_prompts
    assert hub.downloads == ["config.json"]
    assert EvfSamProcessor.from_pretrained(RELEASE).image_processor.image_size == 1024
    assert set(hub.downloads) == TEXTS


def test_safetensors_are_preferred(hub):
    add_safetensors(hub, "main")
    add_safetensors(hub, "refs/pr/1")
    assert_is_the_release(EvfSamModel.from_pretrained(RELEASE), hub)
    assert hub.downloads == ["config.json", "model.safetensors"]


def test_the_conversion_of_the_hub_is_taken_where_there_are_pickles(hub, monkeypatch):
    add_safetensors(hub, "refs/pr/1")
    assert_is_the_release(EvfSamModel.from_pretrained(RELEASE), hub)
    assert hub.downloads == ["config.json", "refs/pr/1:model.safetensors"]
    model = EvfSamModel.from_pretrained(RELEASE, local_files_only=True)
    assert_is_the_release(model, hub)


def test_a_conversion_of_a_stranger_is_not_taken(hub):
    add_safetensors(hub, "refs/pr/1")
    hub.author = "stranger"
    with pytest.raises(ValueError, match="no safetensors, only pickles"):
        EvfSamModel.from_pretrained(RELEASE)


def test_pickles_alone_need_a_conversion_or_leave(hub):
    command = f"`evf-sam convert {RELEASE} --use-pickle --output evf-sam-multitask`"
    with pytest.raises(ValueError, match=f"has no safetensors, only pickles, .*{command}"):
        EvfSamModel.from_pretrained(RELEASE)
    assert hub.downloads == ["config.json"]
    assert_is_the_release(EvfSamModel.from_pretrained(RELEASE, use_safetensors=False), hub)
    assert hub.downloads == ["config.json", "pytorch_model.bin"]


@pytest.mark.parametrize("cls", [EvfSamModel, EvfSamConfig, EvfSamProcessor])
def test_a_name_that_the_hub_does_not_know(cls, hub):
    with pytest.raises(OSError, match=r"model 'someone/nosuch' is no folder here and no Hub id in reach") as error:
        cls.from_pretrained("someone/nosuch")
    assert "\n" not in str(error.value)


def test_a_model_of_ours_loads_as_ever(hub, tiny_checkpoint):
    hub.repositories["someone/ours"] = {"main": Path(tiny_checkpoint)}
    assert EvfSamModel.from_pretrained("someone/ours").config.view_size == 128
    assert EvfSamProcessor.from_pretrained("someone/ours").image_processor.image_size == 128
