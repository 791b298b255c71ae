"""What holds for every test: how examples are drawn, and what a whole run says of recordings at its end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.postgres import PostgresServer, started_postgres
from tests.support.stores import ENGINES, Store, opened_store

# What lands is judged on the same examples each time; `make fuzz` draws new ones. No deadline on a busy machine.
settings.register_profile("same", deadline=None, derandomize=True, database=None)
settings.register_profile("fuzz", deadline=None, max_examples=1_000, print_blob=True)
settings.load_profile("same")

_RECORDED = re.compile(r"\[[^\]]*recorded:([^\]]+)\]")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL for all tests of this process."""
    with started_postgres() as server:
        yield server


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A new database, once of each engine."""
    server = None if request.param == "sqlite" else request.getfixturevalue("postgres")
    with opened_store(request.param, tmp_path, server) as store:
        yield store


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
