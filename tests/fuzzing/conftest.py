from typing import Any

from tests.fuzzing.outcomes import PROPERTY, table


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what became of all inputs, after a run of this folder."""
    outcomes = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, value in report.user_properties
        if name == PROPERTY
    ]
    if outcomes:
        terminalreporter.section("hostile inputs")
        for line in table(outcomes):
            terminalreporter.write_line(line)
