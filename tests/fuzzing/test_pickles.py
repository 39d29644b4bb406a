import pickle
import pickletools

import pytest
from hypothesis import strategies as st

from modeling_evf_sam.data.plain_pickle import load_plain_pickle
from tests.fuzzing.damage import damaged
from tests.fuzzing.outcomes import fuzzed

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=8)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4), inner, max_size=4)
        | st.tuples(inner, inner)
        | st.sets(st.integers(), max_size=3)
    ),
    max_leaves=20,
)
WHOLE = st.builds(pickle.dumps, VALUES, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
CODES = [code.code.encode("latin-1") for code in pickletools.opcodes]
# A small vocabulary of arguments meets a large one of opcodes: stacks, marks, numbers of the memo and names.
ARGUMENTS = [b"", b"\0", b"\1", b"0\n", b"posix\nsystem\n", b"\4\0\0\0", b"\xff\xff\xff\x7f", b"'a'\n"]
PROGRAMS = st.lists(st.tuples(st.sampled_from(CODES), st.sampled_from(ARGUMENTS)), max_size=40).map(
    lambda steps: b"".join(code + argument for code, argument in steps) + b"."
)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "refs.p"


@fuzzed("pickles", content=st.one_of(WHOLE, damaged(WHOLE), PROGRAMS))
def test_a_pickle_is_plain_data_or_refused(content, file):
    file.write_bytes(content)
    value = load_plain_pickle(file)
    if not _is_plain(value):
        raise AssertionError(value)


def _is_plain(value) -> bool:
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str, bytes)
