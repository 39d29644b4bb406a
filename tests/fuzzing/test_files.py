import pytest
from hypothesis import strategies as st
from safetensors import SafetensorError

from modeling_evf_sam.files import saving, whole_folder
from tests.fuzzing.outcomes import fuzzed

NAMES = st.lists(st.sampled_from(["a.png", "b.png", "result.json"]), unique=True, max_size=3)
ERRORS = st.sampled_from([
    None, OSError(28, "No space left on device"), SafetensorError("I/O error"), Exception("os error 28"),
    RuntimeError("PytorchStreamWriter failed\nat a place"), ValueError("a mistake of the caller"),
])  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs" / "masks"


@fuzzed("files", former=NAMES, names=NAMES, error=ERRORS, number=st.integers(0, 3), size=st.integers(0, 9000))
def test_a_write_that_fails_leaves_what_was_there(former, names, error, number, size, folder):
    for old in former:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / old).write_bytes(b"old")
    before = _content(folder)
    try:
        with saving(folder), whole_folder(folder) as whole:
            for index, name in enumerate(names):
                if error is not None and index == number:
                    raise error
                (whole / name).write_bytes(bytes(size))
            if error is not None:
                raise error
    except (ValueError, OSError):
        assert _content(folder) == before
        raise
    finally:
        assert not [path for path in folder.parents[1].rglob(".evf-sam-*")]
    assert _content(folder) == before | dict.fromkeys(names, size)


def _content(folder):
    return {file.name: file.stat().st_size for file in folder.iterdir()} if folder.exists() else {}
