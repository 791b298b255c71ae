"""Customers of what becomes dearer are told once, before it does; nobody else is told anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from farebox.accounts.accounts import create_account
from farebox.billing.prices import announcing
from farebox.billing.prices.announcing import announce_prices
from farebox.billing.telling.notices import list_notices
from farebox.core.clock import Ulids
from farebox.core.money import NANO
from farebox.store.database import Value
from tests.unit.billing.price_shop import DAY_S, DAY_US, MODEL, OTHER, PriceShop, markup, price


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[PriceShop]:
    shop = PriceShop(tmp_path)
    shop.start(plans={"pro": 3 * NANO})
    yield shop
    shop.database.close()


def account(shop: PriceShop, name: str, *models: str, plan: str = "standard", status: str = "active") -> int:
    """An account that called these models just now."""
    now_us = shop.clock.now_us()
    with shop.database.transaction() as work:
        owner = create_account(work, name, plan=plan, currency="USD", now_us=now_us)
        work.run("UPDATE accounts SET status = ? WHERE id = ?", status, owner.id)
        for model in models:
            columns = (
                "id, account_id, key_id, profile, model, provider, upstream_model, state, status, streamed,"
                " partial, estimated, usage, input_tokens, output_tokens, charge, currency, hold, cost,"
                " cost_currency, price_version, cost_version, attempts, latency_us, created"
            )
            values: list[Value] = [
                Ulids(shop.clock).new(),
                owner.id,
                1,
                "standard",
                model,
                "p",
                "m",
                "posted",
                200,
                0,
                0,
            ]
            values += [0, "{}", 0, 0, 0, "USD", 0, 0, "USD", "", "", "[]", 0, now_us]
            work.run(f"INSERT INTO requests ({columns}) VALUES ({', '.join('?' * len(values))})", *values)
    return owner.id


def told(shop: PriceShop, account_id: int) -> list[str]:
    with shop.database.read() as view:
        return [listed.notice.text for listed in list_notices(view, account_id)]


def announce(shop: PriceShop) -> int:
    return sum(announce_prices(shop.database, shop.clock.now_us()) for _ in range(5))


def test_those_who_used_the_model_are_told_and_nobody_else(shop: PriceShop) -> None:
    user, other, silent = account(shop, "a", MODEL), account(shop, "b", OTHER), account(shop, "c")
    disabled = account(shop, "d", MODEL, status="disabled")
    shop.start([price(150, shop.clock.now_us() + 8 * DAY_US)], plans={"pro": 3 * NANO})
    assert announce(shop) == 1
    (text,) = told(shop, user)
    assert "2023-11-22T22:13:20Z" in text
    assert f"{MODEL}: input 0.0000001 → 0.00000015" in text
    assert [told(shop, id_) for id_ in (other, silent, disabled)] == [[], [], []]


def test_nobody_is_told_twice_not_after_a_restart_and_not_by_another_worker(shop: PriceShop) -> None:
    user, rows = account(shop, "a", MODEL), [price(150, shop.clock.now_us() + 8 * DAY_US)]
    shop.start(rows, plans={"pro": 3 * NANO})
    assert announce(shop) == 1
    shop.clock.forward(DAY_S)
    shop.start(rows, plans={"pro": 3 * NANO})
    assert announce(shop) == 0
    shop.start(
        rows, plans={"pro": 3 * NANO, "gold": 2 * NANO}
    )  # All are gone through again, for the new plan's sake.
    assert announce(shop) == 0
    assert len(told(shop, user)) == 1


def test_a_decrease_is_not_announced(shop: PriceShop) -> None:
    user = account(shop, "a", MODEL)
    shop.start([price(50, shop.clock.now_us() + DAY_US)])
    assert announce(shop) == 0
    assert told(shop, user) == []


def test_each_plan_is_told_its_own_prices(shop: PriceShop) -> None:
    pro, free = account(shop, "a", MODEL, plan="pro"), account(shop, "b", MODEL, plan="free")
    shop.start([markup(2 * NANO, shop.clock.now_us() + 8 * DAY_US)], plans={"pro": 3 * NANO})
    assert announce(shop) == 1  # Pro pays three times the cost today: twice is less.
    assert told(shop, pro) == []
    assert len(told(shop, free)) == 1


def test_one_notice_tells_of_all_models_that_change_at_one_time(shop: PriceShop) -> None:
    user = account(shop, "a", MODEL, OTHER)
    shop.start([markup(2 * NANO, shop.clock.now_us() + 8 * DAY_US, "acme/*")])
    assert announce(shop) == 1
    (text,) = told(shop, user)
    assert MODEL in text
    assert OTHER in text


def test_what_was_used_long_ago_is_not_told(shop: PriceShop) -> None:
    user = account(shop, "a", MODEL)
    shop.clock.forward(31 * DAY_S)
    shop.start([price(150, shop.clock.now_us() + 8 * DAY_US)])
    assert announce(shop) == 0
    assert told(shop, user) == []


def test_accounts_are_told_in_batches_and_all_of_them(shop: PriceShop) -> None:
    users = [account(shop, f"a{number}", MODEL) for number in range(announcing.ACCOUNTS_A_TURN + 5)]
    shop.start([price(150, shop.clock.now_us() + 8 * DAY_US)])
    assert announce_prices(shop.database, shop.clock.now_us()) == announcing.ACCOUNTS_A_TURN
    assert announce(shop) == 5
    assert all(len(told(shop, user)) == 1 for user in users)
    (row,) = shop.database.rows("SELECT done FROM price_announcements")
    assert row[0] is not None
