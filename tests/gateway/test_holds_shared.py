"""Shared wallets: calls at once each hold a part, a plain one is told its limit, and nobody is refused who can pay."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from farebox.dialects import DIALECTS
from farebox.dialects.dialect import Head
from tests.gateway.shop import OUTPUT_NANO, Shop, charge_of, open_shop
from tests.support.answers import chat, hang, stream
from tests.support.faulty import Recorded

SLOW_S = 0.2
ANSWER = 40  # Tokens of a real answer in these tests.


def told(request: Recorded) -> dict[str, Any]:
    """What a provider was asked."""
    asked: dict[str, Any] = json.loads(request.body)
    return asked


async def held_nano(shop: Shop) -> int:
    async with asyncio.timeout(5):
        while not shop.first.requests:
            await asyncio.sleep(0.005)
    return int(next(iter(shop.gateway.office.database.rows("SELECT held FROM wallets")))[0] or 0)


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("credit", ["0.006", "0.041", "0.3"])
async def test_ten_calls_at_once_that_the_wallet_can_pay_are_all_served(
    tmp_path: Path, credit: str, *, streamed: bool
) -> None:
    """A full hold is 0.04: the wallets have less than one, one and a little, and seven of them."""
    answer = stream(["word "] * ANSWER, usage=(11, ANSWER)) if streamed else chat(usage=(11, ANSWER))
    async with open_shop(tmp_path, credit=credit, max_output=20_000) as shop:
        shop.first.script(replace(answer, before=(SLOW_S,)))
        callers = await asyncio.gather(*(shop.ask(stream=streamed) for _ in range(10)))
        assert [caller.status for caller in callers] == [200] * 10
        assert not any(caller.error for caller in callers)
        spent = 10 * charge_of(11, ANSWER)
        assert shop.gateway.balance_nano() == int(credit.replace("0.", "").ljust(9, "0")) - spent
        shop.assert_settled()


async def test_a_plain_call_held_in_part_goes_out_with_the_limit_that_was_held(tmp_path: Path) -> None:
    async with open_shop(tmp_path, credit="0.016", max_output=20_000) as shop:
        shop.first.script(hang())
        caller = await shop.call()
        held = await held_nano(shop)
        limit = told(shop.first.requests[0])["max_tokens"]
        assert 0 < held - limit * OUTPUT_NANO < 100_000, "the limit and the prompt"
        assert held <= 16_000_000 // 8
        caller.hang_up()
        await shop.row()


async def test_the_caller_is_told_the_limit_and_the_receipt_keeps_it(tmp_path: Path) -> None:
    async with open_shop(tmp_path, credit="0.016", max_output=20_000) as shop:
        caller = await shop.ask()
        limit = told(shop.first.requests[0])["max_tokens"]
        assert caller.headers["x-farebox-output-limit"] == str(limit)
        assert json.loads((await shop.row())["hold_steps"])["output_limit"] == limit
        shop.assert_settled()


async def test_a_wallet_with_plenty_limits_nobody(tmp_path: Path) -> None:
    async with open_shop(tmp_path, max_output=20_000) as shop:
        caller = await shop.ask()
        assert "max_tokens" not in told(shop.first.requests[0])
        assert "x-farebox-output-limit" not in caller.headers
        assert (await shop.row())["hold_steps"] is None


async def test_a_limit_of_the_callers_own_is_held_whole_or_not_at_all(tmp_path: Path) -> None:
    async with open_shop(tmp_path, credit="0.01") as shop:
        assert (await shop.ask(max_tokens=4_000)).status == 200
        assert told(shop.first.requests[0])["max_tokens"] == 4_000
        refused = await shop.ask(max_tokens=6_000)
        assert refused.status == 402
        assert 4_000 < refused.error["affordable_max_tokens"] < 6_000


async def test_a_call_that_cannot_pay_for_a_short_answer_is_refused(tmp_path: Path) -> None:
    async with open_shop(tmp_path, credit="0.0002") as shop:  # 100 tokens of output.
        for members in ({}, {"stream": True}):
            refused = await shop.ask(**members)
            assert refused.status == 402
            assert not shop.first.requests
            again = await shop.ask(max_tokens=refused.error["affordable_max_tokens"], **members)
            assert again.status == 200, "what is said to fit fits"
            shop.first.requests.clear()


@pytest.mark.parametrize("credit", ["0.004", "0.02"])
async def test_streams_at_once_grow_until_their_wallet_ends_and_never_beyond(
    tmp_path: Path, credit: str
) -> None:
    words = [" word"] * 1_500
    async with open_shop(tmp_path, credit=credit) as shop:
        shop.first.script(stream(words, usage=None))
        callers = await asyncio.gather(*(shop.ask(stream=True) for _ in range(5)))
        assert {caller.status for caller in callers} <= {200, 402}
        rows = list(shop.gateway.office.database.rows("SELECT charge, hold, leakage FROM requests"))
        assert all(int(charge or 0) <= int(hold or 0) and not leaked for charge, hold, leaked in rows)
        assert shop.gateway.balance_nano() >= 0
        if credit == "0.02":
            assert [caller.done for caller in callers] == [True] * 5, "five times 0.003 is there"
        shop.assert_settled()


LIMITS = {
    "openai_chat": lambda body: body["max_tokens"],
    "openai_responses": lambda body: body["max_output_tokens"],
    "gemini": lambda body: body["generationConfig"]["maxOutputTokens"],
}
BODIES: dict[str, tuple[bytes, ...]] = {
    "openai_chat": (
        b'{"model":"m","messages":[{"role":"user","content":"x"}]}',
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"max_completion_tokens":null}',
    ),
    "openai_responses": (b'{"model":"m","input":"x"}', b'{"model":"m","input":"x","max_output_tokens":null}'),
    "gemini": (
        b'{"contents":[{"parts":[{"text":"x"}]}]}',
        b'{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"temperature":0.5}}',
        b'{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":null}',
    ),
}


@pytest.mark.parametrize(("name", "body"), [(name, body) for name, all_ in BODIES.items() for body in all_])
def test_every_language_without_a_limit_can_be_given_one(name: str, body: bytes) -> None:
    head = Head("m", output_limit=321, limited=True)
    written = json.loads(DIALECTS[name].write_relayed(body, "up-1", head))
    assert LIMITS[name](written) == 321
    assert "max_completion_tokens" not in written


def test_google_s_other_spelling_of_the_settings_gets_the_limit_too() -> None:
    body = b'{"contents":[{"parts":[{"text":"x"}]}],"generation_config":{"top_k":3}}'
    written = json.loads(DIALECTS["gemini"].write_relayed(body, "m", Head("m", output_limit=9, limited=True)))
    assert written["generation_config"] == {"top_k": 3, "maxOutputTokens": 9}
    assert "generationConfig" not in written


@pytest.mark.parametrize("name", ["anthropic", "gemini", "openai_responses"])
async def test_a_provider_of_another_language_is_told_the_limit_in_its_own(tmp_path: Path, name: str) -> None:
    async with open_shop(tmp_path, credit="0.016", max_output=20_000) as shop:
        shop.speak(DIALECTS[name])
        shop.first.script(hang())
        caller = await shop.call(reasoning_effort="high")
        held = await held_nano(shop)
        limit = (LIMITS | {"anthropic": LIMITS["openai_chat"]})[name](told(shop.first.requests[0]))
        assert 0 < held - limit * OUTPUT_NANO < 100_000
        caller.hang_up()
        await shop.row()
