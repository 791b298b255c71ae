"""Pieces handed to a sink as they come say what reading them one by one would have said."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from msgspec.structs import replace

from farebox.core.errors import Fault, Kind
from farebox.providers.http1.client import HttpUpstream
from farebox.providers.upstream import Outgoing, TimeLimits
from tests.support.answers import Answer, cut, gzipped, huge_body, slow, split, stall, stream
from tests.support.faulty import serve_faulty
from tests.support.loops import on_both_loops

STREAM = Outgoing("/chat/completions", b'{"model":"m","messages":[]}', stream=True)


def _keep(pieces: list[bytes], piece: bytes) -> bool:
    pieces.append(piece)
    return True


@on_both_loops
@pytest.mark.parametrize("answer", [stream(), slow(stream(), 0.01), split(stream(), 7), gzipped(stream())])
async def test_a_sink_gets_every_byte_in_order_and_then_the_end(answer: Answer) -> None:
    async with serve_faulty() as upstream:
        upstream.script(answer, answer)
        client = HttpUpstream()
        whole = await (await client.send(upstream.endpoint(), STREAM)).read_whole(1 << 20)
        pieces: list[bytes] = []

        def take(piece: bytes) -> bool:
            pieces.append(piece)
            return True

        reply = await client.send(upstream.endpoint(), STREAM)
        assert await reply.pump(take) is True
        assert b"".join(pieces) == whole
        await client.close()


@on_both_loops
async def test_a_sink_that_has_enough_stops_the_pump_and_can_go_on_later() -> None:
    async with serve_faulty() as upstream:
        upstream.script(split(stream(), 5), stream())
        client = HttpUpstream()
        reply = await client.send(upstream.endpoint(), STREAM)
        pieces: list[bytes] = []

        def take_one(piece: bytes) -> bool:
            pieces.append(piece)
            return False

        while not await reply.pump(take_one):
            await asyncio.sleep(0)
        other = await (await client.send(upstream.endpoint(), STREAM)).read_whole(1 << 20)
        assert b"".join(pieces) == other
        await client.close()


@on_both_loops
async def test_a_cut_and_a_silence_are_told_after_the_pieces_that_came() -> None:
    async with serve_faulty() as upstream:
        upstream.script(cut(stream(), 3), stall(stream(), 3))
        client = HttpUpstream()
        for kind, limits in (
            (Kind.PROVIDER_CUT, TimeLimits()),
            (Kind.PROVIDER_TIMEOUT, TimeLimits(idle_s=0.1)),
        ):
            pieces: list[bytes] = []
            reply = await client.send(upstream.endpoint(limits), replace(STREAM))
            with pytest.raises(Fault) as caught:
                await reply.pump(partial(_keep, pieces))
            assert caught.value.kind is kind
            assert pieces
        await client.close()


@on_both_loops
async def test_a_pump_whose_task_is_cancelled_hangs_up() -> None:
    async with serve_faulty() as upstream:
        upstream.script(huge_body(800))
        client = HttpUpstream()
        reply = await client.send(upstream.endpoint(), STREAM)
        begun = asyncio.Event()

        def take(piece: bytes) -> bool:
            begun.set()
            return bool(piece)

        task = asyncio.create_task(reply.pump(take))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await upstream.requests[0].closed_within(1.0)
        await client.close()
