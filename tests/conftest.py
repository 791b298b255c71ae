"""What holds for every test: how examples are drawn, and what a whole run says of recordings at its end."""

from __future__ import annotations

import re

import pytest
from hypothesis import settings

# What lands is judged on the same examples each time; `make fuzz` draws new ones. No deadline on a busy machine.
settings.register_profile("same", deadline=None, derandomize=True, database=None)
settings.register_profile("fuzz", deadline=None, max_examples=1_000, print_blob=True)
settings.load_profile("same")

_RECORDED = re.compile(r"\[[^\]]*recorded:([^\]]+)\]")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count the recordings by the ids of the tests that ran over them."""
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if getattr(report, "when", "") == "call"
    ]
    found = [match[1] for report in reports if (match := _RECORDED.search(report.nodeid))]
    terminalreporter.write_line(f"recordings: {len(set(found))} ran, in {len(found)} tests")
