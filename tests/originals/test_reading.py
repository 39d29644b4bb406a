import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from modeling_evf_sam.originals.reading import read_tensors, refuse_not_finite

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b.bias": torch.ones(4, dtype=torch.bfloat16)}


class Malicious:
    def __reduce__(self):
        return os.system, ("touch hacked",)


def write_index(folder: Path, weight_map: dict, name: str = "model.safetensors.index.json") -> Path:
    (folder / name).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder / name


def assert_read(found: dict) -> None:
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


@pytest.mark.parametrize("name", ["model.safetensors", "sam.safetensors"])
@pytest.mark.parametrize("pick", [lambda file: file, lambda file: file.parent, str], ids=["file", "folder", "string"])
def test_safetensors(tmp_path, name, pick):
    save_file(TENSORS, tmp_path / name)
    (tmp_path / "config.json").write_text("{}")
    assert_read(read_tensors(pick(tmp_path / name)))


@pytest.mark.parametrize("wrapper", [None, "model", "module", "state_dict"])
@pytest.mark.parametrize(("name", "zipped"), [("sam.pth", True), ("sam.pt", False), ("pytorch_model.bin", True)])
def test_pickles_with_their_wrappers(tmp_path, wrapper, name, zipped):
    content = TENSORS if wrapper is None else {wrapper: TENSORS, "epoch": 3}
    torch.save(content, tmp_path / name, _use_new_zipfile_serialization=zipped)
    assert_read(read_tensors(tmp_path / name, allow_pickle=True))
    assert_read(read_tensors(tmp_path, allow_pickle=True))


@pytest.mark.parametrize("safe", [True, False])
def test_shards(tmp_path, safe):
    suffix, index = (".safetensors", "model") if safe else (".bin", "pytorch_model")
    weight_map = {}
    for number, (name, tensor) in enumerate(TENSORS.items()):
        shard = f"{index}-{number}{suffix}"
        (save_file if safe else torch.save)({name: tensor}, tmp_path / shard)
        weight_map[name] = shard
    file = write_index(tmp_path, weight_map, f"{index}{suffix}.index.json")
    assert_read(read_tensors(tmp_path, allow_pickle=not safe))
    assert_read(read_tensors(file, allow_pickle=not safe))


def test_safetensors_come_first(tmp_path):
    save_file(TENSORS, tmp_path / "model.safetensors")
    torch.save({"other": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    assert_read(read_tensors(tmp_path, allow_pickle=True))


def test_tensors_are_mapped_not_copied(tmp_path):
    """Half a gigabyte is there at once, and takes no memory until it is used."""
    size = 2**27
    with (tmp_path / "model.safetensors").open("wb") as file:
        header = json.dumps({"a": {"dtype": "F32", "shape": [size], "data_offsets": [0, 4 * size]}}).encode()
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 4 * size)  # a hole in the file: no disk either
    before = resident_bytes()
    tensor = read_tensors(tmp_path)["a"]
    assert tensor.shape == (size,)
    assert resident_bytes() - before < size


def test_a_header_whose_length_looks_like_a_web_page(tmp_path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode().ljust(0x3C20)
    content = len(header).to_bytes(8, "little") + header + bytes(4)
    assert content.startswith(b" <")
    (tmp_path / "model.safetensors").write_bytes(content)
    assert read_tensors(tmp_path)["a"].tolist() == [0]


def resident_bytes() -> int:
    pages = Path("/proc/self/statm")
    if not pages.is_file():
        pytest.skip("only Linux tells the memory of a process in /proc")
    return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def lfs_pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")


def web_page(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_text("\n<!DOCTYPE html><html>Not found</html>")


def truncated_safetensors(folder: Path) -> None:
    save_file(TENSORS, folder / "model.safetensors")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-3])


def empty_file(folder: Path) -> None:
    (folder / "model.safetensors").touch()


def truncated_pickle(folder: Path) -> None:
    torch.save(TENSORS, folder / "pytorch_model.bin")
    content = (folder / "pytorch_model.bin").read_bytes()
    (folder / "pytorch_model.bin").write_bytes(content[: len(content) // 2])


def malicious_pickle(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Malicious(), protocol=2))


def malicious_archive(folder: Path) -> None:
    torch.save({"a": TENSORS["a.weight"], "b": Malicious()}, folder / "pytorch_model.bin")


def garbage(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(bytes(range(256)) * 4)


def whole_numbers(folder: Path) -> None:
    save_file({**TENSORS, "count": torch.zeros(1, dtype=torch.int64)}, folder / "model.safetensors")


def not_tensors(folder: Path) -> None:
    torch.save({**TENSORS, "epoch": 3}, folder / "pytorch_model.bin")


def a_list(folder: Path) -> None:
    torch.save(list(TENSORS.values()), folder / "pytorch_model.bin")


def nothing_inside(folder: Path) -> None:
    torch.save({"model": {}}, folder / "pytorch_model.bin")


def two_files(folder: Path) -> None:
    for name in ("a.safetensors", "b.safetensors"):
        save_file(TENSORS, folder / name)


def no_weights(folder: Path) -> None:
    (folder / "config.json").write_text("{}")


def shard_outside(folder: Path) -> None:
    save_file(TENSORS, folder.parent / f"{folder.name}.safetensors")
    write_index(folder, {"a.weight": f"../{folder.name}.safetensors"})


def shard_absent(folder: Path) -> None:
    write_index(folder, {"a.weight": "model-1.safetensors"})


def shard_lacks_tensor(folder: Path) -> None:
    save_file({"a.weight": TENSORS["a.weight"]}, folder / "shard.safetensors")
    write_index(folder, {name: "shard.safetensors" for name in TENSORS})


def shard_is_an_index(folder: Path) -> None:
    write_index(folder, {"a.weight": "model.safetensors.index.json"})


def index_without_map(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text('{"weight_map": ["a"]}')


def index_is_no_json(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text("{")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lfs_pointer, "model.safetensors' is a git-LFS pointer, not the weights: run `git lfs pull`"),
        (web_page, "pytorch_model.bin' is a web page, not weights"),
        (truncated_safetensors, "model.safetensors' is not a whole safetensors file"),
        (empty_file, "model.safetensors' is not a whole safetensors file"),
        (truncated_pickle, "pytorch_model.bin' is not a whole PyTorch file"),
        (
            malicious_pickle,
            r"pytorch_model.bin' holds more than tensors \(\w+.system\), which could run code: refused",
        ),
        (malicious_archive, r"pytorch_model.bin' holds more than tensors \(\w+.system\), which could run code"),
        (garbage, "pytorch_model.bin' is not a whole PyTorch file"),
        (whole_numbers, "model.safetensors' must hold floating-point tensors alone, but has count"),
        (not_tensors, "pytorch_model.bin' must hold floating-point tensors alone, but has epoch"),
        (a_list, "pytorch_model.bin' holds a list, not named tensors"),
        (nothing_inside, "must hold floating-point tensors alone, but has nothing"),
        (two_files, r"has 2 weight files and no index \(a.safetensors, b.safetensors\): name one of them"),
        (no_weights, "has no weights: expected model.safetensors.index.json, model.safetensors"),
        (shard_outside, r"points outside its folder, to '\.\./"),
        (shard_absent, r"lists 1 shards that are not there \(model-1.safetensors\)"),
        (shard_lacks_tensor, r"shard.safetensors' lacks 1 tensors \(b.bias\)"),
        (shard_is_an_index, "is no weight file: expected .safetensors"),
        (index_without_map, "is not an index of shards"),
        (index_is_no_json, "is not an index of shards"),
    ],
)
def test_what_cannot_be_read_is_explained_in_one_line(tmp_path, monkeypatch, damage, message):
    monkeypatch.chdir(tmp_path)
    damage(tmp_path)
    with pytest.raises(ValueError, match=message) as error:
        read_tensors(tmp_path, allow_pickle=True)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize("pick", [lambda file: file, lambda file: file.parent], ids=["file", "folder"])
@pytest.mark.parametrize("name", ["pytorch_model.bin", "sam.pth"])
def test_pickles_are_opened_only_if_allowed(tmp_path, monkeypatch, name, pick):
    torch.save(TENSORS, tmp_path / name)
    monkeypatch.setattr(torch, "load", lambda *args, **kwargs: pytest.fail("opened a pickle"))
    with pytest.raises(ValueError, match=f"{name}' is pickled, and pickles can run code: .*use_safetensors=False"):
        read_tensors(pick(tmp_path / name))


def test_a_safe_index_opens_no_pickled_shard(tmp_path):
    torch.save(TENSORS, tmp_path / "shard.bin")
    write_index(tmp_path, {name: "shard.bin" for name in TENSORS})
    with pytest.raises(ValueError, match=r"shard.bin' is pickled"):
        read_tensors(tmp_path)


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"weights '.*absent.safetensors' do not exist: check the path"):
        read_tensors(tmp_path / "absent.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_values_that_are_not_finite_are_named(value, dtype):
    bad = torch.zeros(2, 3, dtype=dtype)
    bad[1, 2] = value
    with pytest.raises(ValueError, match=r"2 tensors are not finite \(bad, worse\): the checkpoint is damaged"):
        refuse_not_finite({**TENSORS, "bad": bad, "worse": bad, "empty": torch.zeros(0)})


def test_finite_values_pass():
    refuse_not_finite({**TENSORS, "large": torch.tensor([torch.finfo(torch.float32).max])})
