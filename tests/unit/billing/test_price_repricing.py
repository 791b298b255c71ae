"""Re-pricing: its own version gives a call's charge exactly; a wrong price is given back once, to each account."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.accounts.accounts import create_account
from farebox.billing.prices.pricelist import PriceList, Terms
from farebox.billing.prices.pricing import FEMTO, charge_at
from farebox.billing.prices.repricing import (
    Corrected,
    Overcharge,
    Overlaps,
    Repriced,
    Wrong,
    correct,
    overcharges,
    repriced,
)
from farebox.core.clock import Ulids
from farebox.core.money import NANO
from farebox.core.rates import Rates, Tier
from farebox.core.usage import Usage
from farebox.ledger.books import HoldOp, RequestRow, SettleOp, apply_batch
from farebox.ledger.check import check_books
from farebox.ledger.moves import Move, move
from farebox.ledger.owners import register
from farebox.ledger.rules import TransferKind
from tests.unit.billing.price_shop import MODEL, PriceShop, price

USAGE = Usage(input_fresh=1_000_000, output_visible=500_000)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[PriceShop]:
    shop = PriceShop(tmp_path)
    register(shop.database, "worker", shop.clock.now_us())
    yield shop
    shop.database.close()


def account(shop: PriceShop, name: str, credit_nano: int = 10_000, plan: str = "standard") -> int:
    now_us = shop.clock.now_us()
    with shop.database.transaction() as work:
        owner = create_account(work, name, plan=plan, currency="USD", now_us=now_us)
        move(work, Move(f"grant-{name}", owner.id, TransferKind.GRANT, credit_nano, "USD", None, now_us))
    return owner.id


def called(
    shop: PriceShop, account_id: int, *, usage: Usage = USAGE, markup: int | None = None
) -> RequestRow:
    """A call at the price of now, held and settled in the books."""
    version = shop.prices.price(MODEL, None, None, markup)
    id_, now_us, charge = Ulids(shop.clock).new(), shop.clock.now_us(), charge_at(usage, version)
    row = RequestRow(
        id=id_, account_id=account_id, key_id=1, profile="standard", model=MODEL, provider="first",
        upstream_model="a", state="posted", status=200, streamed=False, partial=False, estimated=False, finish="stop",
        error=None, usage=msgspec.json.encode(usage).decode(), input_tokens=usage.input_total,
        output_tokens=usage.output_total, charge=charge, currency="USD", hold=0, leakage=0, cost=0,
        cost_currency="USD", price_version=version.id, cost_version="", attempts="[]", first_byte_us=None,
        latency_us=1, created=now_us,
    )  # fmt: skip
    with shop.database.transaction() as work:
        apply_batch(work, [HoldOp(id_, account_id, 1, "worker", MODEL, 1, now_us)])
        apply_batch(work, [SettleOp(row, now_us)])
    return row


def again(
    shop: PriceShop, row: RequestRow, as_of_us: int | None = None, version: str | None = None
) -> int | None:
    with shop.database.read() as view:
        found = repriced(view, row, as_of_us=as_of_us, version=version)
    return None if found is None else found.charge_nano


def test_a_call_by_its_own_version_comes_to_its_charge(shop: PriceShop) -> None:
    shop.start()
    row = called(shop, account(shop, "a"))
    assert (row.charge, again(shop, row)) == (200, 200)


def test_a_call_as_of_a_moment_comes_to_what_the_price_of_then_makes_it(shop: PriceShop) -> None:
    first_us = shop.clock.now_us()
    shop.start([price(40, first_us + 5_000_000)])
    row = called(shop, account(shop, "a"))
    shop.clock.forward(6)
    shop.turn()
    later = called(shop, row.account_id)
    assert (row.charge, later.charge) == (200, 60)
    assert again(shop, row, first_us + 5_000_000) == 60
    assert again(shop, later, first_us + 4_999_999) == 200
    assert again(shop, row, first_us - 1) is None
    assert again(shop, row, version=later.price_version) == 60
    assert again(shop, row, version="nothing") is None


def test_a_call_is_repriced_in_the_scope_it_was_charged_in(shop: PriceShop) -> None:
    shop.start(plans={"pro": 2 * NANO})
    row = called(shop, account(shop, "a", plan="pro"), markup=2 * NANO)
    with shop.database.transaction() as work:
        work.run("UPDATE accounts SET plan = 'standard'")
    assert again(shop, row, shop.clock.now_us()) == row.charge == 400


def test_what_was_not_delivered_costs_nothing_by_any_price(shop: PriceShop) -> None:
    shop.start()
    row = msgspec.structs.replace(called(shop, account(shop, "a")), state="voided", usage="{}")
    with shop.database.read() as view:
        assert repriced(view, row) == Repriced(0, (), row.price_version, "USD")


rates = st.builds(
    Rates,
    st.just("USD"),
    input=st.integers(0, 10**9),
    output=st.integers(0, 10**9),
    cache_read=st.none() | st.integers(0, 10**9),
    request=st.none() | st.integers(0, 10**6),
    tiers=st.sampled_from([(), (Tier(500, input=7, output=9),)]),
)
usages = st.builds(Usage, **{name: st.integers(0, 1_000) for name in Usage.__struct_fields__})


@given(rates, usages)
def test_any_usage_by_any_version_is_repriced_to_its_charge_line_by_line(
    tmp_path_factory: pytest.TempPathFactory, by_hand: Rates, usage: Usage
) -> None:
    shop = PriceShop(tmp_path_factory.mktemp("books"))
    version = PriceList(Terms("USD"), at_us=0)
    sold = version.price(MODEL, None, by_hand, None)
    row = RequestRow(
        id="x", account_id=1, key_id=1, profile="", model=MODEL, provider="", upstream_model="", state="posted",
        status=200, streamed=False, partial=False, estimated=False, finish=None, error=None,
        usage=msgspec.json.encode(usage).decode(), input_tokens=0, output_tokens=0, charge=charge_at(usage, sold),
        currency="USD", hold=0, leakage=0, cost=0, cost_currency="USD", price_version=sold.id, cost_version="",
        attempts="[]", first_byte_us=None, latency_us=0, created=0,
    )  # fmt: skip
    with shop.database.transaction() as work:
        version.save(work, 0)
        found = repriced(work, row)
    shop.database.close()
    assert found is not None
    assert found.charge_nano == row.charge
    assert sum(line.amount_femto for line in found.lines) == row.charge * FEMTO


def wrong_price(shop: PriceShop) -> tuple[Wrong, int, int]:
    """Three seconds of twice the price: two accounts called, one of them before as well."""
    one, other = account(shop, "one"), account(shop, "other")
    shop.start()
    called(shop, one)
    shop.clock.forward(1)
    since_us = shop.clock.now_us()
    shop.start(terms=Terms("USD", markup_nano=2 * NANO))
    called(shop, one)
    called(shop, one)
    shop.clock.forward(1)
    called(shop, other, usage=Usage(input_fresh=1))
    shop.clock.forward(1)
    until_us = shop.clock.now_us()
    shop.start()
    called(shop, one)
    return Wrong(MODEL, since_us, until_us, as_of_us=since_us - 1), one, other


def give_back(shop: PriceShop, wrong: Wrong) -> Corrected | Overlaps:
    found = overcharges(shop.database, wrong)
    with shop.database.transaction() as work:
        return correct(work, wrong, found, currency="USD", reason="wrong", now_us=shop.clock.now_us())


def balance(shop: PriceShop, account_id: int) -> int:
    (row,) = shop.database.rows("SELECT balance FROM wallets WHERE account_id = ?", account_id)
    return int(row[0] or 0)


def test_each_account_is_told_what_it_paid_and_what_was_due(shop: PriceShop) -> None:
    wrong, one, other = wrong_price(shop)
    assert overcharges(shop.database, wrong) == [Overcharge(one, 2, 800, 400), Overcharge(other, 1, 1, 1)]


def test_a_wrong_price_is_given_back_once_and_the_books_balance(shop: PriceShop) -> None:
    wrong, one, other = wrong_price(shop)
    before = balance(shop, one), balance(shop, other)
    assert give_back(shop, wrong) == Corrected(400, 1)
    assert give_back(shop, wrong) == Corrected(400, 0)
    assert (balance(shop, one), balance(shop, other)) == (before[0] + 400, before[1])
    rows = list(shop.database.rows("SELECT kind, debit, amount FROM transfers WHERE kind = 'correction'"))
    assert rows == [("correction", "revenue", 400)]
    report = check_books(shop.database)
    assert report.balanced, report.breaches


def test_no_call_is_corrected_twice_by_overlapping_corrections(shop: PriceShop) -> None:
    wrong, one, _ = wrong_price(shop)
    assert give_back(shop, wrong) == Corrected(400, 1)
    wider = msgspec.structs.replace(wrong, until_us=wrong.until_us + 1)
    assert give_back(shop, wider) == Overlaps(wrong.id)
    after = Wrong(MODEL, wrong.until_us, wrong.until_us + 5, as_of_us=wrong.as_of_us)
    assert give_back(shop, after) == Corrected(0, 0)
    assert balance(shop, one) == 10_000 - 200 - 800 + 400 - 200


def test_nobody_is_charged_afterwards_for_a_price_that_was_too_low(shop: PriceShop) -> None:
    since_us, user = shop.clock.now_us(), account(shop, "a")
    shop.start(notice_days=0)
    called(shop, user)
    shop.clock.forward(1)
    shop.start([price(900, shop.clock.now_us())], notice_days=0)
    wrong = Wrong(MODEL, since_us, shop.clock.now_us(), as_of_us=shop.clock.now_us())
    assert overcharges(shop.database, wrong) == [Overcharge(user, 1, 200, 1350)]
    assert give_back(shop, wrong) == Corrected(0, 0)


def test_a_wallet_that_could_not_pay_a_wrong_price_gets_back_what_it_paid_too_much(shop: PriceShop) -> None:
    shop.start()
    poor = account(shop, "poor", credit_nano=150)
    row = called(shop, poor)
    assert (row.charge, row.leakage) == (150, 50)
    assert again(shop, row) == row.charge + row.leakage
    since_us = shop.clock.now_us()
    shop.clock.forward(1)
    shop.start([price(90, since_us, notice=False)])
    wrong = Wrong(MODEL, since_us, shop.clock.now_us(), as_of_us=shop.clock.now_us())
    assert overcharges(shop.database, wrong) == [Overcharge(poor, 1, 150, 135)]


def test_a_right_price_that_never_was_is_told(shop: PriceShop) -> None:
    wrong, _, _ = wrong_price(shop)
    never = msgspec.structs.replace(wrong, as_of_us=5)
    with pytest.raises(ValueError, match="no price of acme/a"):
        overcharges(shop.database, never)
