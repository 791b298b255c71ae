from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farebox.ledger.books import ExtendOp, Held, HoldOp, Refused, ReleaseOp, Settled, SettleOp
from farebox.ledger.budgets import HOUR, HOUR_US, Guard, Overspent
from farebox.ledger.rules import TransferKind
from tests.ledger.ledger_file import NOW_US, LedgerFile, ledger_in, settlement
from tests.support.stores import Store

KEY = 1
DAY = Guard("day", NOW_US, 100)
TOTAL = Guard("total", 0, 150)


@pytest.fixture
def ledger(store: Store) -> LedgerFile:
    ledger = LedgerFile(store.database)
    ledger.open_wallet("a")
    ledger.enlist("w1")
    ledger.move("a", TransferKind.TOP_UP, 1000)
    return ledger


def hold(ledger: LedgerFile, call: str, amount: int, *guards: Guard, key: int = KEY) -> HoldOp:
    return HoldOp(call, ledger.accounts["a"], key, "w1", "acme/model", amount, NOW_US, guards)


def settle(ledger: LedgerFile, call: str, due: int, held: int, *guards: Guard) -> SettleOp:
    made = settlement(call, ledger.accounts["a"], due=due, hold=held)
    made.row.guards = " ".join(f"{guard.period}:{guard.starts_us}" for guard in guards) or None
    return msgspec.structs.replace(made, guards=guards)


def windows(ledger: LedgerFile) -> dict[str, tuple[int, int]]:
    """Spent and held by period."""
    rows = ledger.rows("SELECT period, spent, held FROM budget_windows ORDER BY period")
    return {str(period): (int(spent or 0), int(held or 0)) for period, spent, held in rows}


def test_a_hold_that_a_budget_has_no_room_for_is_refused_and_holds_nothing(ledger: LedgerFile) -> None:
    assert ledger.commit(hold(ledger, "c1", 60, TOTAL, DAY)) == [Held()]
    assert ledger.commit(hold(ledger, "c2", 60, TOTAL, DAY)) == [Overspent(DAY, 100, 0, 60)]
    assert ledger.amounts("a").held == 60
    assert windows(ledger) == {"day": (0, 60), "total": (0, 60)}
    assert ledger.commit(settle(ledger, "c1", 45, 60, TOTAL, DAY)) == [Settled(45, 0)]
    assert windows(ledger) == {"day": (45, 0), "total": (45, 0)}
    assert ledger.commit(hold(ledger, "c2", 55, TOTAL, DAY)) == [Held()]


def test_two_calls_of_one_batch_do_not_pass_a_budget_together(ledger: LedgerFile) -> None:
    results = ledger.commit(*(hold(ledger, f"c{n}", 40, DAY) for n in range(4)))
    assert results == [Held(), Held(), Overspent(DAY, 100, 0, 80), Overspent(DAY, 100, 0, 80)]
    assert ledger.amounts("a").held == 80


def test_a_wallet_that_cannot_pay_leaves_the_budget_as_it_was(ledger: LedgerFile) -> None:
    wide = Guard("day", NOW_US, 10_000)
    assert ledger.commit(hold(ledger, "c1", 1001, wide)) == [Refused(1000, 0)]
    assert windows(ledger) == {"day": (0, 0)}
    assert ledger.commit(hold(ledger, "c2", 900, wide), hold(ledger, "c3", 101, wide)) == [
        Held(),
        Refused(1000, 900),
    ]
    assert windows(ledger) == {"day": (0, 900)}


def test_an_extension_needs_room_in_the_budget_too(ledger: LedgerFile) -> None:
    account = ledger.accounts["a"]
    ledger.commit(hold(ledger, "c1", 60, DAY))
    assert ledger.commit(ExtendOp("c1", account, 50, KEY, (DAY,))) == [Overspent(DAY, 100, 0, 60)]
    assert ledger.commit(ExtendOp("c1", account, 40, KEY, (DAY,))) == [Held()]
    assert windows(ledger) == {"day": (0, 100)}
    assert ledger.commit(settle(ledger, "c1", 100, 100, DAY)) == [Settled(100, 0)]
    assert windows(ledger) == {"day": (100, 0)}


@pytest.mark.parametrize("end", ["release", "sweep", "late"])
def test_a_hold_that_comes_to_nothing_frees_its_windows(ledger: LedgerFile, end: str) -> None:
    ledger.commit(hold(ledger, "c1", 60, DAY, TOTAL))
    if end == "release":
        ledger.commit(ReleaseOp("c1", ledger.accounts["a"]))
    else:
        assert ledger.sweep("w1") == 1
    assert windows(ledger) == {"day": (0, 0), "total": (0, 0)}
    if end == "late":  # A charge that comes after the sweep counts in the window in which it was held.
        assert ledger.commit(settle(ledger, "c1", 45, 60, DAY, TOTAL)) == [Settled(45, 0)]
        assert windows(ledger) == {"day": (45, 0), "total": (45, 0)}
    assert ledger.check().balanced


def test_a_hold_asked_for_twice_counts_once(ledger: LedgerFile) -> None:
    for _ in range(2):
        assert ledger.commit(hold(ledger, "c1", 60, DAY)) == [Held()]
    assert windows(ledger) == {"day": (0, 60)}
    assert ledger.amounts("a").held == 60


def test_what_was_spent_before_the_budget_counts_in_it(ledger: LedgerFile) -> None:
    call = (
        "01ZZZZZZZZZZZZZZZZZZZZZZZZ"  # A later id than any window's start, as a ULID of that time would be.
    )
    ledger.commit(hold(ledger, call, 70))
    ledger.commit(settle(ledger, call, 70, 70))
    assert ledger.commit(hold(ledger, "c2", 31, DAY)) == [Overspent(DAY, 100, 70, 0)]
    assert ledger.commit(hold(ledger, "c2", 30, DAY)) == [Held()]
    assert ledger.rows("SELECT seed, spent, held FROM budget_windows") == [(70, 70, 30)]


def test_one_keys_budget_is_not_anothers(ledger: LedgerFile) -> None:
    assert ledger.commit(hold(ledger, "c1", 100, DAY)) == [Held()]
    assert ledger.commit(hold(ledger, "c2", 100, DAY, key=2)) == [Held()]


def test_a_breaker_stops_at_so_many_times_the_usual_hour(ledger: LedgerFile) -> None:
    account = ledger.accounts["a"]
    with ledger.database.transaction() as work:
        work.run(
            "INSERT INTO breakers (key_id, account_id, times, floor, created) VALUES (?, ?, 5, 7, 0)",
            KEY,
            account,
        )
        for hours, spent in ((1, 10), (2, 0), (3, 20), (4, 30), (200, 10_000)):  # The last is too long ago.
            starts = NOW_US - hours * HOUR_US
            work.run(
                "INSERT INTO budget_windows (key_id, period, starts, account_id, spent) VALUES (?, 'hour', ?, ?, ?)",
                *(KEY, starts, account, spent),
            )
    hour = Guard(HOUR, NOW_US, None)
    assert ledger.commit(hold(ledger, "c1", 100, hour)) == [Held()]
    assert ledger.commit(hold(ledger, "c2", 1, hour)) == [Overspent(hour, 100, 0, 100)]
    new = Guard(HOUR, NOW_US, None)
    with ledger.database.transaction() as work:
        work.run(
            "INSERT INTO breakers (key_id, account_id, times, floor, created) VALUES (2, ?, 5, 7, 0)", account
        )
    assert ledger.commit(hold(ledger, "c3", 8, new, key=2)) == [Overspent(new, 7, 0, 0)]
    assert ledger.commit(hold(ledger, "c3", 7, new, key=2)) == [Held()]


CALLS = st.sampled_from(["c1", "c2", "c3", "c4", "c5"])
STEPS = st.lists(
    st.tuples(st.sampled_from(["hold", "extend", "settle", "release", "sweep"]), CALLS, st.integers(0, 60)),
    max_size=25,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=STEPS)
def test_windows_say_what_their_calls_were_charged_and_hold(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, int]]
) -> None:
    with ledger_in(tmp_path_factory.mktemp("ledger")) as ledger:
        account = ledger.open_wallet("a")
        ledger.enlist("w1")
        ledger.move("a", TransferKind.TOP_UP, 130)
        standing: dict[str, int] = {}
        over: set[str] = set()
        for verb, call, amount in steps:
            match verb:
                case "hold" if call not in standing and call not in over:
                    if ledger.commit(hold(ledger, call, amount, TOTAL, DAY)) == [Held()]:
                        standing[call] = amount
                case "extend" if call in standing:
                    if ledger.commit(ExtendOp(call, account, amount, KEY, (TOTAL, DAY))) == [Held()]:
                        standing[call] += amount
                case "settle" if call in standing:
                    ledger.commit(settle(ledger, call, amount, standing.pop(call), TOTAL, DAY))
                    over.add(call)
                case "release" if call in standing:
                    ledger.commit(ReleaseOp(call, account))
                    del standing[call]
                case "sweep":
                    ledger.sweep("w1")
                    ledger.enlist("w1")
                    over |= standing.keys()
                    standing.clear()
            report = ledger.check()
            assert report.balanced, report.breaches
            charged = sum(int(row[0] or 0) for row in ledger.rows("SELECT charge FROM requests"))
            for spent, held in windows(ledger).values():
                assert (spent, held) == (charged, sum(standing.values()))


@pytest.mark.parametrize("column", ["spent", "held"])
def test_a_window_that_says_something_else_than_its_calls_is_a_breach(
    ledger: LedgerFile, column: str
) -> None:
    ledger.commit(hold(ledger, "c1", 60, DAY), hold(ledger, "c2", 20, DAY))
    ledger.commit(settle(ledger, "c1", 45, 60, DAY))
    assert ledger.check().balanced
    with ledger.database.transaction() as work:
        work.run(f"UPDATE budget_windows SET {column} = {column} + 1")
    (breach,) = ledger.check().breaches
    assert (breach.row, breach.found, breach.expected) == {
        "spent": (f"{KEY} day:{NOW_US}", "46", "45"),
        "held": (f"{KEY} day:{NOW_US}", "21", "20"),
    }[column]
