import pytest

from modeling_evf_sam.quoting import LENGTH, quoted

SHARED = [1] * 10
for _ in range(9):
    SHARED = [SHARED] * 10  # 10^10 numbers in ten lists


@pytest.mark.parametrize(
    ("value", "start"),
    [
        ("x", "'x'"),
        ([1, 2], "[1, 2]"),
        (SHARED, "[[[["),
        ("a" * 10**6, "'aaa"),
        ({str(index): index for index in range(1000)}, "{'0': 0"),
        (10**5000, "a value of type int"),
    ],
    ids=["word", "list", "shared lists", "long word", "dict", "number"],
)
def test_values_are_short(value, start):
    assert quoted(value).startswith(start)
    assert len(quoted(value)) <= LENGTH
