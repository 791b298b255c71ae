"""The price without the call: what it says is what the call then holds and costs, and asking costs nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx2
import msgspec
import pytest

from tests.api.caller import MODEL, Caller, call_body, error_of
from tests.support.gateway import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Told(msgspec.Struct):
    object: str
    model: str
    provider: str
    usage: dict[str, int]
    output_limit: int | None
    output_limit_set_by: str
    likely: Decimal
    likely_from: str
    worst: Decimal
    hold: Decimal
    currency: str
    price_version: str
    affordable: bool
    affordable_max_tokens: int
    balance: Decimal


def told(answer: httpx2.Response) -> Told:
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=Told)


async def estimate(caller: Caller, path: str = "/v1/estimate", /, **members: object) -> Told:
    return told(await caller.post(path, call_body(**members)))


async def test_an_estimate_names_what_the_call_then_holds_and_costs_at_most(shared: Gateway) -> None:
    caller = Caller(shared, "planner")
    found = await estimate(caller, max_tokens=200)
    assert (found.object, found.model, found.currency, found.balance) == (
        "estimate",
        MODEL,
        "USD",
        Decimal(10),
    )
    assert (found.output_limit, found.output_limit_set_by) == (200, "caller_or_model")
    assert 0 < found.likely < found.worst == found.hold
    assert found.affordable
    answer = await caller.chat(max_tokens=200)
    row = shared.request(answer.headers["x-request-id"])
    assert Decimal(int(str(row["hold"]))).scaleb(-9) == found.hold
    assert row["price_version"] == found.price_version
    assert row["provider"] == found.provider
    assert Decimal(int(str(row["charge"]))).scaleb(-9) <= found.worst


async def test_asking_costs_nothing_holds_nothing_and_counts_in_no_window(shared: Gateway) -> None:
    caller = Caller(shared, "asker", plan="free")
    for _ in range(15):  # More than the plan's calls a minute.
        found = await caller.post("/v1/estimate", call_body())
        assert found.headers["x-ratelimit-remaining-requests"] == "10"
    assert caller.spent_nano() == 0
    assert (await caller.get("/v1/requests")).json()["data"] == []


async def test_what_is_likely_is_learnt_from_the_key_s_own_calls(shared: Gateway) -> None:
    caller = Caller(shared, "habits")
    first = await estimate(caller, max_tokens=400)
    assert (first.likely_from, first.usage["output_visible"]) == ("quarter_of_limit", 100)
    for _ in range(3):
        answer = await caller.chat(max_tokens=400)
    usual = answer.json()["usage"]["completion_tokens"]
    found = await estimate(caller, max_tokens=400)
    assert (found.likely_from, found.usage["output_visible"]) == ("recent_calls", usual)
    assert (await estimate(Caller(shared, "others"), max_tokens=400)).likely_from == "quarter_of_limit"


async def test_a_poor_wallet_learns_the_limit_it_would_be_given(shared: Gateway) -> None:
    caller = Caller(shared, "poor", credit="0.003")
    found = await estimate(caller)
    assert found.output_limit_set_by == "farebox"
    assert found.affordable
    assert found.output_limit is not None
    answer = await caller.chat()
    assert answer.headers["x-farebox-output-limit"] == str(found.output_limit)
    empty = await estimate(Caller(shared, "nothing", credit="0"))
    assert (empty.affordable, empty.affordable_max_tokens, empty.balance) == (False, 0, Decimal(0))


BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "anthropic": (
        "/v1/messages",
        {"model": MODEL, "max_tokens": 90, "messages": [{"role": "user", "content": "Hi"}]},
    ),
    "responses": ("/v1/responses", {"model": MODEL, "max_output_tokens": 90, "input": "Hi"}),
    "gemini": (
        f"/v1beta/models/{MODEL}:generateContent",
        {"contents": [{"parts": [{"text": "Hi"}]}], "generationConfig": {"maxOutputTokens": 90}},
    ),
    "chat": ("/v1/chat/completions", call_body(max_tokens=90)),
}


@pytest.mark.parametrize("dialect", BODIES)
async def test_every_language_s_call_can_be_priced_wrapped_or_as_it_is(shared: Gateway, dialect: str) -> None:
    caller = Caller(shared, f"speaker-{dialect}")
    endpoint, body = BODIES[dialect]
    wrapped = told(await caller.post("/v1/estimate", {"endpoint": endpoint, "body": body}))
    bare = told(await caller.post(f"/v1/estimate?dialect={dialect}", body | {"model": MODEL}))
    assert (wrapped.model, wrapped.output_limit) == (bare.model, bare.output_limit) == (MODEL, 90)
    assert (await caller.post("/api/v1/estimate", {"endpoint": endpoint, "body": body})).status_code == 200


async def test_a_call_that_would_be_refused_is_refused_here_in_the_same_words(shared: Gateway) -> None:
    caller = Caller(shared, "refused")
    error_of(await caller.post("/v1/estimate", call_body(model="no/such")), 404)
    assert (
        error_of(await caller.post("/v1/estimate", call_body(temperature=9)), 400)["param"] == "temperature"
    )
    assert error_of(await caller.post("/v1/estimate?dialect=latin", call_body()), 400)["param"] == "dialect"
    bad_endpoint = {"endpoint": "/v1/nothing", "body": {}}
    assert error_of(await caller.post("/v1/estimate", bad_endpoint), 400)["param"] == "endpoint"
    gemini = {"contents": [{"parts": [{"text": "Hi"}]}]}
    assert error_of(await caller.post("/v1/estimate?dialect=gemini", gemini), 400)["param"] == "model"
    error_of(await caller.post("/v1/estimate", b"{"), 400)
    nobody = await shared.client.post("/v1/estimate", json=call_body())
    assert nobody.status_code == 401


async def test_a_maximum_is_heard_here_too(shared: Gateway) -> None:
    caller = Caller(shared, "careful")
    found = told(await caller.post("/v1/estimate", call_body(), x_farebox_max_charge="0.001"))
    assert found.worst <= Decimal("0.001")
    assert found.output_limit_set_by == "farebox"
    refused = await caller.post("/v1/estimate", call_body(max_tokens=9_000), x_farebox_max_charge="0.001")
    assert error_of(refused, 402)["metadata"]["error_type"] == "max_charge_exceeded"
    wrong = await caller.post("/v1/estimate", call_body(), x_farebox_max_charge="cheap")
    assert error_of(wrong, 400)["param"] == "x-farebox-max-charge"
