"""Holds: a plain call holds its whole limit, a stream holds in steps and is cut where the wallet ends."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.gateway.shop import OUTPUT_NANO, Shop, charge_of, open_shop
from tests.support.answers import Act, Answer, chat, hang, stall, stream

ENOUGH = "10"


def words(count: int) -> list[str]:
    return [f" w{number % 1000}" for number in range(count)]


def batches(answer: Answer, size: int, pause_s: float) -> Answer:
    """The same events, so many at a time."""
    pieces = [piece for piece in answer.body if isinstance(piece, bytes)]
    body: list[bytes | float] = []
    for start in range(0, len(pieces), size):
        body += [b"".join(pieces[start : start + size]), pause_s]
    return replace(answer, body=tuple(body))


async def held_nano(shop: Shop) -> int:
    """What is held once the provider was asked."""
    async with asyncio.timeout(5):
        while not shop.first.requests:
            await asyncio.sleep(0.005)
    rows = list(shop.gateway.office.database.rows("SELECT held FROM wallets"))
    return int(rows[0][0] or 0)


@pytest.mark.parametrize(
    ("members", "output"),
    [
        ({"max_tokens": 50}, 50),
        ({"max_completion_tokens": 70}, 70),
        ({"max_tokens": 50, "n": 3}, 150),
        ({}, 20_000),
        ({"max_tokens": 90_000}, 20_000),
        ({"stream": True}, 4_096),
        ({"stream": True, "max_tokens": 50}, 50),
        ({"stream": True, "n": 2}, 8_192),
    ],
    ids=str,
)
async def test_a_hold_covers_what_cannot_be_stopped(
    tmp_path: Path, members: dict[str, object], output: int
) -> None:
    async with open_shop(tmp_path, max_output=20_000) as shop:
        shop.first.script(hang())
        caller = await shop.call(**members)
        held = await held_nano(shop)
        assert output * OUTPUT_NANO < held < output * OUTPUT_NANO + 200_000, "and a little for the prompt"
        caller.hang_up()
        await shop.row()
        shop.assert_settled(0)


async def test_a_stream_is_held_further_as_it_grows(tmp_path: Path) -> None:
    async with open_shop(tmp_path, credit=ENOUGH) as shop:
        shop.first.script(stall(batches(stream(words(9_000), usage=None), 300, 0.0), after=60))
        caller = await shop.call(stream=True)
        await caller.until(words(8_900)[-1].encode())
        async with asyncio.timeout(5):
            while await held_nano(shop) < 9_000 * OUTPUT_NANO:
                await asyncio.sleep(0.01)
        caller.hang_up()
        row = await shop.row()
        assert row["charge"] <= row["hold"]
        assert row["leakage"] == 0
        shop.assert_settled(row["charge"])


async def test_a_long_answer_is_charged_whole_where_the_wallet_allows(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(stream(words(12_000), usage=(11, 12_000)))
        caller = await shop.ask(stream=True)
        assert caller.done
        assert caller.text == "".join(words(12_000))
        row = await shop.row()
        assert (row["charge"], row["leakage"], row["estimated"]) == (charge_of(11, 12_000), 0, 0)
        assert row["hold"] > row["charge"]
        shop.assert_settled(charge_of(11, 12_000))


@pytest.mark.parametrize("size", [1, 200, 5_000], ids=["one by one", "in batches", "at once"])
async def test_a_stream_that_the_wallet_cannot_carry_is_cut_and_charged_as_delivered(
    tmp_path: Path, size: int
) -> None:
    async with open_shop(tmp_path, credit="0.0105") as shop:  # 5,250 tokens of output.
        shop.first.script(batches(stream(words(20_000), usage=None), size, 0.0))
        caller = await shop.ask(stream=True)
        assert caller.status == 200
        assert caller.error["type"] == "billing_error"
        assert (caller.error["code"], caller.error["metadata"]) == (
            402,
            {"error_type": "insufficient_credits"},
        )
        assert caller.error["needed"] > 0
        assert caller.error["top_up_url"].startswith("http")
        assert caller.chunks[-1]["choices"][0]["finish_reason"] == "error"
        assert not caller.done
        delivered = len(caller.chunks) - 2  # The role and the error are no words.
        row = await shop.row()
        assert row["output_tokens"] == delivered, "every word that left is charged, and no other"
        assert 0 < delivered <= 5_250
        assert (row["status"], row["partial"], row["leakage"]) == (402, 1, 0)
        assert row["charge"] == charge_of(row["input_tokens"], delivered)
        assert shop.gateway.balance_nano() == 10_500_000 - row["charge"]
        await shop.first.requests[0].closed_within(1)
        shop.assert_settled()


async def test_a_provider_without_an_end_is_cut_at_four_times_the_limit(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(batches(stream(words(20_000), usage=None, finish=None), 50, 0.0))
        caller = await shop.ask(stream=True, max_tokens=200)
        assert caller.error["metadata"]["error_type"] == "provider_error"
        assert not caller.done
        delivered = len(caller.chunks) - 2
        assert 200 < delivered <= 4 * 200 + 256
        row = await shop.row()
        assert row["output_tokens"] == 200, "nobody pays beyond the limit they set"
        await shop.first.requests[0].closed_within(1)
        shop.assert_settled(row["charge"])


async def test_a_charge_above_the_hold_takes_what_the_wallet_has_and_shows_the_rest(tmp_path: Path) -> None:
    async with open_shop(tmp_path, credit="0.002") as shop:  # 1,000 tokens of output.
        shop.first.script(chat(usage=(11, 1_500)))
        caller = await shop.ask(max_tokens=600)
        assert caller.status == 200
        row = await shop.row()
        assert (row["charge"], row["leakage"]) == (2_000_000, charge_of(11, 1_500) - 2_000_000)
        assert shop.gateway.balance_nano() == 0
        assert json.loads(caller.body)["usage"]["cost"] == 0.002, "what was charged, not what it came to"
        shop.assert_settled()


async def test_a_charge_above_the_hold_is_paid_in_full_where_the_wallet_can(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(chat(usage=(11, 1_500)))
        await shop.ask(max_tokens=600)
        row = await shop.row()
        assert (row["charge"], row["leakage"]) == (charge_of(11, 1_500), 0)
        assert row["hold"] == row["charge"], "the hold was extended first"
        shop.assert_settled(charge_of(11, 1_500))


async def test_without_money_no_provider_is_asked(tmp_path: Path) -> None:
    async with open_shop(tmp_path, credit="0.0001") as shop:
        caller = await shop.ask(max_tokens=600)
        assert caller.status == 402
        assert caller.headers["x-should-retry"] == "false"
        assert caller.error["affordable_max_tokens"] < 50
        assert not shop.first.requests
        again = await shop.ask(max_tokens=caller.error["affordable_max_tokens"])
        assert again.status == 200, "what is said to fit fits"


async def test_money_that_is_only_held_is_worth_another_try(tmp_path: Path) -> None:
    async with open_shop(tmp_path, credit="0.002") as shop:
        shop.first.script(hang())
        first = await shop.call(max_tokens=900)
        await held_nano(shop)
        second = await shop.ask(max_tokens=900)
        assert second.status == 402
        assert (second.headers["x-should-retry"], second.headers["retry-after"]) == ("true", "1")
        first.hang_up()
        await shop.row()
        shop.first.script(chat())
        assert (await shop.ask(max_tokens=900)).status == 200


async def test_a_burst_is_held_one_by_one(tmp_path: Path) -> None:
    async with open_shop(tmp_path, credit="0.0033") as shop:  # Three calls of 500 tokens and their prompts.
        shop.first.script(replace(chat(usage=(11, 500)), before=(0.2,)))
        callers = await asyncio.gather(*(shop.ask(max_tokens=500) for _ in range(20)))
        assert sorted(caller.status for caller in callers) == [200] * 3 + [402] * 17
        assert shop.gateway.balance_nano() == 3_300_000 - 3 * charge_of(11, 500)
        shop.assert_settled()


async def test_a_stream_cut_for_money_leaves_its_provider_and_no_hold(tmp_path: Path) -> None:
    async with open_shop(tmp_path, credit="0.0085") as shop:
        shop.first.script(
            replace(stream(words(6_000), usage=None), body=(*stream(words(6_000)).body[:5_900], Act.HANG))
        )
        caller = await shop.ask(stream=True)
        assert caller.error["type"] == "billing_error"
        await shop.first.requests[0].closed_within(1)
        shop.assert_settled()
