"""What a whole run says at its end: how many recordings of provider traffic it went over."""

from __future__ import annotations

import re

import pytest

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
