"""A caller who hangs up: the provider is stopped within a second, and what was delivered is charged, once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.gateway.shop import Caller, Shop, charge_of, open_shop
from tests.support.answers import Act, chat, hang, late, slow, stall, stream

WORDS = tuple(f" w{number}" for number in range(40))


async def gone(shop: Shop, caller: Caller) -> dict[str, Any]:
    """Hang up, and see that the provider is stopped and the call settled; its row."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    caller.hang_up()
    await shop.first.requests[0].closed_within(1)
    row = await shop.row()
    assert loop.time() - began_s < 1
    return row


async def arrived(shop: Shop) -> None:
    """Wait for a request at the first provider."""
    async with asyncio.timeout(5):
        while not shop.first.requests:
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
async def test_who_leaves_before_the_head_pays_nothing(tmp_path: Path, *, streamed: bool) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(hang())
        caller = await shop.call(stream=streamed)
        await arrived(shop)
        row = await gone(shop, caller)
        assert (row["state"], row["charge"], row["status"], row["error"]) == ("voided", 0, 499, "caller_gone")
        assert not shop.second.requests, "a caller who left is no reason to try another provider"
        shop.assert_settled(0)


async def test_who_leaves_behind_a_keep_alive_pays_nothing(tmp_path: Path) -> None:
    async with open_shop(tmp_path, "keep_alive_s = 0.1") as shop:
        shop.first.script(late(stream(), 5.0))
        caller = await shop.call(stream=True)
        await caller.until(b": keep-alive\n\n")
        row = await gone(shop, caller)
        assert (row["state"], row["charge"], row["status"]) == ("voided", 0, 499)
        shop.assert_settled(0)


async def test_who_leaves_a_plain_call_while_its_body_comes_pays_nothing(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        body = chat().body[0]
        assert isinstance(body, bytes)
        shop.first.script(replace(chat(), body=(body[:50], Act.HANG, body[50:])))
        caller = await shop.call()
        await arrived(shop)
        await asyncio.sleep(0.1)
        row = await gone(shop, caller)
        assert (row["state"], row["charge"]) == ("voided", 0)
        shop.assert_settled(0)


@pytest.mark.parametrize("heard", [1, 7, 25])
async def test_who_leaves_in_the_middle_pays_for_what_was_delivered(tmp_path: Path, heard: int) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(stall(stream(WORDS), 1 + heard))
        caller = await shop.call(stream=True)
        await caller.until(WORDS[heard - 1].encode() + b'"')
        row = await gone(shop, caller)
        assert (row["partial"], row["estimated"], row["status"], row["error"]) == (1, 1, 499, "caller_gone")
        assert row["output_tokens"] == heard
        assert row["charge"] == charge_of(row["input_tokens"], heard)
        shop.assert_settled(row["charge"])


async def test_who_leaves_a_running_stream_pays_for_no_more_than_left(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(slow(stream(WORDS), 0.02))
        caller = await shop.call(stream=True)
        await caller.until(b" w10")
        heard = len(caller.chunks) - 1
        row = await gone(shop, caller)
        assert heard <= row["output_tokens"] <= heard + 2, "what was on its way when the caller left counts"
        shop.assert_settled(row["charge"])


async def test_usage_told_before_the_caller_left_is_what_is_charged(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        usage = stream(usage=(11, 3)).body[-2]
        shop.first.script(replace(stream(), body=(*stream().body[:4], usage, stream().body[4], Act.HANG)))
        caller = await shop.call(stream=True)
        await caller.until(b" provider.")
        row = await gone(shop, caller)
        assert (row["charge"], row["estimated"], row["partial"]) == (charge_of(11, 3), 0, 1)
        shop.assert_settled(charge_of(11, 3))


async def test_who_leaves_between_finish_and_usage_pays_by_the_usage(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        body = stream().body
        shop.first.script(replace(stream(), body=(*body[:6], 0.4, *body[6:])))
        caller = await shop.call(stream=True)
        await caller.until(b" provider.")
        await asyncio.sleep(0.1)
        assert b'"finish_reason":"stop"' not in caller.received
        caller.hang_up()
        row = await shop.row()
        assert (row["charge"], row["partial"], row["status"], row["error"]) == (
            charge_of(11, 5),
            0,
            200,
            None,
        )
        shop.assert_settled(charge_of(11, 5))


async def test_who_leaves_at_the_end_mark_pays_in_full(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        for count in range(1, 11):
            caller = await shop.call(stream=True)
            await caller.until(b"[DONE]")
            caller.hang_up()
            row = await shop.row()
            assert (row["charge"], row["partial"]) == (charge_of(11, 5), 0)
            shop.assert_settled(count * charge_of(11, 5))


async def test_who_leaves_while_the_second_provider_is_asked_stops_that_one(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(replace(chat(), status=500))
        shop.second.script(hang())
        caller = await shop.call(stream=True)
        async with asyncio.timeout(5):
            while not shop.second.requests:
                await asyncio.sleep(0.005)
        caller.hang_up()
        await shop.second.requests[0].closed_within(1)
        row = await shop.row()
        assert row["charge"] == 0
        assert row["attempts"][0]["provider"] == "first"
        shop.assert_settled(0)


async def test_many_who_leave_at_every_moment_leave_no_hold(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(slow(stream(), 0.01))

        async def leave_after(seconds: float) -> None:
            caller = await shop.call(stream=True)
            await asyncio.sleep(seconds)
            caller.hang_up()

        await asyncio.gather(*(leave_after(number * 0.003) for number in range(40)))
        async with asyncio.timeout(5):
            while shop.gateway.holds():
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        shop.assert_settled()
        rows = list(shop.gateway.office.database.rows("SELECT SUM(charge) FROM requests"))
        assert shop.gateway.balance_nano() == 10_000_000_000 - int(rows[0][0] or 0)


async def test_a_slow_reader_pauses_the_provider(tmp_path: Path) -> None:
    async with open_shop(tmp_path, max_output=5_000_000) as shop:
        word = "x" * 2_000
        shop.first.script(stream([word] * 8_000, usage=(11, 4_000_000)))
        caller = await shop.call(stream=True)
        await caller.until(b"xxxx")
        caller.transport.pause_reading()
        await asyncio.sleep(0.3)
        sent = shop.first.requests[0].sent_bytes
        await asyncio.sleep(0.3)
        assert shop.first.requests[0].sent_bytes == sent, "the provider stands still"
        assert sent < 12_000_000, "what lies in sockets and buffers, and no more"
        other = await shop.ask(max_tokens=10)
        assert other.status == 200, "nobody else waits"
        caller.transport.resume_reading()
        await caller.ended()
        assert caller.received.count(word.encode()) == 8_000
        assert caller.done
        shop.assert_settled()


async def test_where_hanging_up_does_not_stop_the_bill_the_stream_is_read_out_for_its_usage(
    tmp_path: Path,
) -> None:
    async with open_shop(tmp_path, "cancel_stops_billing = false") as shop:
        shop.first.script(slow(stream(WORDS, usage=(11, 77)), 0.01))
        caller = await shop.call(stream=True)
        await caller.until(b"w3")
        caller.hang_up()
        row = await shop.row()
        assert not shop.first.requests[0].closed_early
        assert (row["estimated"], row["input_tokens"], row["output_tokens"]) == (False, 11, 77)
        assert row["charge"] == charge_of(11, 77)
        shop.assert_settled(row["charge"])
