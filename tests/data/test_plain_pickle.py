import collections
import os
import pickle
import struct
import tracemalloc
from contextlib import nullcontext

import numpy as np
import pytest

from modeling_evf_sam.data import plain_pickle
from modeling_evf_sam.data.plain_pickle import load_plain_pickle


class _Attack:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch '{self.target}'",)


PLAIN = [{"id": 1, "split": "val", "box": (1.5, 2), "none": None, "big": 2**60, "tuple": [(True,)], "text": "café"}]


def nested(levels):
    return [] if levels == 1 else [nested(levels - 1)]


def shared(levels):
    """Few lists, each ten times in the next."""
    value = []
    for _ in range(levels):
        value = [value] * 10
    return value


def chained(count, levels):
    """Lists side by side, of which each ends in the one before."""
    chains = [[]]
    for _ in range(count):
        value = chains[-1]
        for _ in range(levels):
            value = [value]
        chains.append(value)
    return chains


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data(tmp_path, protocol):
    (tmp_path / "refs.p").write_bytes(pickle.dumps(PLAIN, protocol=protocol))
    assert load_plain_pickle(tmp_path / "refs.p") == PLAIN


def test_strings_of_python_2(tmp_path):
    (tmp_path / "refs.p").write_bytes(b"(lp0\n(dp1\nS'sent'\np2\nS'a caf\\xe9'\np3\nsS'id'\nL7L\nsa.")
    assert load_plain_pickle(tmp_path / "refs.p") == [{"sent": "a café", "id": 7}]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_code_is_refused_and_not_run(tmp_path, protocol):
    (tmp_path / "refs.p").write_bytes(pickle.dumps([*PLAIN[:0], _Attack(tmp_path / "run")], protocol=protocol))
    with pytest.raises(ValueError, match=r"refs\.p' is refused \(asks for (posix|nt)\.system"):
        load_plain_pickle(tmp_path / "refs.p")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (pickle.dumps([1]), nullcontext()),
        (pickle.dumps([collections.OrderedDict()]), pytest.raises(ValueError, match=r"collections\.OrderedDict")),
        (pickle.dumps([np.float64(1)]), pytest.raises(ValueError, match="asks for numpy")),
        (pickle.dumps(len), pytest.raises(ValueError, match=r"builtins\.len")),
        (b"cos\nsystem\n(S'true'\ntR.", pytest.raises(ValueError, match=r"os\.system")),
        (b"(S'true'\nios\nsystem\n.", pytest.raises(ValueError, match=r"os\.system")),
        (b"\x80\x02\x82\x01.", pytest.raises(ValueError, match="is refused")),
        (pickle.dumps([1] * 100)[:50], pytest.raises(ValueError, match="is refused")),
        (pickle.dumps([{1}]), pytest.raises(ValueError, match="holds a set")),
        (pickle.dumps([bytearray(1)], protocol=5), pytest.raises(ValueError, match="holds a bytearray")),
        (pickle.dumps({(frozenset(),): 1}), pytest.raises(ValueError, match="holds a frozenset")),
        (pickle.dumps([2**63]), pytest.raises(ValueError, match="more than 64 bits")),
        (b"L" + b"9" * 30 + b"L\n.", pytest.raises(ValueError, match="more than 64 bits")),
        (pickle.dumps(nested(20)), nullcontext()),
        (pickle.dumps(nested(21)), pytest.raises(ValueError, match="more than 20 levels")),
        (b"]" * 50_000 + b"a" * 49_999 + b".", pytest.raises(ValueError, match="more than 20 levels")),
        (pickle.dumps([chained(3, 15)]), pytest.raises(ValueError, match="more than 20 levels")),
        (pickle.dumps(shared(7)), nullcontext()),
        (pickle.dumps(shared(9)), pytest.raises(ValueError, match="more than 20000000 elements")),
        (b"]q\x00h\x00a.", pytest.raises(ValueError, match="or itself")),
        (b"", pytest.raises(ValueError, match="is refused")),
        (b"<html>404</html>", pytest.raises(ValueError, match="is refused")),
    ],
)
def test_anything_else_is_refused(tmp_path, content, expected):
    (tmp_path / "refs.p").write_bytes(content)
    with expected:
        load_plain_pickle(tmp_path / "refs.p")


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02]r" + struct.pack("<I", 2**28) + b".",  # the object number 268,435,456
        b"]p268435456\n.",
        b"\x80\x04\x95" + struct.pack("<Q", 2**28) + b"].",  # a frame of 256 MB
        b"\x80\x05\x96" + struct.pack("<Q", 2**28) + b".",  # a bytearray of 256 MB
        b"\x80\x04\x8d" + struct.pack("<Q", 2**28) + b"text.",  # a string of 256 MB
    ],
)
def test_a_small_file_takes_little_memory(tmp_path, content):
    (tmp_path / "refs.p").write_bytes(content)
    tracemalloc.start()
    try:
        load_plain_pickle(tmp_path / "refs.p")
    except ValueError as error:
        assert "refs.p' is refused" in str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2**20


def test_time_has_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(plain_pickle, "MAX_SECONDS", 1)
    key = b")" + b"q\x00h\x00\x86" * 60  # each a pair of the one before: 2**60 steps to hash
    (tmp_path / "refs.p").write_bytes(b"\x80\x02}" + key + b"Ns.")
    with pytest.raises(ValueError, match="takes too much time"):
        load_plain_pickle(tmp_path / "refs.p")


def test_memory_has_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(plain_pickle, "MAX_MEMORY", 10**8)
    (tmp_path / "refs.p").write_bytes(b"(" + b"}" * 10**6 + b"l.")
    with pytest.raises(ValueError, match="MemoryError"):
        load_plain_pickle(tmp_path / "refs.p")


def test_a_trial_without_limits_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(plain_pickle, "PATIENCE", 0)
    (tmp_path / "refs.p").write_bytes(pickle.dumps(PLAIN))
    with pytest.raises(ValueError, match="takes too long"):
        load_plain_pickle(tmp_path / "refs.p")


def test_bytes_have_a_bound(tmp_path, monkeypatch):
    (tmp_path / "refs.p").write_bytes(pickle.dumps(PLAIN * 10))
    monkeypatch.setattr(plain_pickle, "MAX_BYTES", 100)
    with pytest.raises(ValueError, match="more than 100 bytes"):
        load_plain_pickle(tmp_path / "refs.p")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "refs.p")
    with pytest.raises(ValueError, match="no regular file"):
        load_plain_pickle(tmp_path / "refs.p")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"refs\.p' does not exist"):
        load_plain_pickle(tmp_path / "refs.p")
