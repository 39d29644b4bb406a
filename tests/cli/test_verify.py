import json
import shutil

import pytest

from evf_sam_cli import main
from modeling_evf_sam.originals.weights import file_sha256


def flip_a_bit(file):
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)


def test_a_flipped_bit_in_a_converted_weight_is_found(release, workplace, capsys):
    assert main(["convert", str(release), "--output", "ours"]) == 0
    capsys.readouterr()
    assert main(["verify", "ours"]) == 0
    assert "model.safetensors: as recorded" in capsys.readouterr().out.splitlines()
    flip_a_bit(workplace / "ours" / "model.safetensors")
    (workplace / "ours" / "README.md").unlink()
    assert main(["verify", "ours"]) == 2
    message = capsys.readouterr().err
    assert "2 files of 'ours' are not what was written: README.md (missing), model.safetensors (changed)" in message


def test_a_snapshot_of_the_cache_names_its_hashes(tiny_checkpoint, workplace, capsys):
    blobs, snapshot = workplace / "blobs", workplace / "snapshots" / "1"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    weights = tiny_checkpoint / "model.safetensors"
    blob = blobs / file_sha256(weights)
    shutil.copy(weights, blob)
    shutil.copy(tiny_checkpoint / "config.json", blobs / ("0" * 40))  # by git's hash: small files are
    (snapshot / "model.safetensors").symlink_to(f"../../blobs/{blob.name}")
    (snapshot / "config.json").symlink_to(f"../../blobs/{'0' * 40}")
    assert main(["verify", str(snapshot)]) == 0
    assert capsys.readouterr().out == "model.safetensors: as recorded\n"
    flip_a_bit(blob)
    assert main(["verify", str(snapshot)]) == 2


@pytest.mark.parametrize(
    ("report", "message"),
    [
        (None, "there is nothing to compare"),
        ([], "is damaged: convert again"),
        ({"results": [{"file": "../secret", "sha256": "0" * 64}]}, "is damaged: convert again"),
        ({"results": [{"file": "model.safetensors"}]}, "is damaged: convert again"),
    ],
)
def test_a_folder_without_a_record_is_refused(report, message, workplace, capsys):
    (workplace / "folder").mkdir()
    if report is not None:
        (workplace / "folder" / "conversion_report.json").write_text(json.dumps(report))
    assert main(["verify", "folder"]) == 2
    assert message in capsys.readouterr().err
    assert main(["verify", "absent"]) == 2
