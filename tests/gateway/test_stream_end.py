"""The end of a stream: withheld until the charge is in the books, then gone in one write."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from msgspec.structs import replace

from tests.gateway.shop import charge_of, data_lines, open_shop
from tests.support.answers import chat, slow, split, stall, stream


async def test_the_end_of_a_stream_waits_for_the_books(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(slow(stream(), 0.05))
        caller = await shop.call(stream=True)
        await caller.until(b"Hello")
        books = sqlite3.connect(tmp_path / "data" / "farebox.db", isolation_level=None)
        books.execute("BEGIN IMMEDIATE")  # Another process has the books, as a backup or a second worker may.
        await caller.until(b" provider.")
        await asyncio.sleep(0.5)
        assert shop.first.requests[0].answered_at is not None, "the provider is done"
        assert b'"finish_reason":"stop"' not in caller.received
        assert b"[DONE]" not in caller.received
        books.execute("ROLLBACK")
        books.close()
        await caller.ended()
        assert caller.done
        assert (await shop.row())["charge"] == charge_of(11, 5)
        shop.assert_settled(charge_of(11, 5))


async def test_a_plain_answer_waits_for_the_books(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(slow(chat(), 0.2))
        caller = await shop.call()
        while not shop.first.requests:
            await asyncio.sleep(0.01)
        books = sqlite3.connect(tmp_path / "data" / "farebox.db", isolation_level=None)
        books.execute("BEGIN IMMEDIATE")
        await asyncio.sleep(0.5)
        assert caller.received == b""
        books.execute("ROLLBACK")
        books.close()
        await caller.ended()
        assert caller.text == "Hello from the provider."
        shop.assert_settled(charge_of(11, 5))


async def test_finish_usage_end_mark_and_end_of_body_leave_in_one_write(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(slow(stream(), 0.02))
        caller = await shop.ask(stream=True, stream_options={"include_usage": True})
        last = caller.pieces[-1]
        assert b'"finish_reason":"stop"' in last
        assert b'"usage":{' in last
        assert last.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        assert b"[DONE]" not in b"".join(caller.pieces[:-1])
        assert caller.text == "Hello from the provider."


async def test_a_stream_that_comes_byte_by_byte_is_the_same_stream(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(stream(), split(stream(), 3))
        whole, cut = [await shop.ask(stream=True, stream_options={"include_usage": True}) for _ in range(2)]
        ids = [caller.headers["x-request-id"].encode() for caller in (whole, cut)]
        assert whole.body.replace(ids[0], b"ID") == cut.body.replace(ids[1], b"ID")
        shop.assert_settled(2 * charge_of(11, 5))


async def test_two_choices_end_with_the_last_finish(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        told = [
            (0, '{"role":"assistant","content":""}', "null"),
            (1, '{"role":"assistant","content":""}', "null"),
            (0, '{"content":"One"}', "null"),
            (1, '{"content":"Uno"}', "null"),
            (0, "{}", '"stop"'),
            (1, '{"content":" dos"}', "null"),
            (1, "{}", '"length"'),
        ]
        events = tuple(
            f'data: {{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{{"index":{index},'
            f'"delta":{delta},"finish_reason":{finish}}}],"usage":null}}\n\n'.encode()
            for index, delta, finish in told
        )
        usage = stream(usage=(7, 9)).body[-2:]
        shop.first.script(slow(replace(stream(), body=(*events, *usage)), 0.02))
        caller = await shop.call(stream=True, n=2)
        await caller.ended()
        assert b" dos" in b"".join(caller.pieces[:-1]), "the first finish holds nothing back"
        assert b'"finish_reason":"length"' in caller.pieces[-1]
        assert b'"finish_reason":"length"' not in b"".join(caller.pieces[:-1])
        finishes = {
            choice["index"]: choice["finish_reason"]
            for chunk in caller.chunks
            for choice in chunk["choices"]
            if choice["finish_reason"]
        }
        assert finishes == {0: "stop", 1: "length"}
        shop.assert_settled(charge_of(7, 9))


async def test_a_finish_said_twice_is_one_finish(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        body = stream().body
        shop.first.script(replace(stream(), body=(*body[:-2], body[-3], *body[-2:])))
        caller = await shop.ask(stream=True, n=2)
        assert caller.done, "a provider that ignores n has still ended its stream in good form"
        shop.assert_settled(charge_of(11, 5))


async def test_a_finish_without_an_end_mark_is_completed(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(stream(done=False))
        caller = await shop.ask(stream=True)
        assert data_lines(caller.body)[-1] == b"[DONE]"
        assert not (await shop.row())["partial"]
        shop.assert_settled(charge_of(11, 5))


async def test_a_last_event_without_its_blank_line_counts(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        events = stream(usage=None, done=False).body
        last = events[-1]
        assert isinstance(last, bytes)
        shop.first.script(replace(stream(), body=(*events[:-1], last.rstrip(b"\n"))))
        caller = await shop.ask(stream=True)
        assert caller.chunks[-1]["choices"][0]["finish_reason"] == "stop"
        assert caller.done


async def test_a_provider_that_hangs_behind_its_finish_is_waited_for_only_so_long(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(stall(stream(usage=None, done=False), after=99))
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        caller = await shop.call(stream=True, stream_options={"include_usage": True})
        await caller.ended()
        assert 4.5 < loop.time() - began_s < 8
        assert caller.done
        assert caller.chunks[-2]["choices"][0]["finish_reason"] == "stop"
        assert caller.usage["completion_tokens"] == 4
        await shop.first.requests[0].closed_within(1)
        row = await shop.row()
        assert (row["estimated"], row["partial"], row["status"]) == (1, 0, 200)
        shop.assert_settled()


async def test_an_end_that_cannot_be_paid_for_never_leaves_and_is_paid_for_later(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(slow(stream(), 0.05), slow(chat(), 0.3))
        streamed, plain = await shop.call(stream=True), await shop.call()
        await streamed.until(b"Hello")
        async with asyncio.timeout(5):
            while len(shop.first.requests) < 2:
                await asyncio.sleep(0.01)
        books = sqlite3.connect(tmp_path / "data" / "farebox.db", isolation_level=None)
        books.execute("BEGIN IMMEDIATE")
        await asyncio.gather(streamed.ended(), plain.ended())
        assert (streamed.error["code"], streamed.error["metadata"]["error_type"]) == (
            503,
            "ledger_unavailable",
        )
        assert not streamed.done
        assert b'"finish_reason":"stop"' not in streamed.body
        assert (plain.status, plain.error["metadata"]["error_type"]) == (503, "ledger_unavailable")
        assert int(plain.headers["retry-after"]) >= 1
        books.execute("ROLLBACK")
        books.close()
        await shop.gateway.settled(2)
        shop.assert_settled(2 * charge_of(11, 5))
