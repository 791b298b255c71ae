"""Every error a caller can meet: status, type and code on each profile, headers, and the order of the checks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from farebox.accounts.accounts import get_account, set_active
from farebox.accounts.keys import end_key, find_key
from farebox.api.front import Front
from farebox.api.router import Router
from farebox.api.visit import Surface, Visit
from farebox.gateway.profiles import CONSOLE
from farebox.store.database import StoreUnavailableError
from tests.api.caller import MODEL, Caller, call_body, checked, error_of
from tests.support.gateway import Gateway, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """
[server]
body_limit_mb = 1
hosts = { "serika.example" = "serika" }

[[plans]]
name = "narrow"
chat_rpm = 1000
image_rpm = 10
models = ["openai/gpt-4o-mini"]

[[plans]]
name = "images-only"
chat_rpm = 0
image_rpm = 10
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """A gateway with narrow plans."""
    async with running(tmp_path_factory.mktemp("errors"), CONFIG) as gateway:
        yield gateway
        assert gateway.holds() == 0
        gateway.assert_balanced()


# What is sent → status, type, code. The prompt makes the sandbox fail where a provider has to.
FAILURES: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "malformed": ({"messages": None}, 400, "invalid_request_error", "missing_required_parameter"),
    "wrong type": ({"n": "two"}, 400, "invalid_request_error", "invalid_request"),
    "unknown model": ({"model": "nobody/nothing"}, 404, "not_found_error", "model_not_found"),
    "provider's own 400": ({"say": "sandbox:error 400"}, 400, "invalid_request_error", "provider_refused"),
    "provider's 422": ({"say": "sandbox:error 422"}, 422, "invalid_request_error", "provider_refused"),
    "provider refuses our key": (
        {"say": "sandbox:error 401"},
        502,
        "service_unavailable_error",
        "provider_error",
    ),
    "provider is broken": ({"say": "sandbox:error 500"}, 502, "service_unavailable_error", "provider_error"),
    "provider is busy": (
        {"say": "sandbox:error 429"},
        503,
        "service_unavailable_error",
        "provider_overloaded",
    ),
    "provider is full": (
        {"say": "sandbox:error 503"},
        503,
        "service_unavailable_error",
        "provider_overloaded",
    ),
    "provider is late": (
        {"say": "sandbox:error 504"},
        504,
        "service_unavailable_error",
        "provider_timeout",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("base", ["/v1", "/api/v1"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_has_its_status_type_and_code(
    gateway: Gateway, name: str, base: str, stream: bool
) -> None:
    members, status, type_, code = FAILURES[name]
    caller = Caller(gateway, "failing")
    before_nano = caller.spent_nano()
    answer = await caller.post(f"{base}/chat/completions", call_body(**members, stream=stream))
    error = error_of(answer, status)
    assert error["type"] == type_
    if base == "/v1":
        assert (error["code"], error["metadata"]["error_type"]) == (status, code)
    else:
        assert error["code"] == code
    assert answer.headers["x-ratelimit-limit-requests"] == "3000"
    assert caller.spent_nano() == before_nano


async def test_a_client_is_told_whether_and_when_to_try_again(gateway: Gateway) -> None:
    caller = Caller(gateway, "retrying")
    busy = await caller.chat(say="sandbox:error 429")
    assert busy.headers["retry-after"] == "1"
    assert busy.headers["retry-after-ms"] == "1000"
    assert busy.headers["x-should-retry"] == "true"
    refused = await caller.chat(say="sandbox:error 400")
    assert "x-should-retry" not in refused.headers
    assert "retry-after" not in refused.headers


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "missing_api_key"),
        ({"authorization": "Bearer"}, "missing_api_key"),
        ({"authorization": "Basic abc"}, "missing_api_key"),
        ({"authorization": "Bearer sk-" + "0" * 64}, "invalid_api_key"),
        ({"authorization": "Bearer ' OR 1=1 --"}, "invalid_api_key"),
        ({"x-api-key": "nonsense"}, "invalid_api_key"),
        ({"x-goog-api-key": "nonsense"}, "invalid_api_key"),
    ],
)
async def test_a_bad_key_is_refused_in_one_constant_sentence(
    gateway: Gateway, headers: dict[str, str], code: str
) -> None:
    for base, path in (("/v1", "/chat/completions"), ("/api/v1", "/key"), ("/v1", "/credits")):
        method = "POST" if path.startswith("/chat") else "GET"
        answer = checked(await gateway.client.request(method, base + path, headers=headers))
        error = error_of(answer, 401)
        assert error["type"] == "authentication_error"
        assert code == (error["metadata"]["error_type"] if base == "/v1" else error["code"])
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "x-ratelimit-limit-requests" not in answer.headers
        if code == "invalid_api_key":
            assert error["message"] == "Invalid API key provided."


async def test_the_consoles_example_of_an_error_is_ours_member_by_member(gateway: Gateway) -> None:
    answer = await gateway.client.get("/api/v1/models", headers={"authorization": "Bearer sk-wrong"})
    example = {
        "message": "Invalid API key provided.",
        "type": "authentication_error",
        "code": "invalid_api_key",
    }
    assert answer.json() == {"error": example | {"param": None}}


@pytest.mark.parametrize("way", ["bearer", "x-api-key", "x-goog-api-key", "query", "empty bearer too"])
async def test_a_key_is_taken_in_every_way_clients_send_one(gateway: Gateway, way: str) -> None:
    key = gateway.key("ways")
    headers = {
        "bearer": {"authorization": f"bearer {key}"},
        "x-api-key": {"x-api-key": key},
        "x-goog-api-key": {"x-goog-api-key": key},
        "query": {},
        "empty bearer too": {"authorization": "Bearer", "x-api-key": key},
    }[way]
    query = f"?key={key}" if way == "query" else ""
    answer = await gateway.client.post(f"/v1/chat/completions{query}", headers=headers, json=call_body())
    assert answer.status_code == 200, answer.text
    assert (await gateway.client.get(f"/v1/key{query}", headers=headers)).status_code == 200


async def test_a_revoked_or_expired_key_is_a_bad_key(gateway: Gateway) -> None:
    for account in ("revoked", "expired"):
        caller = Caller(gateway, account)
        assert (await caller.chat()).status_code == 200
        with gateway.office.database.transaction() as work:
            key = find_key(work, caller.key)
            assert key is not None
            if account == "revoked":
                end_key(work, key, gateway.office.clock.now_us())
            else:
                work.run("UPDATE keys SET expires = ? WHERE id = ?", gateway.office.clock.now_us(), key.id)
                work.run("INSERT INTO changes (what, id) VALUES ('key', ?)", key.id)
        gateway.worker.house.directory.refresh()
        error = error_of(await caller.chat(), 401)
        assert error["message"] == "Invalid API key provided."


def disable(gateway: Gateway, name: str, *, active: bool = False) -> None:
    with gateway.office.database.transaction() as work:
        set_active(work, get_account(work, name), active=active)
    gateway.worker.house.directory.refresh()


async def test_a_disabled_account_is_told_so_everywhere(gateway: Gateway) -> None:
    caller = Caller(gateway, "disabled")
    disable(gateway, "disabled")
    for answer in (await caller.chat(), await caller.get("/v1/models"), await caller.get("/v1/credits")):
        error = error_of(answer, 403)
        assert error["type"] == "permission_error"
        assert error["metadata"]["error_type"] == "account_disabled"
        assert answer.headers["x-ratelimit-limit-requests"] == "3000"
    disable(gateway, "disabled", active=True)
    assert (await caller.chat()).status_code == 200


async def test_a_model_outside_the_plan_is_refused_by_name(gateway: Gateway) -> None:
    caller = Caller(gateway, "narrow", plan="narrow")
    assert (await caller.chat(model=MODEL)).status_code == 200
    error = error_of(await caller.chat("/api/v1", model="gpt-4o"), 403)
    assert (error["type"], error["code"], error["param"]) == (
        "permission_error",
        "model_not_on_plan",
        "model",
    )
    # A fallback is a model like any other.
    error_of(await caller.chat(model=MODEL, models=["openai/gpt-4o"]), 403)


async def test_a_plan_without_chat_is_refused_and_still_sees_its_account(gateway: Gateway) -> None:
    caller = Caller(gateway, "painter", plan="images-only")
    for _ in range(2):
        error = error_of(await caller.chat("/api/v1"), 403)
        assert error["code"] == "plan_without_api_access"
        assert (await caller.get("/v1/credits")).status_code == 200


async def test_a_wrong_method_is_told_the_right_ones(gateway: Gateway) -> None:
    for path, methods in (
        ("/v1/chat/completions", "POST"),
        ("/api/v1/models", "GET, HEAD"),
        (f"/v1/models/{MODEL}", "GET, HEAD, POST"),  # Google's verbs are posted there.
        ("/setup", "GET, HEAD, POST"),
    ):
        answer = checked(await gateway.client.delete(path))
        error = error_of(answer, 405)
        assert error["type"] == "invalid_request_error"
        assert answer.headers["allow"] == methods
        assert methods in error["message"]
        named = error["metadata"]["error_type"] if error["code"] == 405 else error["code"]
        assert named == "method_not_allowed"


async def test_an_answer_from_nowhere_still_has_the_window_of_a_known_key(gateway: Gateway) -> None:
    caller = Caller(gateway, "lost")
    nowhere, wrong = await caller.get("/v1/nowhere"), await caller.get("/v1/chat/completions")
    assert (nowhere.status_code, wrong.status_code) == (404, 405)
    for answer in (nowhere, wrong):
        assert answer.headers["x-ratelimit-remaining-requests"] == "3000"


# Each check with a request that fails it and everything after it; the earlier one must win.
BIG = b" " * (1 << 20) + b"x"
NONE = "sk-" + "0" * 64


@pytest.fixture
def precedence(gateway: Gateway) -> dict[str, Caller]:
    """Callers by what is wrong with them."""
    callers = {
        "disabled": Caller(gateway, "order-disabled", credit="0"),
        "free": Caller(gateway, "order-free", plan="free", credit="0"),
        "poor": Caller(gateway, "order-poor", plan="narrow", credit="0"),
    }
    disable(gateway, "order-disabled")
    return callers


async def test_checks_are_made_in_their_order(gateway: Gateway, precedence: dict[str, Caller]) -> None:
    async def status(path: str, key: str, body: bytes, **headers: str) -> int:
        all_headers = {"authorization": f"Bearer {key}", "content-type": "text/plain"} | headers
        answer = await gateway.client.post(path, content=body, headers=all_headers)
        return checked(answer).status_code

    disabled, free, poor = (precedence[name].key for name in ("disabled", "free", "poor"))
    json = {"content-type": "application/json"}
    chat, serika = "/v1/chat/completions", "/api/openai/v1/chat/completions"
    unknown, refused, fitting = (
        _named(model) for model in ("nobody/nothing", "openai/gpt-4o", "openai/gpt-4o-mini")
    )

    assert await status("/v1/nowhere", NONE, BIG) == 404
    assert await status("/v1/models", NONE, BIG) == 405
    assert await status(chat, NONE, BIG) == 401
    assert await status(chat, disabled, BIG) == 403
    assert await status(serika, free, BIG) == 403
    for _ in range(9):  # One of the ten was spent on Serika's refusal.
        assert await status(chat, free, b"{") == 415
    assert await status(chat, free, BIG) == 429
    assert await status(serika, free, BIG) == 403
    assert await status(chat, poor, BIG) == 413
    assert await status(chat, poor, b"{") == 415
    assert await status(chat, poor, b"{", **json) == 400
    assert await status(chat, poor, unknown, **json) == 404
    assert await status(chat, poor, refused, **json) == 403
    assert await status(chat, poor, fitting, **json) == 402


def _named(model: str) -> bytes:
    return b'{"model": "%b", "messages": [{"role": "user", "content": "Hi"}]}' % model.encode()


async def test_a_bug_of_ours_is_a_500_that_says_nothing_but_its_id(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        caller = Caller(gateway)
        plans = gateway.worker.house.plans
        assert isinstance(plans, dict)
        plans.clear()  # A part that has lost what it must have: nothing that the code expects.
        answer = await caller.chat("/api/v1")
        error = error_of(answer, 500)
        assert (error["type"], error["code"]) == ("internal_server_error", "internal_error")
        assert answer.headers["x-request-id"] in error["message"]
        assert "KeyError" not in answer.text
        assert answer.headers["x-should-retry"] == "true"
        assert (await gateway.client.get("/health")).status_code == 200


async def test_a_store_that_is_gone_is_a_503_worth_another_try(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        front = gateway.worker.server.answering
        assert isinstance(front, Front)
        front.open(Router([Surface("GET", "/api/v1/broken", CONSOLE, _no_store)], {}))
        answer = checked(await gateway.client.get("/api/v1/broken"))
        error = error_of(answer, 503)
        assert (error["type"], error["code"]) == ("service_unavailable_error", "ledger_unavailable")
        assert (answer.headers["retry-after"], answer.headers["x-should-retry"]) == ("1", "true")
        assert "disk" not in answer.text


async def _no_store(visit: Visit) -> None:
    raise StoreUnavailableError(f"disk full at {visit.rest}")
