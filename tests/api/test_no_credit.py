"""A wallet without money: what the 402 tells, and that what it tells is true."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import httpx2
import msgspec
import pytest

from tests.api.caller import Caller, error_of
from tests.support.gateway import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Fields(msgspec.Struct):
    """The further members of the error object, amounts digit by digit."""

    balance: Decimal
    needed: Decimal
    held: Decimal
    currency: str
    affordable_max_tokens: int
    top_up_url: str


class Refusal(msgspec.Struct):
    error: Fields


def fields_of(answer: httpx2.Response) -> Fields:
    return msgspec.json.decode(answer.content, type=Refusal).error


@pytest.mark.parametrize(("base", "code"), [("/v1", 402), ("/api/v1", "insufficient_credits")])
async def test_an_empty_wallet_is_told_what_is_missing_and_where_to_top_up(
    shared: Gateway, base: str, code: object
) -> None:
    caller = Caller(shared, "empty", credit="0")
    answer = await caller.chat(base)
    error = error_of(answer, 402)
    assert (error["type"], error["code"]) == ("billing_error", code)
    told = fields_of(answer)
    assert (told.balance, told.held) == (Decimal(0), Decimal(0))
    assert (told.currency, told.affordable_max_tokens) == ("USD", 0)
    assert told.needed > 0
    assert told.top_up_url == f"{shared.url}/console/wallet"
    assert told.top_up_url in error["message"]
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers
    assert answer.headers["x-ratelimit-limit-requests"] == "3000"


@pytest.mark.parametrize("choices", [1, 3])
async def test_the_affordable_limit_is_affordable_and_one_more_is_not(shared: Gateway, choices: int) -> None:
    caller = Caller(shared, f"close-{choices}", credit="0.0005")
    asked: dict[str, object] = {"n": choices, "say": "sandbox:long 5"}
    refused = await caller.chat(max_tokens=4000, **asked)
    assert refused.status_code == 402
    told = fields_of(refused)
    assert 0 < told.affordable_max_tokens < 4000
    assert str(told.affordable_max_tokens) in refused.json()["error"]["message"]
    # The number itself may lengthen the body, and so the estimate, by a byte or two: the same width keeps it.
    assert len(str(told.affordable_max_tokens)) <= len("4000")
    assert (await caller.chat(max_tokens=told.affordable_max_tokens + 1, **asked)).status_code == 402
    assert (await caller.chat(max_tokens=told.affordable_max_tokens, **asked)).status_code == 200


async def test_money_that_is_only_held_is_worth_another_try(shared: Gateway) -> None:
    caller = Caller(shared, "busy", credit="0.0001")
    asked = {"max_tokens": 100}
    running = asyncio.create_task(caller.chat(say="sandbox:slow 0.5", **asked))
    async with asyncio.timeout(5):
        while not shared.holds():
            await asyncio.sleep(0.005)
    answer = await caller.chat(**asked)
    error = error_of(answer, 402)
    told = fields_of(answer)
    assert told.held > 0
    assert told.balance + told.held == Decimal("0.0001")
    assert "held by calls" in error["message"]
    assert answer.headers["x-should-retry"] == "true"
    assert answer.headers["retry-after"] == "1"
    assert (await running).status_code == 200
    assert (await caller.chat(**asked)).status_code == 200


async def test_a_refused_call_leaves_no_trace_in_the_books(shared: Gateway) -> None:
    caller = Caller(shared, "traceless", credit="0")
    answer = await caller.chat()
    assert answer.status_code == 402
    error_of(await caller.get(f"/v1/requests/{answer.headers['x-request-id']}"), 404)
    assert (await caller.get("/v1/requests")).json()["data"] == []
