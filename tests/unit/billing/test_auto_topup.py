from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from farebox.billing.payments.auto_settings import AutoTopup, find_auto_topup, set_auto_topup, stop_auto_topup
from farebox.billing.payments.auto_topup import AutoTopups
from farebox.billing.periods import Calendar
from farebox.core.money import NANO
from farebox.ledger.rules import TransferKind
from tests.support.stores import Store, opened_store
from tests.unit.billing.paying import CrashError, Till, till_on

DAY_S = 86_400


@pytest.fixture
def till(store: Store) -> Iterator[Till]:
    with till_on(store) as till:
        yield till


@pytest.fixture
def frail(tmp_path: Path) -> Iterator[Till]:
    """A till whose process dies: on SQLite alone, for a database of PostgreSQL's costs a second to make."""
    with opened_store("sqlite", tmp_path, None) as store, till_on(store) as till:
        yield till


def set_up(till: Till, **members: object) -> AutoTopup:
    wanted = AutoTopup(till.account, "stripe", "cus_1:pm_1", 20 * NANO, 50 * NANO, 120 * NANO, active=True)
    with till.ledger.database.transaction() as work:
        return set_auto_topup(work, msgspec.structs.replace(wanted, **members), till.clock.now_us())


def duty(till: Till) -> AutoTopups:
    return AutoTopups(till.database, till.clock, till.another(), Calendar("UTC"))


def setting(till: Till) -> AutoTopup:
    with till.ledger.database.read() as view:
        found = find_auto_topup(view, till.account)
    assert found is not None
    return found


def spend(till: Till, units: int) -> None:
    till.ledger.take_back("a", -units * NANO)


def test_a_wallet_below_its_threshold_is_topped_up_once(till: Till) -> None:
    set_up(till)
    assert duty(till).run() == 1
    assert till.units == 50
    assert duty(till).run() == 0
    spend(till, 31)
    assert duty(till).run() == 1
    assert till.units == 69
    assert setting(till).running is None


def test_a_wallet_with_enough_is_left_alone(till: Till) -> None:
    till.ledger.move("a", TransferKind.GRANT, 20 * NANO)
    set_up(till)
    assert duty(till).run() == 0


def test_many_workers_at_once_start_one(till: Till) -> None:
    set_up(till)
    with ThreadPoolExecutor(8) as pool:
        started = sum(pool.map(lambda _: duty(till).run(), range(16)))
    assert started == 1
    assert till.units == 50


def test_while_one_is_under_way_there_is_no_second(till: Till) -> None:
    set_up(till)
    till.told.away = True
    assert duty(till).run() == 1
    assert duty(till).run() == 0
    assert till.units == 0
    till.told.away = False
    till.clock.forward(61)
    till.topups.resolve_due()
    assert till.units == 50
    assert till.told.asked.count("start") == 2  # The same key twice.
    assert len(till.told.payments) == 1


def test_a_month_has_its_cap(till: Till) -> None:
    set_up(till)
    bought = 0
    for _ in range(5):
        bought += duty(till).run()
        spend(till, int(till.units) or 1)
    assert bought == 2
    till.clock.forward(31 * DAY_S)
    assert duty(till).run() == 1


def test_after_three_failures_it_stops_and_both_are_told(till: Till) -> None:
    set_up(till)
    till.told.refuses = True
    started = []
    for _ in range(6):
        started.append(duty(till).run())
        assert duty(till).run() == 0  # Not at once again.
        till.clock.forward(601)
    assert started == [1, 1, 1, 0, 0, 0]
    assert not setting(till).active
    assert len(till.notices()) == len(till.notices(till.account)) == 1
    till.told.refuses = False
    set_up(till)
    assert duty(till).run() == 1


@pytest.mark.parametrize("step", range(60))
def test_a_crash_at_any_step_charges_once(frail: Till, step: int) -> None:
    till = frail
    set_up(till)
    till.crashes.left = step
    try:
        duty(till).run()
    except CrashError:
        till.crashes.left = -1
        duty(till).run()
    till.crashes.left = -1
    till.clock.forward(61)
    till.topups.resolve_due()
    assert till.units == 50
    assert len(till.told.payments) == 1
    assert setting(till).running is None


def test_a_stopped_setting_and_a_closed_account_buy_nothing(till: Till) -> None:
    set_up(till)
    with till.ledger.database.transaction() as work:
        assert stop_auto_topup(work, till.account, till.clock.now_us())
    assert duty(till).run() == 0
    set_up(till)
    with till.ledger.database.transaction() as work:
        work.run("UPDATE accounts SET status = 'disabled'")
    assert duty(till).run() == 0


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"processor": "razorpay"}, "not available with razorpay"),
        ({"processor": "nobody"}, "not available"),
        ({"method": ""}, "saved method"),
        ({"amount": 0}, "more than 0"),
        ({"monthly_cap": NANO}, "less than one"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(till: Till, wrong: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        set_up(till, **wrong)
