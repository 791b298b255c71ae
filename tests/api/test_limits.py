"""The windows of a minute: the plan table, what counts, and what every answer says of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.api.caller import Caller, checked, error_of
from tests.support.gateway import Gateway, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLANS = {"free": 10, "standard": 60, "premium": 120, "pro": 300, "enterprise": 3000}


async def within_a_minute(gateway: Gateway, seconds: float = 8) -> None:
    """Wait for the next UTC minute if this one ends too soon for a test that counts in it."""
    left_s = 60 - gateway.office.clock.now_us() / 1e6 % 60
    if left_s < seconds:
        await asyncio.sleep(left_s + 0.01)


@pytest.mark.parametrize(("plan", "limit"), PLANS.items())
async def test_an_answer_tells_the_plans_limit_what_remains_and_the_reset(
    shared: Gateway, plan: str, limit: int
) -> None:
    await within_a_minute(shared)
    caller = Caller(shared, plan, plan=plan)
    for made in (1, 2):
        answer = await caller.chat()
        now_s = shared.office.clock.now_us() // 1_000_000
        assert answer.headers["x-ratelimit-limit-requests"] == str(limit)
        assert answer.headers["x-ratelimit-remaining-requests"] == str(limit - made)
        assert answer.headers["x-ratelimit-reset-requests"] == str((now_s // 60 + 1) * 60)
    streamed = await caller.chat(stream=True)
    assert streamed.headers["x-ratelimit-remaining-requests"] == str(limit - 3)


async def test_sixty_a_minute_means_sixty(shared: Gateway) -> None:
    await within_a_minute(shared)
    caller = Caller(shared, "sixty", plan="standard")
    answers = await asyncio.gather(*(caller.chat() for _ in range(60)))
    assert {answer.status_code for answer in answers} == {200}
    remaining = sorted(int(answer.headers["x-ratelimit-remaining-requests"]) for answer in answers)
    assert remaining == list(range(60))
    charged_nano = caller.spent_nano()
    one_too_many = await caller.chat("/api/v1")
    error = error_of(one_too_many, 429)
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert "60" in error["message"]
    assert caller.spent_nano() == charged_nano


async def test_a_refusal_says_when_to_come_back(shared: Gateway) -> None:
    await within_a_minute(shared)
    caller = Caller(shared, "eager", plan="free")
    for _ in range(10):
        assert (await caller.chat()).status_code == 200
    answer = await caller.chat()
    error = error_of(answer, 429)
    assert (error["code"], error["metadata"]["error_type"]) == (429, "rate_limit_exceeded")
    headers = answer.headers
    assert headers["x-ratelimit-remaining-requests"] == "0"
    wait_s = int(headers["x-ratelimit-reset-requests"]) - shared.office.clock.now_us() / 1e6
    assert abs(int(headers["retry-after-ms"]) / 1000 - wait_s) < 1
    assert 0 <= int(headers["retry-after"]) - wait_s < 2
    assert headers["x-should-retry"] == "true"
    assert headers["x-ratelimit-limit"] == "10"
    assert headers["x-ratelimit-remaining"] == "0"
    assert headers["x-ratelimit-reset"] == headers["x-ratelimit-reset-requests"]


async def test_refused_and_failed_calls_count(shared: Gateway) -> None:
    await within_a_minute(shared)
    caller = Caller(shared, "clumsy", plan="free", credit="1")
    asked = [
        await caller.chat(messages=[]),
        await caller.chat(model="nobody/nothing"),
        await caller.chat(say="sandbox:error 500"),
        await caller.post("/v1/chat/completions", b"{", content_type="text/plain"),
        await caller.chat("/api/openai/v1"),
        await caller.chat("/openserv/v1"),
    ]
    assert [answer.status_code for answer in asked] == [400, 404, 502, 415, 403, 400]
    remaining = [answer.headers["x-ratelimit-remaining-requests"] for answer in asked]
    assert remaining == ["9", "8", "7", "6", "5", "4"]
    spent = [await caller.chat() for _ in range(7)]
    assert [answer.status_code for answer in spent] == [200] * 4 + [429] * 3


async def test_reading_does_not_count_and_is_never_refused_for_it(shared: Gateway) -> None:
    await within_a_minute(shared)
    caller = Caller(shared, "reader", plan="free")
    for path in ("/v1/models", "/v1/credits", "/v1/key", "/v1/requests", "/api/v1/models", "/v1/nowhere"):
        answer = await caller.get(path)
        assert answer.headers["x-ratelimit-remaining-requests"] == "10"
    for _ in range(12):
        await caller.chat(messages=[])
    for path in ("/v1/credits", "/api/v1/models"):
        answer = await caller.get(path)
        assert answer.status_code == 200
        assert answer.headers["x-ratelimit-remaining-requests"] == "0"


async def test_each_key_has_a_window_of_its_own(shared: Gateway) -> None:
    await within_a_minute(shared)
    first, second = (Caller(shared, "two-windows", plan="free") for _ in range(2))
    for _ in range(10):
        await first.chat()
    assert (await first.chat()).status_code == 429
    assert (await second.chat()).headers["x-ratelimit-remaining-requests"] == "9"


async def test_the_reset_can_be_written_as_a_duration(tmp_path: Path) -> None:
    async with running(tmp_path, '[server]\nrate_limit_reset = "duration"\n') as gateway:
        headers = checked(await Caller(gateway).chat()).headers
        reset = headers["x-ratelimit-reset-requests"]
        assert reset.endswith("s")
        assert 0 < int(reset.removesuffix("s")) <= 60
