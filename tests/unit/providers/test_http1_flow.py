"""Memory stays flat whichever side is slow, and a caller who leaves takes the provider along."""

from __future__ import annotations

import asyncio
import tracemalloc

import pytest
from msgspec.structs import replace

from farebox.core.errors import Fault, Kind
from farebox.providers.http1.client import HttpUpstream
from farebox.providers.http1.reply import QUEUE_BYTES
from farebox.providers.upstream import Endpoint, Outgoing, TimeLimits
from tests.support.answers import Act, chat, error, gzip_bomb, hang, huge_body, late, slow, stall, stream
from tests.support.faulty import serve_faulty
from tests.support.loops import on_both_loops

ASK = Outgoing("/chat/completions", b'{"model":"m","messages":[]}')
STREAM = replace(ASK, stream=True)
LIMIT = 1 << 20
MIB = 1 << 20
ONE_READ = 256 * 1024  # What an event loop takes from a socket at a time.
LARGE = b"0123456789abcdef" * MIB  # 16 MiB


# Back-pressure.


@on_both_loops
async def test_a_slow_reader_stops_the_provider_and_holds_little_memory() -> None:
    async with serve_faulty(send_buffer=64 * 1024) as upstream:
        upstream.script(huge_body(800))  # 50 MiB
        client = HttpUpstream()
        # The idle limit is far shorter than the reader's rest, and is not for him.
        reply = await client.send(upstream.endpoint(TimeLimits(idle_s=0.1)), STREAM)
        read = 0
        for _ in range(3):
            read += len(await reply.read())
            await asyncio.sleep(0.3)
            assert reply.size <= QUEUE_BYTES + ONE_READ
            # What is under way beyond the queue is in the system's socket buffers, which are its own affair.
            assert upstream.requests[0].sent_bytes - read < 12 * MIB
        while piece := await reply.read():
            assert len(piece) <= QUEUE_BYTES + ONE_READ
            read += len(piece)
        assert read == 800 * 65_536
        assert (await client.send(upstream.endpoint(), STREAM)).status == 200
        assert upstream.connections == 1
        await client.close()


@on_both_loops
async def test_a_reply_that_nobody_reads_is_given_up_at_the_total_limit() -> None:
    async with serve_faulty(send_buffer=64 * 1024) as upstream:
        upstream.script(huge_body(800))
        client = HttpUpstream()
        reply = await client.send(upstream.endpoint(TimeLimits(stream_total_s=0.2)), STREAM)
        await upstream.requests[0].closed_within(1.5)
        assert await reply.read()
        with pytest.raises(Fault) as caught:
            await reply.read()
        assert caught.value.kind is Kind.PROVIDER_TIMEOUT
        await client.close()


@on_both_loops
async def test_a_reader_who_rests_finds_the_rest_of_a_reply_that_became_whole_meanwhile() -> None:
    async with serve_faulty() as upstream:
        upstream.script(huge_body(6), chat())
        client = HttpUpstream()
        reply = await client.send(upstream.endpoint(), ASK)
        for _ in range(3):
            await asyncio.sleep(0.05)
        read = 0
        while piece := await reply.read():
            read += len(piece)
            other = await client.send(upstream.endpoint(), ASK)
            assert b"Hello" in await other.read_whole(LIMIT)
        assert read == 6 * 65_536
        await client.close()


@on_both_loops
async def test_a_gzip_bomb_is_inflated_no_faster_than_it_is_read() -> None:
    async with serve_faulty() as upstream:
        upstream.script(gzip_bomb(64))
        client = HttpUpstream()
        reply = await client.send(upstream.endpoint(), ASK)
        tracemalloc.start()
        try:
            read = 0
            while piece := await reply.read():
                assert len(piece) <= QUEUE_BYTES
                read += len(piece)
            assert read == 64 * MIB
            assert tracemalloc.get_traced_memory()[1] < 2 * MIB
        finally:
            tracemalloc.stop()
        await client.close()


@on_both_loops
async def test_a_large_request_arrives_whole() -> None:
    async with serve_faulty() as upstream:
        client = HttpUpstream()
        for _ in range(2):
            reply = await client.send(upstream.endpoint(), replace(ASK, body=LARGE, content_type="audio/wav"))
            assert (reply.status, b"Hello" in await reply.read_whole(LIMIT)) == (200, True)
        assert all(request.body == LARGE for request in upstream.requests)
        assert upstream.connections == 1
        await client.close()


@on_both_loops
async def test_a_provider_slow_to_take_a_large_request_makes_us_wait_and_not_buffer() -> None:
    async with serve_faulty(bodies_unread=True) as upstream:
        upstream.script(late(error(413), 0.3))
        client = HttpUpstream()
        tracemalloc.start()
        try:
            sending = asyncio.create_task(client.send(upstream.endpoint(), replace(ASK, body=LARGE)))
            await asyncio.sleep(0.2)
            assert tracemalloc.get_traced_memory()[1] < 2 * MIB
        finally:
            tracemalloc.stop()
        # It answers without having read the body: the answer counts, and the connection cannot be used again.
        reply = await sending
        assert reply.status == 413
        assert b"says no" in await reply.read_whole(LIMIT)
        await upstream.requests[0].closed_within(1.0)
        await client.close()


@on_both_loops
async def test_a_provider_that_stops_taking_a_request_is_silent() -> None:
    async with serve_faulty(bodies_unread=True) as upstream:
        upstream.script(hang())
        client = HttpUpstream()
        with pytest.raises(Fault) as caught:
            await client.send(upstream.endpoint(TimeLimits(idle_s=0.15)), replace(ASK, body=LARGE))
        assert caught.value.kind is Kind.PROVIDER_TIMEOUT
        await client.close()


# Leaving.


@on_both_loops
async def test_cancelling_a_reply_closes_its_connection_at_once() -> None:
    async with serve_faulty() as upstream:
        upstream.script(slow(stream([" word"] * 500), 0.01), chat())
        client = HttpUpstream()
        reply = await client.send(upstream.endpoint(), STREAM)
        await reply.read()
        reply.cancel()
        reply.cancel()
        await upstream.requests[0].closed_within(1.0)
        assert upstream.requests[0].closed_early
        assert (await client.send(upstream.endpoint(), ASK)).status == 200
        await client.close()


@on_both_loops
async def test_cancelling_a_reply_that_is_whole_keeps_its_connection() -> None:
    async with serve_faulty() as upstream:
        client = HttpUpstream()
        for _ in range(3):
            reply = await client.send(upstream.endpoint(), ASK)
            await asyncio.sleep(0.02)
            reply.cancel()
            assert b"Hello" in await reply.read_whole(LIMIT)
            reply.cancel()
        assert upstream.connections == 1
        await client.close()


@on_both_loops
async def test_a_reader_whose_reply_is_cancelled_by_another_task_gets_a_fault() -> None:
    async with serve_faulty() as upstream:
        upstream.script(stall(stream(), after=0))
        client = HttpUpstream()
        reply = await client.send(upstream.endpoint(), STREAM)
        reading = asyncio.create_task(reply.read())
        await asyncio.sleep(0.02)
        reply.cancel()
        with pytest.raises(Fault) as caught:
            await reading
        assert caught.value.kind is Kind.PROVIDER_CUT
        await client.close()


@pytest.mark.parametrize("where", ["send", "read", "read_whole"])
@on_both_loops
async def test_a_caller_cancelled_while_he_waits_stops_the_provider_within_a_second(where: str) -> None:
    async with serve_faulty() as upstream:
        upstream.script(hang() if where == "send" else stall(stream(), after=0))
        client = HttpUpstream()

        async def call() -> None:
            reply = await client.send(upstream.endpoint(), ASK)
            await (reply.read() if where == "read" else reply.read_whole(LIMIT))

        calling = asyncio.create_task(call())
        await asyncio.sleep(0.05)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await upstream.requests[0].closed_within(1.0)
        assert upstream.requests[0].closed_early
        await client.close()


@on_both_loops
async def test_a_caller_cancelled_in_the_middle_of_a_large_request_closes_the_connection() -> None:
    async with serve_faulty(bodies_unread=True) as upstream:
        upstream.script(replace(chat(), before=(0.3, Act.HANG)))
        client = HttpUpstream()
        sending = asyncio.create_task(client.send(upstream.endpoint(), replace(ASK, body=LARGE)))
        await asyncio.sleep(0.1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await asyncio.wait_for(client.close(), 1.0)  # It returns when every connection is gone.


@on_both_loops
async def test_a_caller_cancelled_during_the_handshake_leaves_no_connection_behind() -> None:
    async with serve_faulty() as upstream:  # Speaks no TLS.
        client = HttpUpstream()
        endpoint = Endpoint("mute", upstream.url.replace("http:", "https:"))
        sending = asyncio.create_task(client.send(endpoint, ASK))
        await asyncio.sleep(0.1)
        assert len(upstream.lines) == 1
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await asyncio.sleep(0.1)
        assert not upstream.lines
        await client.close()
