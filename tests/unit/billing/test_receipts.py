from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farebox.billing.papers.statements import entries
from farebox.billing.prices.pricelist import PriceList, Terms
from farebox.billing.prices.pricing import charge_nano
from farebox.billing.receipts import Receipts, Spent
from farebox.core.rates import TOKEN_RATES, Rates, Tier
from farebox.core.usage import TOKEN_CLASSES, Usage
from farebox.ledger.books import HoldOp, RequestRow, Settled
from farebox.ledger.rules import TransferKind
from tests.ledger.ledger_file import NOW_US, LedgerFile, ledger_in, settlement

RICH = 10**18
some_rates = st.none() | st.integers(0, 10**11)
rates_of_tokens = st.builds(
    Rates,
    st.just("INR"),
    **dict.fromkeys(TOKEN_RATES, some_rates),
    request=st.none() | st.integers(0, 10**9),
    tiers=st.just(())
    | st.builds(Tier, st.integers(0, 10_000), **dict.fromkeys(TOKEN_RATES, some_rates)).map(
        lambda tier: (tier,)
    ),
)
usages = st.builds(Usage, **dict.fromkeys(TOKEN_CLASSES, st.just(0) | st.integers(0, 300_000)))


class Shop:
    """A ledger whose calls are settled at listed prices."""

    def __init__(self, ledger: LedgerFile) -> None:
        self.ledger = ledger
        self.receipts = Receipts(ledger.database, "Asia/Kolkata")
        self.made = 0
        ledger.open_wallet("a")
        ledger.enlist("w1")

    def row(
        self, *, due: int, hold: int, key: int = 1, created_us: int = NOW_US, **members: Any
    ) -> RequestRow:
        self.made += 1
        row = settlement(f"{self.made:026d}", self.ledger.accounts["a"], due=due, hold=hold).row
        return msgspec.structs.replace(row, key_id=key, created=created_us, **members)

    def settle(self, row: RequestRow) -> Settled:
        hold = HoldOp(row.id, row.account_id, row.key_id, "w1", row.model, row.hold, row.created)
        operation = msgspec.structs.replace(settlement(row.id, row.account_id, due=0, hold=0), row=row)
        self.ledger.commit(hold)
        (settled,) = self.ledger.commit(operation)
        assert isinstance(settled, Settled)
        return settled

    def sell(self, usage: Usage, rates: Rates, *, hold: int = 0) -> RequestRow:
        """Settle a call of that usage, and give back its row as the books have it."""
        prices = PriceList(Terms("INR"))
        version = prices.price("acme/model", None, rates, None)
        with self.ledger.database.transaction() as work:
            prices.save(work, NOW_US)
        row = self.row(
            due=charge_nano(usage, rates),
            hold=hold,
            state="posted",
            usage=msgspec.json.encode(usage).decode(),
            price_version=version.id,
        )
        self.settle(row)
        found = self.receipts.find(row.account_id, row.id)
        assert found is not None
        return found

    def receipt(self, row: RequestRow) -> dict[str, Any]:
        """A receipt as a customer reads it, its amounts exact."""
        text = msgspec.json.encode(self.receipts.receipt(row))
        read: dict[str, Any] = msgspec.json.Decoder(float_hook=Decimal).decode(text)
        return read


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with ledger_in(tmp_path) as ledger:
        yield Shop(ledger)


def total(receipt: dict[str, Any]) -> Decimal:
    return sum((Decimal(line["amount"]) for line in receipt["lines"]), Decimal(0))


@settings(
    max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(usage=usages, rates=rates_of_tokens)
def test_the_lines_of_a_receipt_add_up_to_the_charge_exactly(shop: Shop, usage: Usage, rates: Rates) -> None:
    charge = charge_nano(usage, rates)
    if charge:
        shop.ledger.move("a", TransferKind.TOP_UP, charge)
    receipt = shop.receipt(shop.sell(usage, rates))
    assert Decimal(receipt["charge"]) * 10**9 == charge
    assert total(receipt) == Decimal(receipt["charge"])
    if charge:
        *lines, rounding = receipt["lines"]
        assert rounding["unit"] == "rounding"
        assert 0 <= Decimal(rounding["amount"]) < Decimal("1e-9")
        for line in lines:
            assert Decimal(line["amount"]) == Decimal(line["price"]) * line["units"] / line["per"]


def test_a_receipt_whose_wallet_fell_short_says_so_and_adds_up(shop: Shop) -> None:
    shop.ledger.move("a", TransferKind.TOP_UP, 100)
    row = shop.sell(Usage(output_visible=1000), Rates("INR", input=0, output=150_500), hold=60)
    assert (row.charge, row.leakage) == (100, 51)
    receipt = shop.receipt(row)
    assert [line["unit"] for line in receipt["lines"]] == ["output_visible", "unpaid", "rounding"]
    assert total(receipt) == Decimal(receipt["charge"]) == Decimal("0.0000001")


def test_a_call_that_was_voided_has_no_lines(shop: Shop) -> None:
    row = shop.row(due=0, hold=0)
    shop.settle(row)
    receipt = shop.receipt(row)
    assert (receipt["lines"], receipt["charge"], receipt["state"]) == ([], 0, "voided")


def test_a_receipt_is_written_with_every_digit(shop: Shop) -> None:
    shop.ledger.move("a", TransferKind.TOP_UP, RICH)
    row = shop.sell(
        Usage(input_fresh=3, output_visible=7),
        Rates("INR", input=150_000_001, output=600_000_000),
        hold=9_000,
    )
    text = msgspec.json.encode(shop.receipts.receipt(row)).decode()
    assert '"charge":0.000004651,' in text
    assert '"price":0.150000001,"per":1000000,"amount":0.000000450000003}' in text
    assert '{"unit":"rounding","units":1,"price":0,"per":1,"amount":0.000000000999997}' in text
    assert '"hold":0.000009,"freed":0.000004349,' in text


def test_a_receipt_tells_what_the_cache_saved_and_which_tier_was_in_force(shop: Shop) -> None:
    shop.ledger.move("a", TransferKind.TOP_UP, RICH)
    tier = Tier(1_000, input=200_000_000, cache_read=20_000_000)
    rates = Rates("INR", input=150_000_001, output=600_000_000, cache_read=75_000_000, tiers=(tier,))
    below = shop.sell(Usage(input_fresh=3, cache_read=10, output_visible=7), rates, hold=9_000)
    text = msgspec.json.encode(shop.receipts.receipt(below)).decode()
    assert '"price_tier":null,"cache_saving":0.00000075000001,' in text
    above = shop.sell(Usage(cache_read=2_000, output_visible=7), rates, hold=900_000)
    text = msgspec.json.encode(shop.receipts.receipt(above)).decode()
    assert '"price_tier":1000,"cache_saving":0.00036,' in text
    assert '"cache_discount":0.00036,' in msgspec.json.encode(shop.receipts.generation(above)).decode()


def test_a_call_is_found_by_its_id_or_a_replys_and_only_by_its_own_account(shop: Shop) -> None:
    row = shop.row(due=0, hold=0)
    shop.settle(row)
    account = row.account_id
    for name in (row.id, f"chatcmpl-{row.id}", f"resp_{row.id}"):
        assert shop.receipts.find(account, name) == row
    assert shop.receipts.find(account, "") is None
    assert shop.receipts.find(shop.ledger.open_wallet("b"), row.id) is None


def test_pages_go_from_new_to_old_without_a_gap(shop: Shop) -> None:
    rows = [shop.row(due=0, hold=0) for _ in range(7)]
    for row in rows:
        shop.settle(row)
    account, before, seen = rows[0].account_id, None, []
    while page := shop.receipts.page(account, before=before, limit=3):
        seen += [row.id for row in page]
        before = seen[-1]
    assert seen == [row.id for row in reversed(rows)]
    assert shop.receipts.page(shop.ledger.open_wallet("b"), before=None, limit=3) == []


def test_a_wallet_says_what_is_committed(shop: Shop) -> None:
    shop.ledger.move("a", TransferKind.TOP_UP, 1000)
    shop.settle(shop.row(due=45, hold=60))
    shop.ledger.commit(HoldOp("c", shop.ledger.accounts["a"], 1, "w1", "m", 7, NOW_US))
    view = shop.receipts.wallet(shop.ledger.accounts["a"])
    assert (view.balance_nano, view.held_nano, view.spent_nano, view.currency) == (955, 7, 45, "INR")


def at_kolkata(text: str) -> int:
    """Microseconds of a time in India, which is 5:30 ahead of UTC."""
    return round(datetime.fromisoformat(f"{text}+05:30").timestamp()) * 1_000_000


# now, when the calls were made, what of their charges 1, 10, 100 … is of the day, the week and the month
PERIODS = [
    # Thursday the 16th: midnight in India is 18:30 UTC of the day before.
    ("2026-04-16T12:00:00", ["2026-04-16T00:00:00", "2026-04-15T23:59:59"], (1, 11, 11)),
    # Monday begins an ISO week; the Sunday before it is of the last one.
    (
        "2026-04-13T00:00:01",
        ["2026-04-13T00:00:00", "2026-04-12T23:59:59", "2026-04-01T00:00:00"],
        (1, 1, 111),
    ),
    # Sunday ends it.
    (
        "2026-04-19T23:59:59",
        ["2026-04-19T00:00:00", "2026-04-13T00:00:00", "2026-04-12T23:59:59"],
        (1, 11, 111),
    ),
    # A week may be older than its month, and a month than its week.
    (
        "2026-05-01T10:00:00",
        ["2026-05-01T00:00:00", "2026-04-30T23:59:59", "2026-04-26T23:59:59"],
        (1, 11, 1),
    ),
    (
        "2027-01-01T00:00:00",
        ["2027-01-01T00:00:00", "2026-12-31T23:59:59", "2026-12-27T12:00:00"],
        (1, 11, 1),
    ),
]


@pytest.mark.parametrize(("now", "times", "expected"), PERIODS)
def test_what_a_key_spent_is_by_the_calendar_of_the_wallets_zone(
    shop: Shop, now: str, times: list[str], expected: tuple[int, int, int]
) -> None:
    shop.ledger.move("a", TransferKind.TOP_UP, RICH)
    for number, time in enumerate(times):
        shop.settle(shop.row(due=10**number, hold=10**number, created_us=at_kolkata(time)))
    shop.settle(shop.row(due=5, hold=5, key=2, created_us=at_kolkata(now)))
    ever = sum(10**number for number in range(len(times)))
    spent = shop.receipts.spent_by_key(1, shop.ledger.accounts["a"], at_kolkata(now))
    assert spent == Spent(ever, *expected)


def test_a_statement_tells_every_entry_with_the_balance_after_it(shop: Shop) -> None:
    shop.ledger.move("a", TransferKind.GRANT, 100)
    row = shop.row(due=45, hold=60)
    shop.settle(row)
    shop.settle(shop.row(due=0, hold=10))  # A zero charge is no entry.
    shop.ledger.move("a", TransferKind.CORRECTION, -5)
    shop.ledger.open_wallet("b")
    shop.ledger.move("b", TransferKind.TOP_UP, 9)
    lines = list(entries(shop.ledger.database, shop.ledger.accounts["a"]))
    assert [(line.kind, line.amount_nano, line.balance_after_nano) for line in lines] == [
        ("grant", 100, 100),
        ("charge", -45, 55),
        ("correction", -5, 50),
    ]
    assert [(line.request_id, line.input_tokens, line.output_tokens) for line in lines] == [
        (None, 0, 0),
        (row.id, 1, 2),
        (None, 0, 0),
    ]
    assert lines[-1].balance_after_nano == shop.ledger.amounts("a").balance
