from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from farebox.app.lease import Lease, drop_lease, keep_lease, take_lease
from tests.ledger.ledger_file import NOW_US, LedgerFile, ledger_in

SPAN_US = 10_000_000
OURS, THEIRS = Lease("work", "us", SPAN_US), Lease("work", "them", SPAN_US)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[LedgerFile]:
    with ledger_in(tmp_path) as ledger:
        yield ledger


def kept(ledger: LedgerFile, lease: Lease, after_us: int = 0) -> bool:
    return keep_lease(ledger.database, lease, NOW_US + after_us)


def ends_at(ledger: LedgerFile) -> int:
    return int(str(ledger.rows("SELECT until FROM leases")[0][0])) - NOW_US


def test_a_lease_is_one_owners_until_it_runs_out(ledger: LedgerFile) -> None:
    assert kept(ledger, OURS)
    assert not kept(ledger, THEIRS)
    assert not kept(ledger, THEIRS, SPAN_US - 1)
    assert kept(ledger, THEIRS, SPAN_US)
    assert not kept(ledger, OURS, SPAN_US)


def test_a_lease_that_is_kept_is_written_for_every_half_of_its_span(ledger: LedgerFile) -> None:
    kept(ledger, OURS)
    assert kept(ledger, OURS, SPAN_US // 2 - 1)
    assert ends_at(ledger) == SPAN_US
    assert kept(ledger, OURS, SPAN_US // 2)
    assert ends_at(ledger) == SPAN_US + SPAN_US // 2
    assert not kept(ledger, THEIRS, SPAN_US)


def test_a_lease_let_go_is_anybodys_at_once(ledger: LedgerFile) -> None:
    kept(ledger, OURS)
    drop_lease(ledger.database, THEIRS)
    assert not kept(ledger, THEIRS)
    drop_lease(ledger.database, OURS)
    assert kept(ledger, THEIRS)


def test_leases_of_other_names_are_others(ledger: LedgerFile) -> None:
    with ledger.database.transaction() as work:
        assert take_lease(work, "one", "us", NOW_US + 5, NOW_US)
        assert take_lease(work, "two", "them", NOW_US + 5, NOW_US)
        assert not take_lease(work, "one", "them", NOW_US + 9, NOW_US + 4)
        assert take_lease(work, "one", "us", NOW_US + 9, NOW_US + 4)
