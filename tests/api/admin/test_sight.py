"""What operators see: plans, models with price and cost, calls with their margin, the books, the day's sums."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import cast

import pytest

from farebox.accounts.administrators import Administrator
from farebox.api.admin.action import Ask, Reading
from farebox.api.admin.requests import request_actions
from farebox.billing.receipts import Receipts
from tests.api.admin.operator import Operator
from tests.api.caller import Caller, error_of
from tests.support.gateway import Gateway, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """
[wallet]
currency = "USD"
markup = "1.5"

[[providers]]
name = "local"
base_url = "http://127.0.0.1:9/v1"

[[models]]
id = "acme/words"
cost = { currency = "USD", input = "2", output = "4", tiers = [ { above_input_tokens = 1000, input = "8" } ] }
routes = [ { provider = "local", model = "words-1" }, { provider = "local", model = "words-2", order = 2 } ]

[[plans]]
name = "pro"
chat_rpm = 7
"""


async def test_plans_are_shown_with_how_many_are_on_them(shared: Gateway) -> None:
    operator = Operator(shared)
    await operator.post("accounts", {"name": "planned", "plan": "premium"})
    plans = {plan["name"]: plan for plan in (await operator.get("plans"))["data"]}
    assert {"free", "standard", "premium", "pro", "enterprise"} <= set(plans)
    assert plans["premium"]["accounts"] == 1
    assert await operator.get("plans/premium") == plans["premium"]
    error_of(await operator.ask("GET", "plans/none-such"), 404)


async def test_a_model_shows_its_price_and_each_routes_cost_side_by_side(tmp_path: Path) -> None:
    async with running(tmp_path, CONFIG) as gateway:
        operator = Operator(gateway)
        model = await operator.get("models/acme/words")
        assert model["price"] == {
            "currency": "USD",
            "input": "3",
            "output": "6",
            "tiers": [{"above_input_tokens": 1000, "input": "12"}],
        }
        assert [(way["model"], way["cost"]["input"]) for way in model["routes"]] == [
            ("words-1", "2"),
            ("words-2", "2"),
        ]
        assert model["for_sale"]
        assert [row["id"] for row in await operator.all("models")] == ["acme/words"]
        assert (await operator.get("plans/pro"))["chat_rpm"] == 7
        error_of(await operator.ask("GET", "models/acme/none"), 404)


async def test_calls_are_listed_over_all_accounts_newest_first_and_by_what_they_are(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        operator = Operator(gateway)
        callers = [Caller(gateway, name) for name in ("one", "two", "three")]
        ids = []
        for turn in range(4):
            for caller in callers:
                model = "openai/gpt-4o" if turn == 1 else "openai/gpt-4o-mini"
                ids.append((await caller.chat(model=model)).headers["x-request-id"])
        await gateway.settled(len(ids))
        assert [row["id"] for row in await operator.all("requests", limit=5)] == ids[::-1]
        assert [row["id"] for row in await operator.all("requests?account=two")] == ids[1::3][::-1]
        dear = await operator.all("requests?model=openai/gpt-4o", limit=2)
        assert [row["id"] for row in dear] == ids[3:6][::-1]
        assert await operator.all("requests?model=none/such") == []
        assert len(await operator.all("requests?since=0&until=4000000000", limit=7)) == len(ids)
        assert await operator.all("requests?until=1000") == []
        assert len(await operator.all("requests?state=posted&status=200&provider=sandbox")) == len(ids)
        (key,) = await operator.all("accounts/three/keys")
        assert {row["account"] for row in await operator.all(f"requests?key={key['id']}")} == {"three"}


async def test_a_page_of_calls_stops_looking_and_says_where_to_go_on(shared: Gateway) -> None:
    caller, office = Caller(shared, "sparse"), shared.office
    rare = (await caller.chat(model="openai/gpt-4o")).headers["x-request-id"]
    for _ in range(9):
        await caller.chat()
    reading = request_actions(Receipts(office.database, "UTC"), looked_most=4)[0]
    assert isinstance(reading, Reading)
    ask = Ask(Administrator(1, "ada", "", 0, None), "", {}, 0, office.ids)
    query, pages = {"account": "sparse", "model": "openai/gpt-4o", "limit": "1"}, []
    while True:
        with office.database.read() as view:
            pages.append(reading.run(ask, query, view))
        if pages[-1]["next"] is None:
            break
        query["cursor"] = str(pages[-1]["next"])
    found = [[row["id"] for row in cast("list[dict[str, str]]", page["data"])] for page in pages]
    assert found == [[], [], [rare]]


async def test_a_receipt_shows_the_cost_and_the_margin_in_exact_texts(shared: Gateway) -> None:
    operator, caller = Operator(shared), Caller(shared, "receipted")
    id_ = (await caller.chat()).headers["x-request-id"]
    receipt = await operator.get(f"requests/{id_}")
    assert (receipt["account"], receipt["id"], receipt["provider"]) == ("receipted", id_, "sandbox")
    assert Decimal(receipt["charge"]) - Decimal(receipt["cost"]) == Decimal(receipt["margin"])
    assert sum(Decimal(line["amount"]) for line in receipt["lines"]) == Decimal(receipt["charge"])
    assert isinstance(receipt["usage"]["input_fresh"], int)
    assert await operator.get(f"requests/chatcmpl-{id_}") == receipt
    error_of(await operator.ask("GET", "requests/none"), 404)


async def test_the_books_are_checked_when_asked_and_the_last_check_is_told(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        operator = Operator(gateway)
        await operator.post("accounts", {"name": "booked", "credit": "7"})
        async with asyncio.timeout(10):  # The check at the start is over.
            while (await operator.get("books"))["balanced"] is None:
                await asyncio.sleep(0.01)
        checked = await operator.post("books/check")
        assert (checked["balanced"], checked["wallets"], checked["transfers"]) == (True, 1, 1)
        assert await operator.get("books") == checked
        with gateway.office.database.transaction() as work:
            work.run("UPDATE wallets SET balance = balance + 1")
        broken = await operator.post("books/check", once="c-1")
        assert not broken["balanced"]
        assert "a wallet's balance is the sum of its transfers" in {row["rule"] for row in broken["breaches"]}
        with gateway.office.database.transaction() as work:
            work.run("UPDATE wallets SET balance = balance - 1")
        assert await operator.post("books/check", once="c-1") == broken
        assert (await operator.get("books/seals"))["data"] == []


async def test_the_overview_adds_up_what_the_wallets_have_and_the_day_brought(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        operator = Operator(gateway)
        callers = [Caller(gateway, name, credit="3") for name in ("a1", "a2")]
        for caller in callers:
            await caller.chat()
        await gateway.settled(2)
        seen = await operator.get("overview")
        spent = Decimal(sum(caller.spent_nano() for caller in callers)).scaleb(-9)
        assert (seen["accounts"], seen["held"], Decimal(seen["balance"])) == (2, "0", 6 - spent)
        assert Decimal(seen["spent"]) == Decimal(seen["today"]["spent"]) == spent > 0
        assert (seen["today"]["calls"], seen["bad_debt"], seen["today"]["leakage"]) == (2, "0", "0")
        assert set(seen["today"]["cost"]) == {"USD"}
