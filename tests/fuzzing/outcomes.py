"""What becomes of hostile input: it is accepted, refused in one clean line, or it is a fault.

A test feeds one input and returns where it is accepted. `make test` feeds a few, `make fuzz` many, and prints a table.
"""

import functools
import inspect
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

EXAMPLES = int(os.environ.get("EVF_SAM_FUZZ_EXAMPLES", "25"))
OUTCOMES = ("accepted", "refused cleanly", "other")
LONGEST_MESSAGE = 2000  # characters: room for two paths
PROPERTY = "outcomes"


def fuzzed(group: str, *, share: float = 1.0, **strategies: SearchStrategy) -> Callable:
    """Makes a test of a function that takes one hostile input; its other arguments are fixtures.

    Args:
        group: the row of the table.
        share: of the usual number of inputs, for what is slow.
        strategies: of each argument.
    """

    def decorate(feed: Callable[..., Any]) -> Callable:
        @functools.wraps(feed)
        def test(record_property: Callable, **fixtures: Any) -> None:
            counts = dict.fromkeys(OUTCOMES, 0)

            @settings(
                max_examples=max(1, round(EXAMPLES * share)),
                derandomize=True,
                database=None,
                deadline=None,
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            )
            @given(**strategies)
            def examine(**values: Any) -> None:
                counts["other"] += 1  # until it is known better
                outcome = _outcome(feed, {**fixtures, **values})
                counts["other"] -= 1
                counts[outcome] += 1

            try:
                examine()
            finally:
                record_property(PROPERTY, [group, counts])

        names = [name for name in inspect.signature(feed).parameters if name not in strategies]
        kind = inspect.Parameter.KEYWORD_ONLY
        test.__signature__ = inspect.Signature([inspect.Parameter(each, kind) for each in ["record_property", *names]])
        del test.__wrapped__  # pytest would ask it for fixtures
        return test

    return decorate


def _outcome(feed: Callable[..., Any], values: dict[str, Any]) -> str:
    try:
        feed(**values)
    except (ValueError, OSError) as error:
        message = str(error)
        assert message.isprintable() and 0 < len(message) <= LONGEST_MESSAGE, f"not one clean line: {message!r:.500}"
        return "refused cleanly"
    return "accepted"


def table(outcomes: list[list[Any]]) -> list[str]:
    """The lines of a table with a row for each group, and their sum."""
    groups: dict[str, Counter] = {}
    for group, counts in outcomes:
        groups.setdefault(group, Counter()).update(counts)
    groups = dict(sorted(groups.items()))
    groups["all"] = sum(groups.values(), Counter())
    width = max(map(len, groups))
    head = f"{'group':{width}} {'inputs':>8} " + " ".join(f"{name:>15}" for name in OUTCOMES)
    rows = (
        f"{group:{width}} {counts.total():8} " + " ".join(f"{counts[name]:15}" for name in OUTCOMES)
        for group, counts in groups.items()
    )
    return [head, *rows]
