import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from modeling_evf_sam import EvfSamConfig, EvfSamModel
from tests.golden import golden_config
from tests.hub_server import Hub, running, use_hub


@pytest.fixture
def folder(tmp_path):
    EvfSamModel(golden_config()).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("shard", ["../x.safetensors", "/etc/passwd", "..", 3])
@pytest.mark.parametrize("name", ["model.safetensors.index.json", "pytorch_model.bin.index.json"])
def test_an_index_names_files_of_its_folder(folder, name, shard):
    (folder / "model.safetensors").unlink()
    (folder / name).write_text(json.dumps({"metadata": {}, "weight_map": {"projector.fc1.weight": shard}}))
    with pytest.raises(ValueError, match=r"points outside its folder"):
        EvfSamModel.from_pretrained(folder)


def test_no_kernels_of_the_hub(folder):
    with pytest.raises(ValueError, match="attn_implementation names code on the Hub"):
        EvfSamModel.from_pretrained(folder, attn_implementation="org/x")


def test_pickles_are_read_on_request(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="use_safetensors=False"):
        EvfSamModel.from_pretrained(folder)
    EvfSamModel.from_pretrained(folder, use_safetensors=False)


def test_pickles_of_the_hub_are_read_on_request(folder, tmp_path, monkeypatch):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with running(Hub({"someone/model": {"main": folder}})) as hub:
        use_hub(monkeypatch, hub.url, tmp_path)
        with pytest.raises(ValueError, match="is pickled, and pickles can run code"):
            EvfSamModel.from_pretrained("someone/model")
        EvfSamModel.from_pretrained("someone/model", use_safetensors=False)


def test_links_lead_to_blobs_of_the_cache_alone(folder, tmp_path):
    snapshot, blobs = tmp_path / "cache/snapshots/1", tmp_path / "cache/blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for file in folder.iterdir():
        file.rename(blobs / file.name)
        (snapshot / file.name).symlink_to(f"../../blobs/{file.name}")
        (folder / file.name).symlink_to(blobs / file.name)
    EvfSamModel.from_pretrained(snapshot)
    with pytest.raises(ValueError, match="link out of its folder"):
        EvfSamModel.from_pretrained(folder)


def test_weights_are_floating_point(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["projector.fc1.weight"] = tensors["projector.fc1.weight"].float().view(torch.int32)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"projector\.fc1\.weight is I32, not floating point"):
        EvfSamModel.from_pretrained(folder)


def test_sizes_are_compared_before_they_are_allocated(folder, monkeypatch):
    config = EvfSamConfig.from_pretrained(folder).to_dict()
    config["multimodal_config"]["vocab_size"] = 10**7
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr("modeling_evf_sam.pretrained_evf_sam.READ_WEIGHTS", lambda *_: pytest.fail("allocated"))
    with pytest.raises(ValueError, match="do not belong together"):
        EvfSamModel.from_pretrained(folder)


@pytest.mark.parametrize(
    ("part", "key", "value", "message"),
    [
        ("multimodal_config", "num_hidden_layers", 10**5, "multimodal_config.num_hidden_layers is 100000"),
        ("sam_config", "mask_decoder_config", {"iou_head_depth": 10**9}, "iou_head_depth is 1000000000"),
        ("multimodal_config", "hidden_size", "wide", "hidden_size"),
        ("sam_config", "vision_config", {"output_channels": -1}, "output_channels is -1, expected 0 at the least"),
        ("multimodal_config", "num_attention_heads", 0, "cannot be used"),
    ],
)
def test_configurations_that_no_file_can_hold(folder, part, key, value, message):
    config = EvfSamConfig.from_pretrained(folder).to_dict()
    config[part][key] = value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message):
        EvfSamModel.from_pretrained(folder)
