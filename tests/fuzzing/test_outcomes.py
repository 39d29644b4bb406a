import subprocess
import sys

import pytest
from hypothesis import strategies as st

from tests.fuzzing.outcomes import fuzzed, table


@pytest.mark.parametrize(
    ("raised", "outcome"),
    [
        (None, "accepted"),
        (ValueError("no such key"), "refused cleanly"),
        (FileNotFoundError("no such file"), "refused cleanly"),
        (ValueError("two\nlines"), "other"),
        (ValueError("\x1b[31mred"), "other"),
        (ValueError(), "other"),
        (ValueError("x" * 5000), "other"),
        (TypeError("a fault"), "other"),
        (RecursionError(), "other"),
    ],
)
def test_what_is_raised_decides(raised, outcome):
    @fuzzed("group", value=st.just(1))
    def feed(value, fixture):
        assert (value, fixture) == (1, 2)
        if raised is not None:
            raise raised

    seen = []
    if outcome == "other":
        with pytest.raises((type(raised), AssertionError)):
            feed(record_property=lambda *item: seen.append(item), fixture=2)
    else:
        feed(record_property=lambda *item: seen.append(item), fixture=2)

    ((_, (group, counts)),) = seen
    assert group == "group"
    assert counts[outcome] > 0
    assert sum(counts.values()) == counts[outcome]


def test_the_table_has_a_row_for_each_group():
    lines = table([["b", {"accepted": 1, "refused cleanly": 2, "other": 0}], ["a", {"other": 1}], ["b", {"other": 0}]])

    assert [line.split() for line in lines[1:]] == [
        ["a", "1", "0", "0", "1"],
        ["b", "3", "1", "2", "0"],
        ["all", "4", "1", "2", "1"],
    ]


def test_a_run_ends_with_the_table_and_fails_where_a_fault_is(tmp_path):
    (tmp_path / "conftest.py").write_text("from tests.fuzzing.conftest import *\n")
    (tmp_path / "test_two.py").write_text(
        "from hypothesis import strategies as st\n"
        "from tests.fuzzing.outcomes import fuzzed\n"
        "@fuzzed('whole numbers', value=st.integers())\n"
        "def test_good(value):\n    int(str(value))\n"
        "@fuzzed('texts', value=st.text())\n"
        "def test_bad(value):\n    value.encode('ascii')\n    [][len(value):][0]\n"
    )

    command = [sys.executable, "-m", "pytest", "-q", "--numprocesses=0", "--rootdir", str(tmp_path), str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True)

    assert run.returncode == 1
    assert "hostile inputs" in run.stdout
    assert any(line.split()[:2] == ["whole", "numbers"] and line.endswith(" 0") for line in run.stdout.splitlines())
