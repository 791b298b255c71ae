"""Sealing: the days that are over in the wallet's time zone are sealed by one worker of all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from farebox.app.office import Office, load_settings, open_office
from farebox.app.sealing import finished_days, seal_finished, sealing_duty
from farebox.billing.periods import Calendar
from farebox.core.clock import SystemClock
from farebox.ledger.seal import Day, list_seals
from tests.ledger.ledger_file import CURRENCY, NOW_US

DAY_US = 86_400_000_000
INDIA = Calendar("Asia/Kolkata")
TRANSFER = (
    "INSERT INTO transfers (id, account_id, kind, debit, credit, amount, currency, created)"
    " VALUES ('t', 1, 'grant', 'grants', 'wallet:1', 1, ?, ?)"
)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """Books of which one transfer is two days old."""
    config = tmp_path / "farebox.toml"
    config.write_text('[wallet]\ncurrency = "INR"\ntime_zone = "Asia/Kolkata"\n')
    with closing(open_office(tmp_path / "data", load_settings(config, {}), {})) as office:
        with office.database.transaction() as work:
            work.run(TRANSFER, CURRENCY, office.clock.now_us() - 2 * DAY_US)
        yield office


def names(office: Office) -> list[str]:
    with office.database.read() as view:
        return [seal.day for seal in list_seals(view)][::-1]


def days_before(office: Office) -> list[str]:
    now_us = office.clock.now_us()
    return [INDIA.day(now_us - days * DAY_US).name for days in (2, 1)]


def test_the_duty_seals_each_day_that_is_over_in_the_wallets_zone(office: Office) -> None:
    sealing_duty(office, "us").run()
    assert names(office) == days_before(office)


def test_only_who_has_the_lease_seals(office: Office) -> None:
    late = msgspec.structs.replace(office, clock=_Ahead())
    sealing_duty(office, "us").run()
    sealing_duty(late, "them").run()
    assert len(names(office)) == 3, "an hour later the lease is anybody's"
    sealing_duty(office, "us").run()
    assert len(names(office)) == 3


def test_books_without_a_transfer_have_no_day_to_seal(office: Office) -> None:
    with office.database.transaction() as work:
        work.run("DELETE FROM transfers")
    assert list(finished_days(office.database, INDIA, NOW_US)) == []
    assert seal_finished(office.database, INDIA, NOW_US) == 0


def test_a_day_in_india_ends_at_half_past_six_in_the_evening_of_utc(office: Office) -> None:
    midnight = INDIA.find_time("2026-02-01T00:00:00+05:30")
    assert midnight is not None
    with office.database.transaction() as work:
        work.run("UPDATE transfers SET created = ?", midnight - 1)
    assert list(finished_days(office.database, INDIA, midnight - 1)) == []
    assert list(finished_days(office.database, INDIA, midnight)) == [Day("2026-01-31", midnight)]


class _Ahead(SystemClock):
    """The machine's clock a day from now."""

    def now_us(self) -> int:
        return super().now_us() + DAY_US
