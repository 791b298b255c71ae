"""What a key learns of its own account: balance, key, calls and receipts, to the last digit, and of no other's."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from farebox.accounts.budgets import Budget, set_budget
from farebox.accounts.keys import get_key
from tests.api.caller import MODEL, Caller, error_of
from tests.support.gateway import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Totals(msgspec.Struct):
    total_credits: Decimal
    total_usage: Decimal


class Credits(msgspec.Struct):
    object: str
    balance: Decimal
    held: Decimal
    currency: str
    data: Totals


async def credits_of(caller: Caller) -> Credits:
    answer = await caller.get("/v1/credits")
    assert answer.status_code == 200
    return msgspec.json.decode(answer.content, type=Credits)


def units(nano: int) -> Decimal:
    return Decimal(nano).scaleb(-9)


async def test_a_client_that_says_hello_learns_whether_its_key_is_good(shared: Gateway) -> None:
    caller = Caller(shared, "greeter")
    assert (await caller.get("/api/hello")).json() == {"message": "hello"}
    greeted = await shared.client.head("/api/hello", headers={"x-api-key": caller.key})
    assert (greeted.status_code, greeted.content) == (200, b"")
    assert (await shared.client.head("/api/hello")).status_code == 401


async def test_credits_are_told_to_the_last_nano_unit(shared: Gateway) -> None:
    caller = Caller(shared, "exact", credit="41.250000001")
    assert b'"balance":41.250000001,' in (await caller.get("/v1/credits")).content
    assert await credits_of(caller) == Credits(
        "credits", Decimal("41.250000001"), Decimal(0), "USD", Totals(Decimal("41.250000001"), Decimal(0))
    )
    await caller.chat()
    after, spent = await credits_of(caller), units(caller.spent_nano())
    assert spent > 0
    assert after.balance == Decimal("41.250000001") - spent
    assert (after.data.total_credits, after.data.total_usage) == (Decimal("41.250000001"), spent)


async def test_a_call_costs_what_its_answer_says_to_the_last_nano_unit(shared: Gateway) -> None:
    caller = Caller(shared, "thinnest", credit="1")
    answer = await caller.chat()
    charge_nano = shared.request(answer.headers["x-request-id"])["charge"]
    assert answer.json()["usage"]["cost"] == float(units(int(str(charge_nano))))
    assert shared.balance_nano("thinnest") == 1_000_000_000 - int(str(charge_nano))
    assert caller.spent_nano() == charge_nano
    shared.assert_balanced()


async def test_what_a_running_call_holds_is_not_spendable(shared: Gateway) -> None:
    caller = Caller(shared, "holding", credit="5")
    running = asyncio.create_task(caller.chat(say="sandbox:slow 0.3"))
    async with asyncio.timeout(5):
        while not (during := await credits_of(caller)).held:
            await asyncio.sleep(0.01)
    assert during.balance + during.held == 5
    assert (await running).status_code == 200
    after = await credits_of(caller)
    assert after.held == 0
    assert after.balance == 5 - units(caller.spent_nano())


async def test_a_key_describes_itself_without_its_secret(shared: Gateway) -> None:
    caller = Caller(shared, "keyed", plan="free")
    await caller.chat()
    answer = await caller.get("/v1/key")
    data = answer.json()["data"]
    spent = float(units(caller.spent_nano()))
    assert spent > 0
    assert [data[f"usage{period}"] for period in ("", "_daily", "_weekly", "_monthly")] == [spent] * 4
    assert (data["limit"], data["limit_remaining"], data["expires_at"]) == (None, None, None)
    assert (data["is_free_tier"], data["plan"]) == (True, "free")
    assert data["rate_limit"] == {"requests": 10, "interval": "1m"}
    assert caller.key not in answer.text


async def test_a_key_says_its_budgets_and_names_the_one_with_least_left(shared: Gateway) -> None:
    caller = Caller(shared, "budgeted")
    with shared.office.database.transaction() as work:
        key = get_key(work, caller.key)
        for period, amount in (("total", 7), ("month", 3)):
            budget = Budget(period, amount * 10**9)
            set_budget(work, key_id=key.id, account_id=key.account_id, budget=budget, now_us=1)
    shared.worker.house.directory.refresh()
    await caller.chat()
    spent = float(units(caller.spent_nano()))
    data = (await caller.get("/v1/key")).json()["data"]
    assert (data["limit"], data["limit_remaining"], data["limit_reset"]) == (3, 3 - spent, "monthly")
    month, total = data["budgets"]
    assert (month["period"], month["limit"], month["used"], month["held"]) == ("month", 3, spent, 0)
    end = datetime.fromisoformat(month["resets_at"])
    assert (end.day, end.hour, end > datetime.now(UTC)) == (1, 0, True)
    assert (total["period"], total["remaining"], total["resets_at"]) == ("total", 7 - spent, None)


async def test_a_key_that_will_end_says_when(shared: Gateway) -> None:
    caller = Caller(shared, "ending")
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    with shared.office.database.transaction() as work:
        work.run(
            "UPDATE keys SET expires = ? WHERE account_id = (SELECT id FROM accounts WHERE name = 'ending')",
            int(end.timestamp()) * 1_000_000,
        )
    data = (await caller.get("/v1/key")).json()["data"]
    assert data["expires_at"] == end.strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_a_key_counts_its_own_spending_not_its_accounts(shared: Gateway) -> None:
    first = Caller(shared, "two-keys")
    second = Caller(shared, "two-keys")
    await first.chat()
    assert (await first.get("/v1/key")).json()["data"]["usage"] > 0
    assert (await second.get("/v1/key")).json()["data"]["usage"] == 0
    assert (await credits_of(first)) == (await credits_of(second))


async def test_a_generation_is_found_by_the_calls_id_and_by_the_replys(shared: Gateway) -> None:
    caller = Caller(shared, "generations")
    answer = await caller.chat()
    id_, usage = answer.headers["x-request-id"], answer.json()["usage"]
    assert answer.headers["x-generation-id"] == id_
    for name in (id_, answer.json()["id"], f"resp_{id_}", f"msg_{id_}"):
        data = (await caller.get(f"/v1/generation?id={name}")).json()["data"]
        assert (data["id"], data["model"], data["streamed"]) == (id_, MODEL, False)
        assert data["tokens_prompt"] == usage["prompt_tokens"]
        assert data["tokens_completion"] == usage["completion_tokens"]
        assert data["total_cost"] == usage["cost"]
        assert (data["finish_reason"], data["cancelled"]) == ("stop", False)
    streamed = await caller.chat(stream=True)
    data = (await caller.get(f"/v1/generation?id={streamed.headers['x-request-id']}")).json()["data"]
    assert data["streamed"] is True


async def test_a_receipts_lines_add_up_to_its_charge(shared: Gateway) -> None:
    caller = Caller(shared, "receipts")
    answer = await caller.chat(say="sandbox:long 7")
    receipt = msgspec.json.decode(
        (await caller.get(f"/v1/requests/{answer.headers['x-request-id']}")).content, type=Receipt
    )
    assert receipt.charge == units(caller.spent_nano())
    assert sum(line.amount for line in receipt.lines) == receipt.charge
    *priced, rounding = receipt.lines
    assert rounding.unit == "rounding"
    assert 0 <= rounding.amount < Decimal("1e-9")
    for line in priced:
        assert line.amount == line.units * line.price / line.per
    assert {line.unit: line.units for line in priced} == receipt.usage
    assert receipt.hold >= receipt.charge
    assert receipt.freed == receipt.hold - receipt.charge
    assert (receipt.state, receipt.status, receipt.model, receipt.currency) == ("posted", 200, MODEL, "USD")


class ReceiptLine(msgspec.Struct):
    unit: str
    units: int
    price: Decimal
    per: int
    amount: Decimal


class Receipt(msgspec.Struct):
    id: str
    model: str
    state: str
    status: int
    usage: dict[str, int]
    charge: Decimal
    currency: str
    hold: Decimal
    freed: Decimal
    lines: list[ReceiptLine]


async def test_a_call_that_failed_has_a_receipt_over_nothing(shared: Gateway) -> None:
    caller = Caller(shared, "failures")
    answer = await caller.chat(say="sandbox:error 500")
    assert answer.status_code == 502
    receipt = (await caller.get(f"/v1/requests/{answer.headers['x-request-id']}")).json()
    assert (receipt["state"], receipt["charge"], receipt["lines"]) == ("voided", 0, [])
    assert (receipt["status"], receipt["error"]) == (502, "provider_error")
    assert receipt["freed"] == receipt["hold"] > 0


async def test_calls_are_listed_newest_first_in_pages(shared: Gateway) -> None:
    caller = Caller(shared, "pages")
    made = [(await caller.chat(say=str(number))).headers["x-request-id"] for number in range(5)]
    listed = (await caller.get("/v1/requests")).json()
    assert [row["id"] for row in listed["data"]] == made[::-1]
    assert listed["has_more"] is False
    seen: list[str] = []
    page: dict[str, Any] = {"has_more": True}
    while page["has_more"]:
        before = f"&before={seen[-1]}" if seen else ""
        page = (await caller.get(f"/v1/requests?limit=2{before}")).json()
        seen += [row["id"] for row in page["data"]]
    assert seen == made[::-1]


@pytest.mark.parametrize("limit", ["0", "101", "-1", "1.5", "x", "%C2%B2", "%D9%A3", "9" * 5000, " 5"])
async def test_a_page_of_an_absurd_size_is_refused(shared: Gateway, limit: str) -> None:
    error = error_of(await Caller(shared, "absurd").get(f"/v1/requests?limit={limit}"), 400)
    assert error["param"] == "limit"


async def test_nothing_of_another_account_is_told_by_any_id(shared: Gateway) -> None:
    owner, other = Caller(shared, "owner"), Caller(shared, "other")
    answer = await owner.chat()
    id_, reply_id = answer.headers["x-request-id"], answer.json()["id"]
    absent = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
    for path in ("/v1/requests/{}", "/v1/generation?id={}", "/api/v1/requests/{}"):
        for name in (id_, reply_id):
            assert (await owner.get(path.format(name))).status_code == 200
            foreign = error_of(await other.get(path.format(name)), 404)
            assert foreign == error_of(await other.get(path.format(absent)), 404)
    assert (await other.get("/v1/requests")).json()["data"] == []
    assert (await other.get(f"/v1/requests?before={id_}z")).json()["data"] == []
    assert (await credits_of(other)).data.total_usage == 0


@pytest.mark.parametrize("id_", ["", "%00", "%27%20OR%201=1--", "..%2Fkey", "x" * 3000, "%ff" * 26])
async def test_an_id_that_is_none_is_not_found(shared: Gateway, id_: str) -> None:
    error_of(await Caller(shared, "guesser").get(f"/v1/generation?id={id_}"), 404)
    error_of(await Caller(shared, "guesser").get(f"/v1/requests/{id_}"), 404)


async def test_the_process_is_up_and_ready(shared: Gateway) -> None:
    assert (await shared.client.get("/health")).json() == {"status": "ok"}
    ready = await shared.client.get("/health/ready")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "db": "ok", "redis": "ok"})
