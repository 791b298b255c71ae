"""Monthly statements: exact at a month's edges in India, equal to the ledger, whatever moved."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farebox.billing.papers.buyers import Buyer
from farebox.billing.papers.history import ModelEntry, Wanted, find_page, has_older
from farebox.billing.papers.monthly import Statement, daily, find_statement, months_of
from farebox.billing.papers.statements import entries
from farebox.billing.periods import Calendar
from farebox.ledger.books import HoldOp, Settled
from farebox.ledger.moves import Booked, Move, move, take_back
from farebox.ledger.rules import TransferKind
from tests.ledger.ledger_file import CURRENCY, LedgerFile, ledger_in, settlement

INDIA = Calendar("Asia/Kolkata")
NOW_US = 1_794_000_000_000_000  # 6 November 2026.
DAY_US = 86_400_000_000


def at(text: str) -> int:
    """Microseconds of a time that names its offset."""
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


class Wallet:
    """The wallet of `a`, whose entries are booked at given times."""

    def __init__(self, ledger: LedgerFile) -> None:
        self.ledger = ledger
        self.id = ledger.open_wallet("a")
        ledger.enlist("w1")
        self.made = 0

    def move(self, kind: TransferKind, change: int, at_us: int) -> bool:
        self.made += 1
        with self.ledger.database.transaction() as work:
            transfer = Move(f"move-{self.made}", self.id, kind, change, CURRENCY, "why", at_us)
            return move(work, transfer) == Booked(new=True)

    def charge(self, due: int, at_us: int, model: str = "acme/model") -> str:
        """Settle a call; its charge is booked at that time, though it began an hour before."""
        self.made += 1
        id_ = f"{self.made:026d}"
        operation = settlement(id_, self.id, due=due, hold=0)
        row = msgspec.structs.replace(operation.row, model=model, created=at_us - 3_600_000_000)
        self.ledger.commit(HoldOp(id_, self.id, 1, "w1", model, due, at_us))
        (settled,) = self.ledger.commit(msgspec.structs.replace(operation, row=row, settled_us=at_us))
        assert isinstance(settled, Settled), settled
        return id_

    def statement(self, month: str, now_us: int = NOW_US, calendar: Calendar = INDIA) -> Statement:
        with self.ledger.database.read() as view:
            found = find_statement(view, self.id, month, calendar, now_us)
        assert found is not None
        return found

    @property
    def balance(self) -> int:
        return self.ledger.amounts("a").balance


@pytest.fixture
def wallet(tmp_path: Path) -> Iterator[Wallet]:
    with ledger_in(tmp_path) as ledger:
        yield Wallet(ledger)


def total(statement: Statement, kind: TransferKind) -> tuple[int, int]:
    (found,) = [one for one in statement.totals if one.kind is kind]
    return found.count, found.change_nano


def test_the_last_microsecond_of_a_month_in_india_is_in_it_and_the_next_is_not(wallet: Wallet) -> None:
    wallet.move(TransferKind.TOP_UP, 1000, at("2026-10-31T18:29:59.999998+00:00"))
    wallet.charge(7, at("2026-10-31T18:29:59.999999+00:00"))
    wallet.charge(11, at("2026-10-31T18:30:00+00:00"))
    october, november = wallet.statement("2026-10"), wallet.statement("2026-11")
    assert total(october, TransferKind.CHARGE) == (1, -7)
    assert (october.opening_nano, october.closing_nano) == (0, 993)
    assert total(november, TransferKind.CHARGE) == (1, -11)
    assert (november.opening_nano, november.closing_nano) == (993, 982)
    assert october.days[-1].closing_nano == 993
    assert (november.days[0].name, november.days[0].calls) == ("2026-11-01", 1)
    # In UTC all three are October's.
    assert wallet.statement("2026-10", calendar=Calendar("UTC")).closing_nano == 982


def test_every_kind_model_and_day_is_told(wallet: Wallet) -> None:
    noon = at("2026-10-05T12:00:00+05:30")
    for kind, change in (
        (TransferKind.TOP_UP, 500),
        (TransferKind.GRANT, 50),
        (TransferKind.REFUND, 5),
        (TransferKind.CORRECTION, -30),
        (TransferKind.CORRECTION, 10),
    ):
        assert wallet.move(kind, change, noon)
    wallet.charge(3, noon, "a/small")
    wallet.charge(40, noon + DAY_US, "a/large")
    wallet.charge(41, noon + DAY_US, "a/large")
    wallet.charge(0, noon)
    found = wallet.statement("2026-10")
    assert {one.kind.value: (one.count, one.change_nano) for one in found.totals} == {
        "top_up": (1, 500),
        "grant": (1, 50),
        "refund": (1, 5),
        "correction": (2, -20),
        "charge": (3, -84),
    }
    assert [(one.model, one.calls, one.charge_nano) for one in found.models] == [
        ("a/large", 2, 81),
        ("a/small", 1, 3),
    ]
    assert [(one.input_tokens, one.output_tokens) for one in found.models] == [(2, 4), (1, 2)]
    fifth, sixth = found.days[4:6]
    assert (fifth.in_nano, fifth.calls, fifth.charge_nano, fifth.out_nano, fifth.closing_nano) == (
        565,
        1,
        3,
        30,
        532,
    )
    assert (sixth.calls, sixth.charge_nano, sixth.closing_nano) == (2, 81, 451)
    assert len(found.days) == 31
    assert found.complete
    assert found.closing_nano == wallet.balance == 451


def test_money_that_is_lost_is_told_apart_and_is_no_part_of_the_balance(wallet: Wallet) -> None:
    wallet.move(TransferKind.TOP_UP, 100, at("2026-10-05T12:00:00+05:30"))
    with wallet.ledger.database.transaction() as work:
        change = Move(
            "back", wallet.id, TransferKind.REFUND, -150, CURRENCY, "disputed", at("2026-10-09T12:00:00Z")
        )
        take_back(work, change)
    found = wallet.statement("2026-10")
    assert (found.lost_nano, found.losses[0].reason, found.closing_nano) == (50, "disputed", 0)
    assert wallet.statement("2026-11").losses == ()


def test_months_go_from_the_first_entry_to_now_and_no_further(wallet: Wallet) -> None:
    with wallet.ledger.database.read() as view:
        assert months_of(view, wallet.id, INDIA, NOW_US) == []
    wallet.move(TransferKind.TOP_UP, 1, at("2026-08-31T18:30:00+00:00"))
    with wallet.ledger.database.read() as view:
        assert [month.name for month in months_of(view, wallet.id, INDIA, NOW_US)] == [
            "2026-11",
            "2026-10",
            "2026-09",
        ]
        for name in ("2026-08", "2026-12", "2026-13", "nonsense", ""):
            assert find_statement(view, wallet.id, name, INDIA, NOW_US) is None
        other = wallet.ledger.open_wallet("b")
        assert find_statement(view, other, "2026-10", INDIA, NOW_US) is None


def test_a_month_that_runs_is_not_complete_and_ends_with_today(wallet: Wallet) -> None:
    wallet.move(TransferKind.TOP_UP, 5, NOW_US - DAY_US)
    found = wallet.statement("2026-11")
    assert not found.complete
    assert found.days[-1].name == INDIA.day(NOW_US).name
    assert found.closing_nano == found.days[-1].closing_nano == 5


def test_an_entry_of_another_workers_faster_clock_is_in_the_days_as_in_the_sum(wallet: Wallet) -> None:
    tomorrow = INDIA.day(NOW_US).end_us + 5
    wallet.move(TransferKind.TOP_UP, 5, tomorrow)
    found = wallet.statement("2026-11")
    assert found.days[-1].closing_nano == found.closing_nano == 5


def test_an_account_without_details_is_named_by_itself(wallet: Wallet) -> None:
    wallet.move(TransferKind.TOP_UP, 5, NOW_US)
    assert (wallet.statement("2026-11").holder, wallet.statement("2026-11").account) == (Buyer("a"), "a")


zones = st.sampled_from(["UTC", "Asia/Kolkata", "Asia/Kathmandu", "Europe/Berlin", "America/St_Johns"]).map(
    Calendar
)
kinds = st.sampled_from([kind for kind in TransferKind if kind is not TransferKind.CHARGE])
# Two months around a change of clocks, in any order: what is booked later may carry an earlier time.
moments = st.integers(at("2026-10-01T00:00:00Z"), at("2026-11-30T00:00:00Z"))
steps = st.lists(st.tuples(st.none() | kinds, st.integers(-500, 500).filter(bool), moments), max_size=25)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calendar=zones, story=steps, filter_=st.none() | st.sampled_from(TransferKind), size=st.integers(1, 9))
def test_statements_days_and_pages_agree_with_the_ledger(
    tmp_path: Path,
    calendar: Calendar,
    story: list[tuple[TransferKind | None, int, int]],
    filter_: TransferKind | None,
    size: int,
) -> None:
    path = tmp_path / f"{time.monotonic_ns()}"
    path.mkdir()
    with ledger_in(path) as ledger:
        wallet = Wallet(ledger)
        wallet.move(TransferKind.GRANT, 10**6, at("2026-09-15T00:00:00Z"))
        for kind, change, moment in story:
            if kind is None:
                wallet.charge(abs(change), moment)
            else:
                wallet.move(kind, change, moment)
        now_us = at("2026-12-15T00:00:00Z")
        balance = 0
        for month in ("2026-09", "2026-10", "2026-11", "2026-12"):
            found = wallet.statement(month, now_us, calendar)
            assert found.opening_nano == balance
            balance += sum(one.change_nano for one in found.totals)
            assert found.closing_nano == balance == found.days[-1].closing_nano
            assert -total(found, TransferKind.CHARGE)[1] == sum(one.charge_nano for one in found.models)
            assert sum(day.calls for day in found.days) == sum(one.calls for one in found.models)
        assert balance == wallet.balance
        november = wallet.statement("2026-11", now_us, calendar).closing_nano
        with ledger.database.read() as view:
            first, last = calendar.month_of(2026, 10), calendar.month_of(2026, 11)
            days = daily(view, wallet.id, calendar, first.start_us, last.end_us)
            assert days[-1].closing_nano == november
            seen: list[ModelEntry] = []
            before = None
            while page := find_page(view, wallet.id, Wanted(size, filter_, before=before)):
                seen += page.entries
                if not page.has_more:
                    break
                before = seen[-1].id
        expected = [
            one for one in entries(ledger.database, wallet.id) if filter_ is None or one.kind == filter_.value
        ]
        plain = [(one.id, one.kind, one.amount_nano, one.balance_after_nano) for one in seen]
        assert plain == [
            (one.id, one.kind, one.amount_nano, one.balance_after_nano) for one in reversed(expected)
        ]


def test_a_page_is_of_the_times_that_are_asked_for_and_tells_models(wallet: Wallet) -> None:
    wallet.move(TransferKind.TOP_UP, 100, NOW_US)
    call = wallet.charge(5, NOW_US + 1, "a/model")
    wallet.charge(6, NOW_US + 2)
    with wallet.ledger.database.read() as view:
        page = find_page(view, wallet.id, Wanted(10, from_us=NOW_US + 1, to_us=NOW_US + 2))
        assert has_older(view, wallet.id, NOW_US + 1)
        assert not has_older(view, wallet.id, NOW_US)
    assert page is not None
    (entry,) = page.entries
    assert (entry.id, entry.request_id, entry.model, entry.balance_after_nano) == (call, call, "a/model", 95)
    assert not page.has_more


def test_no_page_follows_what_is_no_entry_of_the_wallet(wallet: Wallet) -> None:
    wallet.move(TransferKind.TOP_UP, 100, NOW_US)
    other = wallet.ledger.open_wallet("b")
    with wallet.ledger.database.read() as view:
        assert find_page(view, wallet.id, Wanted(10, before="nothing")) is None
        assert find_page(view, other, Wanted(10, before="move-1")) is None


def test_a_month_of_a_hundred_thousand_entries_takes_seconds_at_most(wallet: Wallet) -> None:
    start_us, count = at("2026-10-01T00:00:00+05:30"), 100_000
    wallet.move(TransferKind.TOP_UP, 10**12, start_us - 1)
    rows = [
        (
            f"{number:026d}x",
            wallet.id,
            "charge",
            f"wallet:{wallet.id}",
            "revenue",
            7,
            CURRENCY,
            None,
            start_us + number * 26_000_000,
        )
        for number in range(count)
    ]
    with wallet.ledger.database.transaction() as work:
        work.run_many(
            "INSERT INTO transfers (id, account_id, kind, debit, credit, amount, currency, reason, created)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        work.run(
            "UPDATE wallets SET balance = balance - ?, spent = ? WHERE account_id = ?",
            7 * count,
            7 * count,
            wallet.id,
        )
    began = time.monotonic()
    found = wallet.statement("2026-10")
    assert total(found, TransferKind.CHARGE) == (count, -7 * count)
    assert found.closing_nano == wallet.balance
    assert time.monotonic() - began < 5
