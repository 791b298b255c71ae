from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.billing.periods import Calendar
from farebox.ledger.check import Breach
from farebox.ledger.moves import Move, move, take_back
from farebox.ledger.rules import TransferKind
from farebox.ledger.seal import (
    AS_SEALED,
    GENESIS,
    IN_ORDER,
    LINES,
    Day,
    Seal,
    check_sealed_books,
    check_seals,
    list_seals,
    make_seals,
    unsealed_from_us,
)
from farebox.store.database import Database
from tests.ledger.ledger_file import CURRENCY, LedgerFile, ledger_in
from tests.support.stores import Store

DAY_US = 86_400_000_000
START_US = 20_000 * DAY_US
DAYS = [Day(f"day-{n:03}", START_US + (n + 1) * DAY_US) for n in range(400)]
TRANSFER = "seq, id, account_id, kind, debit, credit, amount, currency, created"
PUT_IN = f"INSERT INTO transfers ({TRANSFER}) VALUES ({{}}, 1, 'top_up', 'cash', 'wallet:1', 5, 'INR', 1)"


def book(ledger: LedgerFile, day: float, id_: str) -> None:
    """A top-up of 5 on a day, counted from 0."""
    account = ledger.open_wallet("acme")
    at_us = START_US + round(day * DAY_US)
    with ledger.database.transaction() as work:
        move(work, Move(id_, account, TransferKind.TOP_UP, 5, CURRENCY, None, at_us))


def lose(ledger: LedgerFile, day: float, id_: str) -> None:
    """More is taken back than there is."""
    at_us = START_US + round(day * DAY_US)
    with ledger.database.transaction() as work:
        take_back(
            work, Move(id_, ledger.open_wallet("acme"), TransferKind.CORRECTION, -1000, CURRENCY, None, at_us)
        )


def seal_until(database: Database, day: float) -> int:
    return make_seals(database, DAYS, START_US + round(day * DAY_US))


def seals(database: Database) -> list[Seal]:
    with database.read() as view:
        return list_seals(view)[::-1]


def breaches(database: Database, last: int | None = None) -> tuple[Breach, ...]:
    with database.read() as view:
        return check_seals(view, last)


def covered(database: Database) -> list[tuple[int, int, int, int]]:
    return [(seal.first_seq, seal.last_seq, seal.transfers, seal.losses) for seal in seals(database)]


@pytest.fixture
def ledger(store: Store) -> LedgerFile:
    """Two transfers on day 0, none on day 1, one and a loss on day 2, sealed; one more on day 3."""
    ledger = LedgerFile(store.database)
    for day, id_ in ((0.1, "a"), (0.9, "b"), (2.5, "c")):
        book(ledger, day, id_)
    lose(ledger, 2.6, "d")
    book(ledger, 3.1, "e")
    assert seal_until(ledger.database, 3.5) == 3
    return ledger


def test_each_day_that_is_over_is_sealed_with_what_was_booked_in_it(ledger: LedgerFile) -> None:
    assert covered(ledger.database) == [(1, 2, 2, 0), (3, 2, 0, 0), (3, 4, 2, 1)]
    assert breaches(ledger.database) == ()


def test_each_seal_holds_the_one_before_it(ledger: LedgerFile) -> None:
    made = seals(ledger.database)
    assert [seal.previous for seal in made] == [GENESIS, made[0].hash, made[1].hash]
    assert len({seal.hash for seal in made}) == 3


def test_sealing_twice_changes_nothing(ledger: LedgerFile) -> None:
    before = seals(ledger.database)
    assert seal_until(ledger.database, 3.9) == 0
    assert seals(ledger.database) == before


def test_a_late_transfer_lands_in_the_next_seal(ledger: LedgerFile) -> None:
    book(ledger, 0.5, "late")
    lose(ledger, 0.5, "late-loss")
    assert seal_until(ledger.database, 4) == 1
    assert covered(ledger.database)[-1] == (5, 7, 3, 1)
    assert breaches(ledger.database) == ()


def test_what_a_fast_clock_has_dated_later_is_in_the_seal_of_its_number(store: Store) -> None:
    ledger = LedgerFile(store.database)
    for day, id_ in ((0.1, "a"), (1.5, "ahead"), (0.9, "b"), (1.6, "c")):
        book(ledger, day, id_)
    seal_until(ledger.database, 3)
    assert covered(ledger.database) == [(1, 3, 3, 0), (4, 4, 1, 0), (5, 4, 0, 0)]
    assert breaches(ledger.database) == ()


@pytest.mark.parametrize(
    ("statements", "day"),
    [
        (("UPDATE transfers SET amount = amount + 1 WHERE id = 'a'",), "day-000"),
        (("UPDATE transfers SET reason = 'a gift' WHERE id = 'b'",), "day-000"),
        (("UPDATE transfers SET created = created + 1 WHERE id = 'c'",), "day-002"),
        (("DELETE FROM transfers WHERE id = 'b'",), "day-000"),
        (("DELETE FROM transfers WHERE id = 'c'",), "day-002"),
        (
            (PUT_IN.format("-7, 'x'"),),
            "day-000",
        ),
        (
            (
                "DELETE FROM transfers WHERE id = 'c'",
                PUT_IN.format("3, 'c'"),
            ),
            "day-002",
        ),
        (("UPDATE losses SET amount = amount - 1",), "day-002"),
        (("DELETE FROM losses",), "day-002"),
        (("DELETE FROM losses", "DELETE FROM sealed_losses"), "day-002"),
        (("UPDATE seals SET ends = ends - 1 WHERE day = 'day-001'",), "day-001"),
    ],
)
def test_old_rows_that_are_not_as_they_were_are_found_and_their_day_named(
    ledger: LedgerFile, store: Store, statements: tuple[str, ...], day: str
) -> None:
    store.break_in(*statements)
    found = breaches(ledger.database)
    assert [(breach.rule, breach.row) for breach in found] == [(AS_SEALED, day)]
    assert check_sealed_books(ledger.database).breaches[-1] == found[0]


def test_a_seal_made_anew_over_changed_rows_breaks_the_chain_after_it(
    ledger: LedgerFile, store: Store
) -> None:
    store.break_in("UPDATE transfers SET amount = 6 WHERE id = 'a'")
    (breach,) = breaches(ledger.database)
    store.break_in(f"UPDATE seals SET hash = '{breach.found.rpartition(' ')[2]}' WHERE day = 'day-000'")
    assert [(breach.rule, breach.row) for breach in breaches(ledger.database)] == [(IN_ORDER, "day-001")]


def test_a_seal_that_was_taken_out_is_missed(ledger: LedgerFile, store: Store) -> None:
    store.break_in("DELETE FROM seals WHERE day = 'day-001'")
    assert (IN_ORDER, "day-002") in {(breach.rule, breach.row) for breach in breaches(ledger.database)}
    store.break_in("DELETE FROM seals WHERE day = 'day-000'")
    assert (IN_ORDER, "day-002") in {(breach.rule, breach.row) for breach in breaches(ledger.database)}


def test_the_last_days_alone_can_be_checked(ledger: LedgerFile, store: Store) -> None:
    store.break_in("UPDATE transfers SET amount = 6 WHERE id = 'a'")
    assert breaches(ledger.database, 2) == ()
    assert len(breaches(ledger.database, 3)) == 1
    store.break_in("UPDATE transfers SET amount = 6 WHERE id = 'c'")
    assert [breach.row for breach in breaches(ledger.database, 2)] == ["day-002"]


def test_a_breach_says_how_many_rows_there_are_and_should_be(ledger: LedgerFile, store: Store) -> None:
    store.break_in("DELETE FROM transfers WHERE id = 'b'")
    (breach,) = breaches(ledger.database)
    assert breach.found.startswith("1 transfers, 0 losses, hash ")
    assert breach.expected.startswith("2 transfers, 0 losses, hash ")


def test_a_day_that_was_closed_by_one_who_died_is_finished_by_the_next(
    ledger: LedgerFile, store: Store
) -> None:
    before = seals(ledger.database)
    store.break_in("UPDATE seals SET hash = NULL, transfers = 0, losses = 0 WHERE day = 'day-002'")
    assert breaches(ledger.database) == ()
    assert seal_until(ledger.database, 3.9) == 0
    assert seals(ledger.database) == before


def test_what_is_sealed_needs_no_more_than_a_page_of_memory_at_a_time(tmp_path: Path) -> None:
    with ledger_in(tmp_path) as ledger:
        account = ledger.open_wallet("acme")
        rows = [
            (f"t{n}", account, "top_up", "cash", f"wallet:{account}", 1, CURRENCY, START_US)
            for n in range(LINES * 2 + 1)
        ]
        marks = TRANSFER.removeprefix("seq, ")
        with ledger.database.transaction() as work:
            work.run_many(f"INSERT INTO transfers ({marks}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        seal_until(ledger.database, 1)
        assert covered(ledger.database) == [(1, LINES * 2 + 1, LINES * 2 + 1, 0)]
        assert breaches(ledger.database) == ()


def test_books_without_a_transfer_have_nothing_to_seal(tmp_path: Path) -> None:
    with ledger_in(tmp_path) as ledger, ledger.database.read() as view:
        assert unsealed_from_us(view) is None


def kolkata(first: date, last: date) -> Iterator[Day]:
    calendar = Calendar("Asia/Kolkata")
    for period in calendar.days(calendar.start_us(first), calendar.start_us(last)):
        yield Day(period.name, period.end_us)


def test_a_months_end_in_kolkata_is_at_half_past_six_in_the_evening_of_utc(tmp_path: Path) -> None:
    midnight = Calendar("UTC").find_time("2026-01-31T18:30:00+00:00")
    assert midnight is not None
    with ledger_in(tmp_path) as ledger:
        account = ledger.open_wallet("acme")
        for id_, at_us in (("january", midnight - 1), ("february", midnight)):
            with ledger.database.transaction() as work:
                move(work, Move(id_, account, TransferKind.TOP_UP, 5, CURRENCY, None, at_us))
        days = list(kolkata(date(2026, 1, 31), date(2026, 3, 1)))
        assert make_seals(ledger.database, days, midnight - 1) == 0
        assert make_seals(ledger.database, days, midnight + DAY_US) == 2
        assert [(seal.day, seal.transfers) for seal in seals(ledger.database)] == [
            ("2026-01-31", 1),
            ("2026-02-01", 1),
        ]


def test_a_day_of_another_time_zone_that_is_sealed_already_is_left_to_the_next(tmp_path: Path) -> None:
    """The operator moved the time zone west: the same date ends once more, later."""
    with ledger_in(tmp_path) as ledger:
        book(ledger, 0.1, "a")
        seal_until(ledger.database, 1)
        book(ledger, 1.1, "b")
        moved = [Day(day.name, day.end_us + DAY_US // 4) for day in DAYS]
        assert make_seals(ledger.database, moved, START_US + 3 * DAY_US) == 1
        assert [(seal.day, seal.transfers) for seal in seals(ledger.database)] == [
            ("day-000", 1),
            ("day-001", 1),
        ]
        assert breaches(ledger.database) == ()


booked = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=14)


@given(
    booked, st.integers(0, 13), st.sampled_from(["amount = amount + 1", "currency = 'EUR'", "id = 'other'"])
)
def test_whatever_is_changed_after_its_seal_is_found_in_its_day(
    rows: list[tuple[int, bool]], victim: int, change: str
) -> None:
    with TemporaryDirectory() as folder, ledger_in(Path(folder)) as ledger:
        for number, (day, seal_now) in enumerate(rows):
            book(ledger, day + 0.5, f"t{number}")
            if seal_now:
                seal_until(ledger.database, day + 1)
        seal_until(ledger.database, 10)
        assert breaches(ledger.database) == ()
        made = seals(ledger.database)
        assert [later.first_seq for later in made[1:]] == [seal.last_seq + 1 for seal in made[:-1]]
        assert sum(seal.transfers for seal in made) == len(rows) == made[-1].last_seq
        seq = victim % len(rows) + 1
        with ledger.database.transaction() as work:
            work.run(f"UPDATE transfers SET {change} WHERE seq = ?", seq)
        (day_of,) = [seal.day for seal in made if seal.first_seq <= seq <= seal.last_seq]
        assert [breach.row for breach in breaches(ledger.database)] == [day_of]
