"""Prices in time: the book says what was in force, changes come by themselves, and what is dearer waits to be told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.billing.prices.book import (
    Key,
    enter_change,
    find_price,
    find_version,
    in_force,
    list_changes,
    withdraw_change,
)
from farebox.billing.prices.pricelist import Terms, Ware, Way, read_versions
from farebox.billing.prices.scheduling import Scheduled, TooSoon, Unsellable, schedule_price
from farebox.billing.prices.tariff import Change, Layer
from farebox.core.money import NANO
from farebox.core.rates import Rates
from farebox.store.sqlite import SqliteDatabase
from tests.unit.billing.price_shop import COST, DAY_S, DAY_US, MODEL, OTHER, WARES, PriceShop, markup, price


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[PriceShop]:
    shop = PriceShop(tmp_path)
    yield shop
    shop.database.close()


def entered(shop: PriceShop, change: Change, *, id_: str = "one") -> Scheduled | TooSoon | Unsellable:
    with shop.database.transaction() as work:
        return schedule_price(work, shop.prices, change, id_=id_, now_us=shop.clock.now_us(), notice_days=7)


def test_the_first_start_opens_the_book(shop: PriceShop) -> None:
    begun_us = shop.clock.now_us()
    shop.start(terms=Terms("USD", markup_nano=2 * NANO))
    assert shop.periods() == [(begun_us, 200)]
    assert shop.periods(kind="cost", scope="first") == [(begun_us, 100)]


def test_a_start_that_changes_nothing_writes_nothing(shop: PriceShop) -> None:
    shop.start()
    before = list(shop.database.rows("SELECT * FROM price_periods ORDER BY kind, model, scope, starts"))
    shop.clock.forward(DAY_S)
    shop.start()
    assert before == list(
        shop.database.rows("SELECT * FROM price_periods ORDER BY kind, model, scope, starts")
    )


def test_settings_without_a_date_that_changed_hold_from_the_start_that_found_them(shop: PriceShop) -> None:
    first_us = shop.clock.now_us()
    shop.start()
    shop.clock.forward(DAY_S)
    shop.start(terms=Terms("USD", markup_nano=3 * NANO))
    assert shop.periods() == [(first_us, 100), (first_us + DAY_US, 300)]


def test_a_model_that_is_sold_no_more_ends_in_the_book_and_may_come_back(shop: PriceShop) -> None:
    first_us = shop.clock.now_us()
    shop.start()
    shop.clock.forward(1)
    shop.start(wares=WARES[:1])
    shop.clock.forward(1)
    shop.start()
    assert [rate for _, rate in shop.periods(OTHER)] == [100, None, 100]
    with shop.database.read() as view:
        assert find_version(view, Key("price", OTHER, ""), first_us + 1_500_000) is None
        assert Key("price", OTHER, "") not in in_force(view, first_us + 1_500_000)


def test_a_dated_row_takes_effect_at_its_time_and_not_before(shop: PriceShop) -> None:
    now_us = shop.clock.now_us()
    shop.start([price(70, now_us + 10_000_000)])
    shop.clock.forward(9)
    assert not shop.turn()
    assert shop.now() == 100
    shop.clock.forward(1)
    assert shop.timetable.advance() == {MODEL}  # Nothing but the comparison of a duty on the loop.
    assert (shop.now(), shop.now(OTHER)) == (70, 100)
    assert shop.periods() == [(now_us, 100), (now_us + 10_000_000, 70)]


def test_many_changes_that_passed_at_once_end_at_the_last(shop: PriceShop) -> None:
    now_us = shop.clock.now_us()
    shop.start([price(90 - at, now_us + at * 1_000_000) for at in range(1, 30)])
    shop.clock.forward(100)
    shop.turn()
    shop.turn()
    assert shop.now() == 61
    assert [rate for _, rate in shop.periods()] == [100, *range(89, 60, -1)]


def test_a_plan_with_a_markup_of_its_own_has_periods_of_its_own(shop: PriceShop) -> None:
    shop.start(plans={"pro": 3 * NANO, "free": None})
    assert [rate for _, rate in shop.periods(scope="pro")] == [300]
    assert shop.periods(scope="free") == []
    with shop.database.read() as view:
        pro, free = (find_price(view, MODEL, plan, shop.clock.now_us()) for plan in ("pro", "free"))
        assert pro != free == find_price(view, MODEL, "", shop.clock.now_us())
    shop.clock.forward(1)
    shop.start()  # Its customers pay what everybody pays from now on.
    with shop.database.read() as view:
        assert find_price(view, MODEL, "pro", shop.clock.now_us()) == free
        assert find_price(view, MODEL, "pro", shop.clock.now_us() - 1) == pro


def test_every_version_of_the_book_can_be_read_before_it_is_in_force(shop: PriceShop) -> None:
    now_us = shop.clock.now_us()
    shop.start([price(50, now_us + DAY_US), markup(NANO // 2, now_us + 2 * DAY_US, "*")])
    ids = [str(row[0]) for row in shop.database.rows("SELECT DISTINCT version FROM price_periods")]
    with shop.database.read() as view:
        assert read_versions(view, ids).keys() == set(ids)
    assert [rate for _, rate in shop.periods(OTHER)] == [100, 50]


def test_an_increase_of_the_file_is_put_off_until_customers_can_be_told(
    shop: PriceShop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.start()
    seen_us = shop.clock.now_us()
    row = price(101, seen_us + DAY_US)
    shop.start([row])
    assert "put off by 7 days" in caplog.text
    assert shop.periods()[1:] == [(seen_us + 7 * DAY_US, 101)]
    shop.clock.forward(3 * DAY_S)
    shop.start([row])  # Decided once: a restart does not put it off again.
    assert shop.periods()[1:] == [(seen_us + 7 * DAY_US, 101)]
    shop.clock.forward(4 * DAY_S)
    shop.turn()
    assert shop.now() == 101


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(lambda now_us: price(101, now_us + DAY_US, notice=False), id="an override"),
        pytest.param(lambda now_us: price(99, now_us + DAY_US), id="a decrease"),
        pytest.param(lambda now_us: price(101, now_us + 8 * DAY_US), id="told in time"),
        pytest.param(lambda now_us: markup(2 * NANO, now_us + DAY_US, "none/*"), id="nobody's price"),
    ],
)
def test_what_customers_need_not_wait_for_starts_when_it_says(shop: PriceShop, row: object) -> None:
    assert callable(row)
    shop.start()
    change = row(shop.clock.now_us())
    shop.start([change])
    (starts,) = shop.database.rows("SELECT starts FROM price_seen")
    assert starts[0] == change.starts_us


def test_nobody_is_there_to_be_told_at_the_first_start(shop: PriceShop) -> None:
    shop.start([price(900, shop.clock.now_us() - DAY_US), price(950, shop.clock.now_us() + 1_000_000)])
    assert shop.now() == 900
    shop.clock.forward(1)
    shop.turn()
    assert shop.now() == 950


def test_a_change_that_is_entered_is_in_force_without_a_restart(shop: PriceShop) -> None:
    shop.start()
    begun_us = shop.clock.now_us()
    assert entered(shop, price(60, begun_us, layer=Layer.DATABASE)) == Scheduled("one", ())
    shop.clock.forward(1)
    assert shop.turn() == {MODEL}
    assert shop.now() == 60
    assert shop.periods()[-1] == (
        begun_us + 1_000_000,
        60,
    )  # By when it was charged, not by when it was wished.


def test_an_increase_that_is_entered_too_late_is_refused_with_the_earliest_time(shop: PriceShop) -> None:
    shop.start()
    now_us = shop.clock.now_us()
    soon = price(101, now_us + DAY_US, layer=Layer.DATABASE)
    assert entered(shop, soon) == TooSoon(now_us + 7 * DAY_US, (MODEL,))
    assert not shop.turn()
    in_time = price(101, now_us + 7 * DAY_US, layer=Layer.DATABASE)
    assert entered(shop, in_time) == Scheduled("one", (MODEL,))
    at_once = price(101, now_us + 1, layer=Layer.DATABASE, notice=False)
    assert entered(shop, at_once, id_="two") == Scheduled("two", (MODEL,))


@pytest.mark.parametrize(
    ("change", "unsold"),
    [
        (price(7, 1, "acme/none"), ()),
        (Change(what="price", target=MODEL, starts_us=1, rates=Rates("USD", input=1)), (MODEL,)),
        (Change(what="cost", target=MODEL, starts_us=1, rates=Rates("EUR", input=1, output=1)), (MODEL,)),
    ],
)
def test_what_could_not_be_sold_is_not_entered(
    shop: PriceShop, change: Change, unsold: tuple[str, ...]
) -> None:
    shop.start()
    assert entered(shop, change) == Unsellable(unsold)
    with shop.database.read() as view:
        assert not list_changes(view)


def test_a_change_that_is_withdrawn_never_comes_and_leaves_the_book(shop: PriceShop) -> None:
    shop.start()
    now_us = shop.clock.now_us()
    entered(shop, price(60, now_us + 5_000_000, layer=Layer.DATABASE))
    shop.turn()
    assert shop.periods()[1:] == [(now_us + 5_000_000, 60)]
    with shop.database.transaction() as work:
        assert withdraw_change(work, "one", now_us)
        assert not withdraw_change(work, "one", now_us)
    shop.clock.forward(10)
    shop.turn()
    assert shop.now() == 100
    assert shop.periods() == [(now_us, 100)]


def test_what_has_taken_effect_cannot_be_withdrawn(shop: PriceShop) -> None:
    shop.start()
    entered(shop, price(60, shop.clock.now_us() + 1, layer=Layer.DATABASE))
    shop.clock.forward(1)
    with shop.database.transaction() as work:
        assert not withdraw_change(work, "one", shop.clock.now_us())


def test_asking_again_for_the_same_change_changes_nothing(shop: PriceShop) -> None:
    shop.start()
    change = price(60, shop.clock.now_us() + 5, layer=Layer.DATABASE)
    assert entered(shop, change) == entered(shop, change)
    with shop.database.read() as view:
        (only,) = list_changes(view)
    assert (only.id, only.change) == ("one", change)


def test_changes_are_read_as_they_were_entered(shop: PriceShop) -> None:
    cost = Change(
        what="cost", target="acme/*", starts_us=9, layer=Layer.DATABASE, rates=COST, provider="first"
    )
    factor = markup(NANO, 8, layer=Layer.DATABASE, notice=False, source="me")
    with shop.database.transaction() as work:
        enter_change(work, "a", cost, 1)
        enter_change(work, "b", factor, 1)
    with shop.database.read() as view:
        assert [row.change for row in list_changes(view)] == [factor, cost]


def test_prices_to_come_are_shown_by_markup(shop: PriceShop) -> None:
    now_us = shop.clock.now_us()
    shop.start([markup(4 * NANO, now_us + DAY_US), price(7, now_us + 2 * DAY_US)], plans={"pro": 2 * NANO})
    shown = {
        key: [(coming.starts_us - now_us, coming.version.rates.input) for coming in rows]
        for key, rows in shop.prices.coming.items()
    }
    rises = [(DAY_US, 400), (2 * DAY_US, 7)]
    assert shown == {(MODEL, None): rises, (MODEL, 2 * NANO): rises}


def test_two_workers_keep_one_book(shop: PriceShop) -> None:
    now_us = shop.clock.now_us()
    rows = [price(70, now_us + 5_000_000), price(60, now_us + 6_000_000)]
    shop.start(rows)
    first, first_prices = shop.timetable, shop.prices
    shop.start(rows)
    for _ in range(8):
        shop.clock.forward(1)
        for timetable in (first, shop.timetable):
            timetable.plan()
            timetable.advance()
    assert shop.now() == first_prices.price(MODEL, COST, None, None).rates.input == 60
    assert [rate for _, rate in shop.periods()] == [100, 70, 60]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.integers(1, 20)),
        st.tuples(st.just("enter"), st.integers(0, 25), st.integers(1, 500)),
        st.tuples(st.just("restart"), st.integers(1, 4)),
    ),
    max_size=14,
)


@given(steps)
def test_the_book_says_of_any_moment_what_was_charged_then(
    tmp_path_factory: pytest.TempPathFactory, story: list[tuple[str, int] | tuple[str, int, int]]
) -> None:
    shop = PriceShop(tmp_path_factory.mktemp("book"))
    terms = Terms("USD")
    shop.start(terms=terms)
    seen: list[tuple[int, int | None]] = []
    for number, (what, amount, *more) in enumerate(story):
        shop.clock.forward(1)
        if what == "wait":
            shop.clock.forward(amount)
        elif what == "enter":
            starts_us = shop.clock.now_us() + amount * 1_000_000
            change = price(more[0] if more else 0, starts_us, layer=Layer.DATABASE, notice=False)
            entered(shop, change, id_=str(number))
        else:
            terms = Terms("USD", markup_nano=amount * NANO)
            shop.start(terms=terms)
        shop.turn()
        shop.turn()
        seen.append((shop.clock.now_us(), shop.now()))
    for at_us, rate in seen:
        with shop.database.read() as view:
            version = find_version(view, Key("price", MODEL, ""), at_us)
            assert version is not None
            assert read_versions(view, [version])[version].input == rate
    shop.database.close()


def test_a_book_that_cannot_be_written_is_tried_again(shop: PriceShop, tmp_path: Path) -> None:
    shop.start()
    entered(shop, price(60, shop.clock.now_us(), layer=Layer.DATABASE))
    shop.clock.forward(1)
    other = SqliteDatabase(tmp_path / "farebox.db")
    with shop.database.transaction() as work:
        work.run("ALTER TABLE versions RENAME TO away")
    with pytest.raises(Exception, match="versions"):
        shop.timetable.plan()
    assert not shop.timetable.advance()
    with shop.database.transaction() as work:
        work.run("ALTER TABLE away RENAME TO versions")
    assert shop.turn() == {MODEL}
    with other.read() as view:
        version = find_version(view, Key("price", MODEL, ""), shop.clock.now_us())
        assert version is not None
        assert read_versions(view, [version])[version].input == 60
    other.close()


def test_a_ware_of_two_ways_through_one_provider_has_the_first_ways_cost_in_the_book(shop: PriceShop) -> None:
    dear = Rates("USD", input=500, output=500)
    ware = Ware(MODEL, "chat", COST, None, (Way("first", COST), Way("first", dear)))
    shop.start(wares=[ware])
    assert [rate for _, rate in shop.periods(kind="cost", scope="first")] == [100]
    assert shop.prices.cost(MODEL, "first", dear).rates == dear
