"""The books seen from outside, by the command line alone: what was called, what it cost, what is left."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.support.process import cli, statement
from tests.support.shop import nano

ACCOUNT = "acme"


def requests(data: Path, config: Path | None = None) -> dict[str, dict[str, Any]]:
    """Every call that held money, by its id."""
    told = cli("requests", "export", data=data, config=config)
    assert told.returncode == 0, told.stderr
    rows = [json.loads(line) for line in told.stdout.splitlines()]
    by_id = {row["id"]: row for row in rows}
    assert len(by_id) == len(rows), "a call is in the books twice"
    return by_id


def balance_nano(data: Path, config: Path | None = None, account: str = ACCOUNT) -> int:
    """What an account has according to its statement, every line of which must follow from the one before."""
    balance = 0
    for line in statement(data, account, config):
        balance += nano(line["amount"])
        assert nano(line["balance_after"]) == balance, line
    return balance


def assert_balanced(data: Path, config: Path | None = None, *, holds: int | None = None) -> None:
    """`farebox books check` finds nothing wrong, and so many holds if that is asked."""
    told = cli("books", "check", "--json", data=data, config=config)
    assert told.returncode == 0, told.stdout + told.stderr
    if holds is not None:
        assert json.loads(told.stdout)["holds"] == holds


def holds(data: Path) -> dict[str, str]:
    """The holds that stand and their owners, read beside the running server."""
    with closing(sqlite3.connect(f"file:{data / 'farebox.db'}?mode=ro", uri=True)) as database:
        return dict(database.execute("SELECT id, owner FROM holds"))


def settled(data: Path) -> dict[str, int]:
    """Calls that are settled, and their charge in nano-units, read beside the running server."""
    with closing(sqlite3.connect(f"file:{data / 'farebox.db'}?mode=ro", uri=True)) as database:
        return dict(database.execute("SELECT id, charge FROM requests"))
