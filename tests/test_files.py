import json
import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
from safetensors import SafetensorError

from modeling_evf_sam.files import PREFIX, saving, whole_file, whole_folder, write_json


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("existing", [False, True])
def test_files_move_in_together(tmp_path, existing):
    output = tmp_path / "a" / "b"
    if existing:
        output.mkdir(parents=True)
        (output / "mask.png").write_text("old")
        (output / "other").write_text("stays")
    with whole_folder(output) as folder:
        (folder / "mask.png").write_text("new")
        assert not existing or (output / "mask.png").read_text() == "old"
    assert (output / "mask.png").read_text() == "new"
    assert _names(tmp_path) == ["a", "a/b", "a/b/mask.png", *(["a/b/other"] if existing else [])]


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "a" / "b") as folder:
        (folder / "mask.png").write_text("half")
        raise RuntimeError
    assert _names(tmp_path) == []


def test_a_new_folder_appears_with_all_its_files_and_a_former_one_never_vanishes(tmp_path):
    """What other processes see, one of which was faster."""
    output = tmp_path / "cache"
    with whole_folder(output) as folder:
        (folder / "one").write_text("slow")
        with whole_folder(output) as faster:
            (faster / "one").write_text("fast")
            (faster / "two").write_text("fast")
            assert not output.exists()
        assert _names(output) == ["one", "two"]
    assert (output / "one").read_text() == "slow"
    assert stat.S_IMODE(output.stat().st_mode) == 0o777 & ~_umask()
    assert _names(tmp_path) == ["cache", "cache/one", "cache/two"]


def test_processes_that_write_one_file_leave_it_whole(tmp_path):
    texts = [str(number) * 100_000 for number in range(8)]

    def write(text):
        with whole_file(tmp_path / "a" / "file") as file:
            file.write_text(text)

    with ThreadPoolExecutor(len(texts)) as pool:
        list(pool.map(write, texts))
    assert (tmp_path / "a" / "file").read_text() in texts
    assert _names(tmp_path) == ["a", "a/file"]


@pytest.mark.parametrize("output", ["file", "file/folder"])
def test_an_unwritable_place_is_named_before_any_work(tmp_path, output):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=f"cannot write into '.*{output}'"), whole_folder(tmp_path / output):
        pytest.fail("the block ran")


@pytest.mark.parametrize(
    ("record", "expected"),
    [({"sentence": "é"}, nullcontext()), ({"score": float("nan")}, pytest.raises(ValueError, match="JSON"))],
)
def test_json_is_whole_or_absent(tmp_path, record, expected):
    with expected:
        write_json(record, str(tmp_path / "result.json"))
        assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8")) == record
        return
    assert _names(tmp_path) == []


WRITER = """
import sys, time
from pathlib import Path
from modeling_evf_sam.files import whole_folder
with whole_folder(Path(sys.argv[1])) as folder:
    (folder / "mask.png").write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def _start_writer(output):
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(output)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "writing\n"
    return process


@pytest.mark.parametrize("existing", [False, True])
def test_what_a_killed_run_left_goes_with_the_next_and_a_live_ones_stays(tmp_path, existing):
    output = tmp_path / "a" / "b"
    if existing:
        output.mkdir(parents=True)
    killed, live = _start_writer(output), _start_writer(output)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert len(list(tmp_path.rglob(f"{PREFIX}*"))) == 2

    with whole_folder(output) as folder:
        (folder / "mask.png").write_text("new")

    (left,) = tmp_path.rglob(f"{PREFIX}*")
    assert (left / "whole" / "mask.png").read_text() == "half"
    live.kill()
    live.wait()
    assert (output / "mask.png").read_text() == "new"


@pytest.mark.parametrize(
    "error",
    [
        Exception("No space left on device (os error 28)"),  # of tokenizers
        SafetensorError("Error while serializing: I/O error"),
        RuntimeError("PytorchStreamWriter failed\nat a place"),
        OSError(28, "No space left on device"),
    ],
)
def test_whatever_a_full_disk_raises_becomes_one_line(tmp_path, error):
    with pytest.raises(OSError, match=r"^cannot write '.*/model' \(.*\): make room, then start again$"):
        with saving(tmp_path / "model"):
            raise error


@pytest.mark.parametrize("error", [ValueError("a mistake"), TypeError("a fault"), KeyboardInterrupt()])
def test_other_errors_are_not_taken_for_a_full_disk(tmp_path, error):
    with pytest.raises(type(error)), saving(tmp_path / "model"):
        raise error
