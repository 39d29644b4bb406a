import json

import numpy as np
import pytest

from modeling_evf_sam.quoting import LENGTH, quoted

SHARED = [0]
for _ in range(60):
    SHARED = [SHARED] * 10
DEEP: list = []
for _ in range(10_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, "7"),
        ("the cup", "'the cup'"),
        ("\x1b[2J\n", r"'\x1b[2J\n'"),
        ("x" * 1000, f"'{'x' * 27}...{'x' * 28}'"),
        (DEEP, "[[[[[...]]]]]"),
        (SHARED, "[[[[[...], [...], [...], [...], ...], "),
        (json.loads("1" * 3000), "1111"),
        (1 << 100_000, "a very long int"),
        ({"a": {"b": 1}}, "{'a': {'b': 1}}"),
        (np.ones((2, 2)), "array([[1., 1.], [1., 1.]])"),
    ],
    ids=[
        "number",
        "text",
        "control characters",
        "long text",
        "deep",
        "shared",
        "long number",
        "longer",
        "mapping",
        "array",
    ],
)
def test_a_value_is_shown_shortly(value, expected):
    assert quoted(value).startswith(expected)
    assert len(quoted(value)) <= LENGTH
    assert quoted(value).isprintable()
