"""Many calls at once on little money: the wallet never goes below zero, and what is refused says why."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from farebox.core.money import write_nano
from tests.support.answers import chat, late, slow, stream
from tests.support.books import ACCOUNT, assert_balanced, balance_nano, requests
from tests.support.clients import body_of, call, get, header
from tests.support.faulty import serve_faulty
from tests.support.process import new_key, up
from tests.support.races import CALLERS as CALLERS_EACH
from tests.support.races import race, told
from tests.support.shop import CALL_NANO, nano, open_shop

pytestmark = pytest.mark.process

CALLERS = 200
SERVED = 3


@pytest.mark.parametrize(
    ("workers", "streamed"), [(1, False), (2, True)], ids=["plain, one worker", "streamed, two workers"]
)
async def test_of_two_hundred_calls_on_a_wallet_for_three_exactly_three_are_answered(
    tmp_path: Path, workers: int, streamed: bool
) -> None:
    data = tmp_path / "data"
    body = body_of(stream=streamed)
    async with serve_faulty() as upstream:
        # Slower than it takes to make two hundred connections, so that every call meets the three holds.
        upstream.script(late(stream() if streamed else chat(), 2.0))
        config = open_shop(tmp_path, upstream.base_url)
        with up(data, "--workers", str(workers), config=config) as farebox:
            needed = await learn_hold(
                farebox.url, new_key(data, "poor", "--plan", "enterprise", config=config), body
            )
            credit = ["--plan", "enterprise", "--credit", write_nano(SERVED * needed)]
            key = new_key(data, ACCOUNT, *credit, config=config)
            receipts = await asyncio.gather(*(call(farebox.url, key, body) for _ in range(CALLERS)))
            assert Counter(receipt.status for receipt in receipts) == {200: SERVED, 402: CALLERS - SERVED}
            assert len(upstream.requests) == SERVED
            refused = [receipt for receipt in receipts if receipt.status == 402]
            assert {header(receipt, "x-should-retry") for receipt in refused} == {"true"}
            assert all(int(header(receipt, "retry-after") or 0) >= 1 for receipt in refused)
            left = SERVED * needed - SERVED * CALL_NANO
            told = (await get(farebox.url, "/v1/credits", key)).json
            assert (nano(told["balance"]), told["held"]) == (left, 0)
            assert_balanced(data, config)
        rows = requests(data, config)
        assert sorted(rows) == sorted(receipt.id for receipt in receipts if receipt.status == 200)
        assert {row["state"] for row in rows.values()} == {"posted"}
        assert balance_nano(data, config) == left
        assert_balanced(data, config)


async def test_a_spent_wallet_is_not_worth_a_retry(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serve_faulty() as upstream:
        config = open_shop(tmp_path, upstream.base_url)
        with up(data, config=config) as farebox:
            key = new_key(data, ACCOUNT, "--credit", "0.000001", config=config)
            receipt = await call(farebox.url, key)
            assert (receipt.status, header(receipt, "x-should-retry")) == (402, "false")
            assert header(receipt, "retry-after") is None
            assert upstream.requests == []
            assert balance_nano(data, config) == 1_000


async def test_a_wallet_that_serves_many_at_once_is_charged_for_each(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serve_faulty() as upstream:
        upstream.script(slow(stream(), 0.01))
        config = open_shop(tmp_path, upstream.base_url)
        with up(data, "--workers", "2", config=config) as farebox:
            key = new_key(data, ACCOUNT, "--plan", "enterprise", "--credit", "1", config=config)
            receipts = await asyncio.gather(*(call(farebox.url, key, stream=True) for _ in range(CALLERS)))
            assert all(receipt.whole and receipt.ended for receipt in receipts)
            assert balance_nano(data, config) == 10**9 - CALLERS * CALL_NANO
            assert_balanced(data, config)


async def learn_hold(url: str, key: str, body: bytes) -> int:
    """How much this very request holds, as a wallet with nothing in it is told."""
    receipt = await call(url, key, body)
    assert receipt.status == 402
    assert header(receipt, "x-should-retry") == "false"
    return nano(receipt.json["error"]["needed"])


async def test_nobody_is_sent_away_from_a_wallet_that_could_hold_the_call(tmp_path: Path) -> None:
    async with serve_faulty() as upstream:
        outcome = await race(tmp_path, upstream, wallets=40, workers=2, seed=3)
    print(told(outcome))
    assert outcome.calls >= 40 * CALLERS_EACH
    assert outcome.answered > 0 < outcome.refused
