"""A JSON list that is written item by item, so that it may be larger than memory."""

import json
from collections.abc import Iterable
from typing import Any, TextIO


def write_list(file: TextIO, items: Iterable[dict[str, Any]]) -> None:
    """Writes one item on each line."""
    file.write("[")
    for index, item in enumerate(items):
        file.write((",\n" if index else "\n") + json.dumps(item, ensure_ascii=False))
    file.write("]")
