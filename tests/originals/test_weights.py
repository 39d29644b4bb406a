import hashlib
import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from modeling_evf_sam.originals.weights import file_sha256, write_weights

TENSORS = {
    "half": torch.randn(3).half(),
    "matrix": torch.randn(4, 6).T,  # not contiguous
    "scalar": torch.tensor(2.0),
    "nothing": torch.empty(0, 3),
    "brain": torch.randn(5).bfloat16(),
    "double": torch.randn(2, 2).double(),
}


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("size", "files"), [("5GB", 1), ("0.05KB", None)])
def test_safetensors_reads_what_was_written(tmp_path, dtype, size, files):
    digests = write_weights(TENSORS, tmp_path, dtype=dtype, max_shard_size=size)
    written = {name: tensor for file in digests for name, tensor in load_file(tmp_path / file).items()}
    assert written.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        expected = tensor.to(dtype or tensor.dtype)
        assert written[name].dtype == expected.dtype
        assert torch.equal(written[name], expected)
    assert digests == {file: hashlib.sha256((tmp_path / file).read_bytes()).hexdigest() for file in digests}
    assert digests == {file: file_sha256(tmp_path / file) for file in digests}
    with safe_open(tmp_path / next(iter(digests)), framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
    index = tmp_path / "model.safetensors.index.json"
    assert index.exists() is (files is None)
    if files is None:
        assert json.loads(index.read_text())["weight_map"].keys() == TENSORS.keys()


@pytest.mark.parametrize(
    ("tensor", "options", "message"),
    [
        (torch.tensor([1e6]), {"dtype": torch.float16}, "tensor w has values that torch.float16 cannot hold"),
        (torch.ones(2, dtype=torch.float8_e4m3fn), {}, "tensor w is of type torch.float8_e4m3fn"),
        (torch.ones(2), {"max_shard_size": "much"}, "much"),
    ],
)
def test_what_cannot_be_written_is_named(tmp_path, tensor, options, message):
    with pytest.raises(ValueError, match=message):
        write_weights({"w": tensor}, tmp_path, **{"dtype": None, "max_shard_size": "5GB", **options})
