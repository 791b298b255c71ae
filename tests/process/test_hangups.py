"""Callers who leave: after the end they pay in full, in the middle for what was delivered, before it nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from openai import AsyncOpenAI

from farebox.gateway.tokens import ENVELOPE_TOKENS, text_tokens
from tests.support.answers import Answer, chat, late, slow, stall, stream
from tests.support.books import ACCOUNT, assert_balanced, balance_nano, holds, requests, settled
from tests.support.clients import DONE, Caller, body_of
from tests.support.faulty import FaultyUpstream, Recorded, serve_faulty
from tests.support.process import Up, new_key, up
from tests.support.shop import CALL_NANO, INPUT_NANO, MODEL, OUTPUT_NANO, nano, open_shop

pytestmark = pytest.mark.process

STREAMS = 100
DELAYS_S = (0.0, 0.01, 0.1)
AT_ONCE = 8
ENDS = len(stream().body)


def vary(request: Recorded) -> Answer:
    """Streams that come at once, event by event, or whose connection stays open behind [DONE]."""
    kinds = (stream(), slow(stream(), 0.001), stall(stream(), ENDS))
    return kinds[request.connection % len(kinds)]


async def assert_all_charged(farebox: Up, key_config: tuple[str, Path], count: int) -> None:
    """So many calls are in the books, each at its price, and nothing is held; very soon, and for good."""
    data, config = farebox.data, key_config[1]
    async with asyncio.timeout(5):
        while len(settled(data)) < count:
            await asyncio.sleep(0.01)
    rows = requests(data, config)
    assert {nano(row["charge"]) for row in rows.values()} == {CALL_NANO}
    assert {row["state"] for row in rows.values()} == {"posted"}
    assert len(rows) == count
    assert holds(data) == {}
    assert balance_nano(data, config) == 10**9 - count * CALL_NANO
    assert_balanced(data, config)


def open_account(data: Path, config: Path) -> tuple[str, Path]:
    return new_key(data, ACCOUNT, "--plan", "enterprise", "--credit", "1", config=config), config


async def test_a_hundred_streams_read_by_the_openai_sdk_are_all_charged(tmp_path: Path) -> None:
    """It closes the socket at [DONE]; the closest peer in Python bills none of them."""
    data = tmp_path / "data"
    async with serve_faulty() as upstream:
        upstream.choose(vary)
        config = open_shop(tmp_path, upstream.base_url)
        with up(data, config=config) as farebox:
            opened = open_account(data, config)
            async with AsyncOpenAI(base_url=f"{farebox.url}/v1", api_key=opened[0], max_retries=0) as client:

                async def read() -> str:
                    chunks = await client.chat.completions.create(
                        model=MODEL, messages=[{"role": "user", "content": "Hi"}], stream=True
                    )
                    return "".join([c.choices[0].delta.content or "" async for c in chunks if c.choices])

                texts = [await read() for _ in range(STREAMS // 2)]
                for _ in range(STREAMS // 2 // 10):
                    texts += await asyncio.gather(*(read() for _ in range(10)))
            assert texts == ["Hello from the provider."] * STREAMS
            await assert_all_charged(farebox, opened, STREAMS)


@pytest.mark.parametrize("at_once", [1, AT_ONCE], ids=["alone", "8 at once"])
async def test_a_hundred_sockets_closed_soon_after_done_are_all_charged(tmp_path: Path, at_once: int) -> None:
    data = tmp_path / "data"
    async with serve_faulty() as upstream:
        upstream.choose(vary)
        config = open_shop(tmp_path, upstream.base_url)
        with up(data, config=config) as farebox:
            opened = open_account(data, config)
            numbers = iter(range(STREAMS))

            async def leave_after_done() -> None:
                for number in numbers:
                    caller = await Caller.connect(farebox.url, opened[0])
                    await caller.ask(stream=True)
                    await caller.read_head()
                    async for event in caller.events():
                        if event == DONE:
                            break
                    await asyncio.sleep(DELAYS_S[number % len(DELAYS_S)])
                    caller.leave(by_reset=bool(number % 2))

            await asyncio.gather(*(leave_after_done() for _ in range(at_once)))
            await assert_all_charged(farebox, opened, STREAMS)


@pytest.mark.parametrize(("events", "by_reset"), [(1, False), (3, True)], ids=["closed", "reset"])
async def test_a_caller_who_hangs_up_stops_the_provider_and_pays_for_what_was_delivered(
    tmp_path: Path, events: int, by_reset: bool
) -> None:
    words = [" fare"] * events  # Small enough that an event counts as a token.
    data, body = tmp_path / "data", body_of(stream=True)
    async with serve_faulty() as upstream:
        upstream.script(stall(stream(words), 1 + events))
        config = open_shop(tmp_path, upstream.base_url)
        with up(data, config=config) as farebox:
            caller = await Caller.connect(farebox.url, open_account(data, config)[0])
            await caller.ask(body)
            head = await caller.read_head()
            got = 0
            async for event in caller.events():
                got += b" fare" in event
                if got == events:
                    break
            assert list(holds(data)) == [head.id]
            caller.leave(by_reset=by_reset)
            await upstream.requests[0].closed_within(1.0)
            await wait_for_settled(data, head.id)
            row = requests(data, config)[head.id]
            prompt = text_tokens(body) - ENVELOPE_TOKENS
            assert row["usage"] == {"input_fresh": prompt, "output_visible": events}
            assert nano(row["charge"]) == prompt * INPUT_NANO + events * OUTPUT_NANO
            assert (row["partial"], row["estimated"], row["status"]) == (True, True, 499)
            assert holds(data) == {}
            assert balance_nano(data, config) == 10**9 - nano(row["charge"])
            assert_balanced(data, config)


async def test_a_caller_who_hangs_up_on_a_plain_call_stops_the_provider_and_pays_nothing(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    async with serve_faulty() as upstream:
        upstream.script(late(chat(), 20.0))
        config = open_shop(tmp_path, upstream.base_url)
        with up(data, config=config) as farebox:
            caller = await Caller.connect(farebox.url, open_account(data, config)[0])
            await caller.ask()
            await wait_for_request(upstream)
            (id_,) = holds(data)
            caller.leave()
            await upstream.requests[0].closed_within(1.0)
            await wait_for_settled(data, id_)
            row = requests(data, config)[id_]
            assert (row["state"], row["charge"]) == ("voided", "0")
            assert holds(data) == {}
            assert balance_nano(data, config) == 10**9
            assert_balanced(data, config)


async def test_a_caller_who_leaves_between_finish_and_end_pays_for_the_whole_even_if_the_server_is_told_to_stop(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    pieces = stream().body
    waiting = Answer((*pieces[:-2], 1.5, *pieces[-2:]), headers=stream().headers, framing=stream().framing)
    async with serve_faulty() as upstream:
        upstream.script(waiting)
        config = open_shop(tmp_path, upstream.base_url)
        with up(data, config=config) as farebox:
            caller = await Caller.connect(farebox.url, open_account(data, config)[0])
            await caller.ask(stream=True)
            head = await caller.read_head()
            text = b""
            async for event in caller.events():
                text += event
                if b" provider." in event:
                    break
            await asyncio.sleep(0.3)  # The finish has reached the gateway; usage is to come.
            caller.leave()
            await asyncio.sleep(0.1)
            assert await asyncio.to_thread(farebox.stop) == 0
        row = requests(data, config)[head.id]
        assert (row["state"], nano(row["charge"]), row["estimated"]) == ("posted", CALL_NANO, False)
        assert_balanced(data, config)


async def wait_for_request(upstream: FaultyUpstream) -> None:
    async with asyncio.timeout(5):
        while not upstream.requests:
            await asyncio.sleep(0.01)


async def wait_for_settled(data: Path, id_: str) -> None:
    async with asyncio.timeout(2):
        while id_ not in settled(data):
            await asyncio.sleep(0.01)
