"""An import of listings: new models are kept, changed costs are dated changes, and a second import changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from farebox.app.prices import ware_of
from farebox.app.seeding import Seeded, When, seed
from farebox.billing.prices.book import list_changes
from farebox.billing.prices.pricelist import PriceList, Terms
from farebox.billing.prices.tariff import Change, Tariff
from farebox.core.rates import Rates
from farebox.providers.catalogue import build_catalogue
from farebox.providers.imported import read_imported
from farebox.providers.listing import Listing, RouteRow, load_release
from tests.unit.billing.price_shop import DAY_US, PriceShop

KNOWN = "openai/gpt-4o-mini"
DEAR, CHEAP = Rates("USD", input=900_000_000, output=900_000_000), Rates("USD", input=1, output=1)
NEW = Listing("acme/new", "chat", cost=CHEAP, routes=(RouteRow("openai", "new"),))


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[PriceShop]:
    shop = PriceShop(tmp_path)
    yield shop
    shop.database.close()


def listed(id_: str, **changes: object) -> Listing:
    (row,) = (row for row in load_release() if row.id == id_)
    return msgspec.structs.replace(row, **changes)


def imported(shop: PriceShop, *listings: Listing, in_us: int = 0, notice: bool = True) -> Seeded:
    """An import into a shop that buys of OpenAI alone, as the command line does it."""
    now_us = shop.clock.now_us()
    with shop.database.transaction() as work:
        rows = {row.id: row for row in (*load_release(), *read_imported(work))}
        catalogue = build_catalogue(rows.values(), (), {"openai"}, sandbox=False)
        entered = [row.change for row in list_changes(work)]
        prices = PriceList(Terms("USD"), Tariff(entered), map(ware_of, catalogue.listings), at_us=now_us)
        return seed(work, listings, prices, {None}, When(now_us, now_us + in_us, notice, 7))


def changes(shop: PriceShop) -> list[Change]:
    with shop.database.read() as view:
        return [row.change for row in list_changes(view)]


def test_a_new_model_is_kept_as_it_is(shop: PriceShop) -> None:
    assert imported(shop, NEW) == Seeded(1, 0, 0)
    with shop.database.read() as view:
        assert read_imported(view) == (NEW,)
    assert imported(shop, NEW) == Seeded(0, 0, 0)


def test_the_releases_own_file_changes_nothing(shop: PriceShop) -> None:
    assert imported(shop, *load_release()) == Seeded(0, 0, 0)
    with shop.database.read() as view:
        assert read_imported(view) == ()
    assert changes(shop) == []


def test_a_lower_cost_changes_at_once_and_once(shop: PriceShop) -> None:
    cheaper = listed(KNOWN, cost=CHEAP)
    assert imported(shop, cheaper) == Seeded(0, 1, 0)
    (change,) = changes(shop)
    assert (change.what, change.target, change.rates) == ("cost", KNOWN, CHEAP)
    assert change.starts_us == shop.clock.now_us()
    shop.clock.forward(60)
    assert imported(shop, cheaper) == Seeded(0, 0, 0)


def test_a_higher_cost_waits_until_customers_of_its_price_are_told(shop: PriceShop) -> None:
    dearer = listed(KNOWN, cost=DEAR)
    assert imported(shop, dearer) == Seeded(0, 0, 1)
    (change,) = changes(shop)
    assert change.starts_us == shop.clock.now_us() + 7 * DAY_US
    shop.clock.forward(60)
    assert imported(shop, dearer) == Seeded(0, 0, 0)
    assert changes(shop) == [change]
    assert imported(shop, dearer, notice=False) == Seeded(0, 1, 0)


def test_a_cost_may_change_at_a_day_to_come(shop: PriceShop) -> None:
    assert imported(shop, listed(KNOWN, cost=DEAR), in_us=9 * DAY_US) == Seeded(0, 1, 0)
    (change,) = changes(shop)
    assert change.starts_us == shop.clock.now_us() + 9 * DAY_US


def test_of_a_known_model_all_but_the_cost_is_taken_over(shop: PriceShop) -> None:
    assert imported(shop, listed(KNOWN, cost=CHEAP, max_output=77)) == Seeded(0, 1, 0)
    with shop.database.read() as view:
        (kept,) = read_imported(view)
    assert kept == listed(KNOWN, max_output=77)


def test_the_cost_of_a_model_nobody_sells_here_is_kept_for_the_day_it_is(shop: PriceShop) -> None:
    row = next(row for row in load_release() if row.id.startswith("anthropic/"))
    assert imported(shop, msgspec.structs.replace(row, cost=DEAR)) == Seeded(0, 1, 0)
    assert [change.target for change in changes(shop)] == [row.id]
