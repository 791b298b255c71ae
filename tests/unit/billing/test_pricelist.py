from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from farebox.billing.prices.pricelist import PriceList, Terms, read_versions
from farebox.core.money import NANO, parse_nano
from farebox.core.rates import Rates
from farebox.store.migrate import load_migrations, migrate
from farebox.store.sqlite import SqliteDatabase

COST = Rates("USD", input=150_000_001, output=600_000_000)
RUPEES = Terms("INR", markup_nano=parse_nano("1.5"), fx_nano={"USD": parse_nano("83.333333333")})


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "farebox.db")
    migrate(database, load_migrations())
    yield database
    database.close()


def saved(database: SqliteDatabase, prices: PriceList) -> list[tuple[str | int | bytes | None, ...]]:
    with database.transaction() as work:
        prices.save(work, 7)
    return list(database.rows("SELECT id, kind, model, rates, made FROM versions ORDER BY id"))


def test_a_price_is_cost_times_markup_times_exchange_rounded_up_once() -> None:
    rates = PriceList(RUPEES).price("acme/a", COST, None, None).rates
    assert rates.currency == "INR"
    exact = 150_000_001 * 15 * 83_333_333_333  # In units of 10^-10 nano.
    assert rates.input == -(-exact // 10**10)
    assert rates.output == 600_000_000 * 15 * 83_333_333_333 // 10**10 + 1


def test_a_plans_markup_stands_instead_of_the_wallets() -> None:
    prices = PriceList(Terms("USD", markup_nano=2 * NANO))
    assert prices.price("acme/a", COST, None, None).rates.output == 1_200_000_000
    assert prices.price("acme/a", COST, None, NANO).rates.output == 600_000_000
    assert prices.price("acme/a", COST, None, 0).rates.output == 0


def test_a_price_by_hand_is_taken_as_it_is_and_only_exchanged() -> None:
    own = Rates("INR", input=7, output=9)
    assert PriceList(RUPEES).price("acme/a", COST, own, 3 * NANO).rates == own
    foreign = PriceList(RUPEES).price("acme/a", None, Rates("USD", input=3, output=NANO), None).rates
    assert (foreign.currency, foreign.input, foreign.output) == ("INR", 250, 83_333_333_333)


def test_a_currency_nobody_gave_a_rate_for_is_no_price() -> None:
    with pytest.raises(KeyError):
        PriceList(RUPEES).price("acme/a", Rates("EUR", input=1, output=1), None, None)


def test_a_model_without_a_cost_costs_nothing() -> None:
    assert PriceList(RUPEES).cost("acme/a", "acme", None).rates == Rates("INR", input=0, output=0)


def test_a_version_is_named_by_its_content() -> None:
    one, other = PriceList(RUPEES), PriceList(RUPEES)
    price = one.price("acme/a", COST, None, None)
    assert other.price("acme/a", COST, None, None) == price
    assert one.price("acme/a", COST, None, None) is price
    names = {
        price.id,
        one.price("acme/b", COST, None, None).id,
        one.price("acme/a", COST, None, 2 * NANO).id,
        one.cost("acme/a", "acme", COST).id,
        one.cost("acme/b", "acme", COST).id,
    }
    assert len(names) == 5
    assert one.cost("acme/a", "other", COST).id in names  # The same cost, whoever asks it.


def test_versions_are_written_down_once_and_stay_as_they_were(database: SqliteDatabase) -> None:
    prices = PriceList(RUPEES)
    price, cost = prices.price("acme/a", COST, None, None), prices.cost("acme/a", "acme", COST)
    rows = saved(database, prices)
    assert {(row[0], row[1], row[2]) for row in rows} == {
        (price.id, "price", "acme/a"),
        (cost.id, "cost", "acme/a"),
    }
    again = PriceList(RUPEES)
    again.price("acme/a", COST, None, None)
    dearer = again.price("acme/a", COST, None, 9 * NANO)
    with database.transaction() as work:
        again.save(work, 999)
    assert set(rows) < set(database.rows("SELECT id, kind, model, rates, made FROM versions"))
    with database.read() as view:
        found = read_versions(view, [price.id, dearer.id, "nothing"])
    assert found == {price.id: price.rates, dearer.id: dearer.rates}


def test_a_changed_price_is_a_new_version_beside_the_old(database: SqliteDatabase) -> None:
    old = PriceList(Terms("USD"))
    before = old.price("acme/a", COST, None, None)
    saved(database, old)
    new = PriceList(Terms("USD", markup_nano=2 * NANO))
    after = new.price("acme/a", COST, None, None)
    assert after.id != before.id
    assert len(saved(database, new)) == 2
