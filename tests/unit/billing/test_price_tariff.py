"""Which dated change is in force when: the last to start, of the highest layer, the most exact, the last written."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.billing.prices.pricelist import PriceList, Terms, Ware, Way
from farebox.billing.prices.tariff import Change, Held, Layer, Tariff, write_moment
from farebox.core.money import NANO
from farebox.core.rates import Rates
from tests.unit.billing.price_shop import COST, MODEL, WARES, markup, price


def sold(tariff: Tariff, at_us: int, terms: Terms | None = None, plan_nano: int | None = None) -> int | None:
    prices = PriceList(terms or Terms("USD"), tariff, WARES)
    return prices.price_at(prices.wares[MODEL], plan_nano, tariff, at_us).input


moments = st.integers(0, 40)


@given(st.lists(st.tuples(moments, st.integers(1, 1_000)), max_size=12), moments)
def test_the_price_in_force_is_the_last_that_has_begun(changes: list[tuple[int, int]], at_us: int) -> None:
    tariff = Tariff(price(amount, starts_us) for starts_us, amount in changes)
    begun = sorted(
        ((starts, number, amount) for number, (starts, amount) in enumerate(changes) if starts <= at_us)
    )
    assert sold(tariff, at_us) == (begun[-1][-1] if begun else COST.input)


@given(
    st.lists(st.tuples(moments, st.sampled_from(Layer), st.sampled_from([MODEL, "acme/*", "*", "other/*"]))),
    moments,
)
def test_layers_patterns_and_exact_rows_are_believed_in_their_order(
    rows: list[tuple[int, Layer, str]], at_us: int
) -> None:
    changes = [
        price(number + 1, starts_us, target, layer=layer)
        for number, (starts_us, layer, target) in enumerate(rows)
    ]
    heard = [change for change in changes if change.starts_us <= at_us and change.covers(MODEL)]
    expected = max(
        heard,
        key=lambda change: (change.layer, change.starts_us, change.target == MODEL, changes.index(change)),
        default=None,
    )
    assert Tariff(changes).sale(MODEL, at_us) == expected


@given(st.lists(st.tuples(moments, st.integers(1, 1_000)), max_size=8), moments, moments)
def test_what_is_in_force_changes_only_where_a_change_starts(
    changes: list[tuple[int, int]], one_us: int, other_us: int
) -> None:
    tariff = Tariff(price(amount, starts_us) for starts_us, amount in changes)
    since, until = sorted((one_us, other_us))
    if not tariff.starting(since, until):
        assert tariff.sale(MODEL, since) == tariff.sale(MODEL, until)


def test_a_price_and_a_markup_take_each_others_place() -> None:
    tariff = Tariff([price(7, 10), markup(2 * NANO, 20), price(9, 30)])
    assert [sold(tariff, at_us) for at_us in (9, 10, 19, 20, 29, 30)] == [100, 7, 7, 200, 200, 9]


def test_the_authority_of_markups_is_hand_then_model_then_plan_then_provider_then_wallet() -> None:
    terms = Terms("USD", markup_nano=2 * NANO)
    with_provider = msgspec.structs.replace(terms, provider_markup_nano={"first": 3 * NANO})
    nothing = Tariff()
    assert sold(nothing, 0, terms) == 200
    assert sold(nothing, 0, with_provider) == 300
    assert sold(nothing, 0, with_provider, plan_nano=4 * NANO) == 400
    assert sold(Tariff([markup(5 * NANO)]), 0, with_provider, plan_nano=4 * NANO) == 500
    assert sold(Tariff([price(6)]), 0, with_provider, plan_nano=4 * NANO) == 6


def test_the_providers_markup_is_the_first_routes_whoever_serves() -> None:
    terms = Terms("USD", provider_markup_nano={"first": 3 * NANO, "second": 9 * NANO})
    ware = Ware(MODEL, "chat", COST, None, (Way("first", COST), Way("second", COST)))
    prices = PriceList(terms, wares=[ware])
    assert prices.price(MODEL, COST, None, None).rates.input == 300


def test_a_dated_cost_moves_the_price_that_is_made_of_it_and_only_its_providers_cost() -> None:
    dearer = Rates("USD", input=150, output=300)
    change = Change(what="cost", target="acme/*", starts_us=5, rates=dearer, provider="first")
    ware = Ware(MODEL, "chat", COST, None, (Way("first", COST), Way("second", COST)))
    prices = PriceList(Terms("USD", markup_nano=2 * NANO), Tariff([change]), [ware])
    assert [prices.price_at(ware, None, prices.tariff, at_us).input for at_us in (4, 5)] == [200, 300]
    assert [prices.cost_at(MODEL, way, prices.tariff, 5).input for way in ware.ways] == [150, 100]


def test_a_dated_rate_of_exchange_moves_prices_made_in_that_currency_alone() -> None:
    change = Change(what="fx", target="USD", starts_us=5, factor_nano=90 * NANO)
    terms = Terms("INR", fx_nano={"USD": 80 * NANO})
    rupees = Ware("acme/inr", "chat", Rates("INR", input=7, output=7), None, (Way("first", None),))
    dollars = Ware(MODEL, "chat", COST, None, (Way("first", COST),))
    prices = PriceList(terms, Tariff([change]), [rupees, dollars])
    assert [prices.price_at(dollars, None, prices.tariff, at_us).input for at_us in (4, 5)] == [8_000, 9_000]
    assert [prices.price_at(rupees, None, prices.tariff, at_us).input for at_us in (4, 5)] == [7, 7]


def test_what_the_file_says_without_a_date_silences_the_database() -> None:
    entered = [price(7, 1, layer=Layer.DATABASE), price(8, 1, "acme/b", layer=Layer.DATABASE)]
    tariff = Tariff(entered, Held(prices=frozenset({MODEL})))
    assert tariff.sale(MODEL, 5) is None
    assert tariff.sale("acme/b", 5) == entered[1]
    assert Tariff([*entered, price(9, 3)], Held(prices=frozenset({MODEL}))).sale(MODEL, 5) == price(9, 3)


def test_a_change_is_named_by_what_it_says() -> None:
    assert price(7, 1).id == price(7, 1, source="elsewhere", notice=False).id
    assert len({price(7, 1).id, price(7, 2).id, price(8, 1).id, markup(7, 1).id, price(7, 1, "b").id}) == 5


@pytest.mark.parametrize(
    ("at_us", "text"), [(0, "1970-01-01T00:00:00Z"), (1_796_083_200_000_001, "2026-12-01T00:00:00Z")]
)
def test_a_moment_is_written_in_utc(at_us: int, text: str) -> None:
    assert write_moment(at_us) == text
