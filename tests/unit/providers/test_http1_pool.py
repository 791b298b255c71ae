"""Connections are kept, shared and let go of, and a dead one costs a caller nothing."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from msgspec.structs import replace

from farebox.core.errors import Fault, Kind
from farebox.providers.http1.client import HttpUpstream
from farebox.providers.http1.pool import PoolLimits
from farebox.providers.upstream import Endpoint, Outgoing, TimeLimits
from tests.support.answers import (
    Act,
    Answer,
    chat,
    closing,
    closing_unsaid,
    error,
    hang,
    json_answer,
    refuse_connection,
    stall,
    stream,
)
from tests.support.faulty import FaultyUpstream, Recorded, serve_faulty
from tests.support.loops import on_both_loops

ASK = Outgoing("/chat/completions", b'{"model":"m","messages":[]}')
LIMIT = 1 << 20


async def ask(client: HttpUpstream, endpoint: Endpoint) -> int:
    reply = await client.send(endpoint, ASK)
    await reply.read_whole(LIMIT)
    return reply.status


def after_the_first(upstream: FaultyUpstream, fault: Answer, *, on_fresh: Answer) -> None:
    """The first connection serves one request, and then only `fault`."""

    def answer(request: Recorded) -> Answer:
        if len(upstream.requests) == 1:
            return chat()
        return fault if request.connection == 0 else on_fresh

    upstream.choose(answer)


@on_both_loops
async def test_two_thousand_calls_in_a_row_use_one_connection() -> None:
    async with serve_faulty() as upstream:
        client = HttpUpstream()
        for _ in range(2000):
            assert await ask(client, upstream.endpoint()) == 200
        assert (len(upstream.requests), upstream.connections) == (2000, 1)
        await client.close()


@on_both_loops
async def test_two_hundred_calls_at_once_each_get_their_own_answer_and_a_hundred_connections_stay() -> None:
    async with serve_faulty() as upstream:
        upstream.choose(lambda request: json_answer({"echo": request.body.decode()}))
        client = HttpUpstream()

        async def echo(number: int) -> None:
            reply = await client.send(upstream.endpoint(), Outgoing("/echo", b"call %d" % number))
            assert msgspec.json.decode(await reply.read_whole(LIMIT)) == {"echo": f"call {number}"}

        for _ in range(3):
            await asyncio.gather(*(echo(number) for number in range(200)))
        await asyncio.sleep(0.05)
        assert len(upstream.requests) == 600
        assert len(upstream.lines) == 100
        await client.close()
        await asyncio.sleep(0.05)
        assert not upstream.lines


@on_both_loops
async def test_the_most_recently_used_connection_goes_out_first() -> None:
    async with serve_faulty() as upstream:
        client = HttpUpstream()
        await asyncio.gather(*(ask(client, upstream.endpoint()) for _ in range(5)))
        for _ in range(20):
            await ask(client, upstream.endpoint())
        assert len({request.connection for request in upstream.requests[5:]}) == 1
        await client.close()


@on_both_loops
async def test_a_connection_unused_for_its_lifetime_is_closed() -> None:
    async with serve_faulty() as upstream:
        client = HttpUpstream(pool_limits=PoolLimits(idle_s=0.1))
        await asyncio.gather(*(ask(client, upstream.endpoint()) for _ in range(3)))
        await upstream.requests[-1].closed_within(1.0)
        await asyncio.sleep(0.05)
        assert not upstream.lines
        assert await ask(client, upstream.endpoint()) == 200
        await client.close()


@on_both_loops
async def test_a_provider_that_says_it_closes_is_believed() -> None:
    async with serve_faulty() as upstream:
        upstream.script(closing(chat()))
        client = HttpUpstream()
        assert [await ask(client, upstream.endpoint()) for _ in range(3)] == [200] * 3
        assert (len(upstream.requests), upstream.connections) == (3, 3)
        await client.close()


@on_both_loops
async def test_a_connection_closed_while_unused_is_replaced_in_silence() -> None:
    async with serve_faulty() as upstream:
        upstream.script(closing_unsaid(chat()))
        client = HttpUpstream()
        for _ in range(3):
            assert await ask(client, upstream.endpoint()) == 200
            await asyncio.sleep(0.02)
        assert len(upstream.requests) == 3
        upstream.script(chat())
        await asyncio.gather(*(ask(client, upstream.endpoint()) for _ in range(5)))
        upstream.hang_up()
        assert await ask(client, upstream.endpoint()) == 200
        await client.close()


@pytest.mark.parametrize("by_reset", [True, False])
@on_both_loops
async def test_a_call_on_a_connection_that_was_already_dead_is_sent_again_once(by_reset: bool) -> None:
    async with serve_faulty() as upstream:
        after_the_first(upstream, refuse_connection(by_reset=by_reset), on_fresh=chat())
        client = HttpUpstream()
        assert [await ask(client, upstream.endpoint()) for _ in range(2)] == [200, 200]
        assert [request.connection for request in upstream.requests] == [0, 0, 1]
        assert upstream.requests[1].body == upstream.requests[2].body
        await client.close()


@on_both_loops
async def test_it_is_sent_again_over_a_fresh_connection_whatever_else_is_in_the_pool() -> None:
    async with serve_faulty() as upstream:
        client = HttpUpstream()
        await asyncio.gather(*(ask(client, upstream.endpoint()) for _ in range(5)))
        upstream.choose(lambda request: refuse_connection() if request.connection < 5 else chat())
        assert await ask(client, upstream.endpoint()) == 200
        assert [request.connection for request in upstream.requests[5:]][1:] == [5]
        await client.close()


@on_both_loops
async def test_a_call_is_never_sent_a_third_time() -> None:
    async with serve_faulty() as upstream:
        after_the_first(upstream, refuse_connection(), on_fresh=refuse_connection())
        client = HttpUpstream()
        await ask(client, upstream.endpoint())
        with pytest.raises(Fault) as caught:
            await ask(client, upstream.endpoint())
        assert caught.value.kind is Kind.PROVIDER_ERROR
        assert len(upstream.requests) == 3
        await client.close()


@pytest.mark.parametrize(
    "fault",
    [
        Answer(before=(b"H", Act.CLOSE)),
        Answer(before=(b"HTTP/1.1 103 Early Hints\r\n\r\n", Act.CLOSE)),
        replace(stream(), body=(Act.CLOSE,)),
        hang(),
        error(503),
    ],
)
@on_both_loops
async def test_a_call_is_not_sent_again_once_a_byte_has_come_or_time_has_passed(fault: Answer) -> None:
    async with serve_faulty() as upstream:
        after_the_first(upstream, fault, on_fresh=chat())
        client = HttpUpstream()
        endpoint = upstream.endpoint(TimeLimits(first_byte_s=0.1))
        await ask(client, endpoint)
        if fault == error(503):
            assert await ask(client, endpoint) == 503
        else:
            with pytest.raises(Fault):
                await ask(client, endpoint)
        assert len(upstream.requests) == 2
        await client.close()


SECOND = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"


@pytest.mark.parametrize(
    "behind",
    [(SECOND,), (SECOND[:3],), (b"junk",), (0.02, b"HTTP/1.1 408 Request Timeout\r\n\r\n"), (0.02, SECOND)],
)
@on_both_loops
async def test_bytes_nobody_asked_for_never_become_the_answer_to_the_next_call(
    behind: tuple[bytes | float, ...],
) -> None:
    async with serve_faulty() as upstream:
        upstream.script(replace(chat("mine"), behind=behind), chat("next"))
        client = HttpUpstream()
        first = await client.send(upstream.endpoint(), ASK)
        assert b"mine" in await first.read_whole(LIMIT)
        await asyncio.sleep(0.06)
        second = await client.send(upstream.endpoint(), ASK)
        assert b"next" in await second.read_whole(LIMIT)
        assert upstream.connections == 2
        await client.close()


@on_both_loops
async def test_beyond_the_cap_a_call_is_refused_at_once_until_another_ends() -> None:
    async with serve_faulty() as upstream:
        upstream.script(stall(stream(), after=1), stall(stream(), after=1), chat())
        client = HttpUpstream(pool_limits=PoolLimits(open=2))
        replies = [await client.send(upstream.endpoint(), ASK) for _ in range(2)]
        with pytest.raises(Fault) as caught:
            await client.send(upstream.endpoint(), ASK)
        assert caught.value.kind is Kind.PROVIDER_OVERLOADED
        assert caught.value.retry_after_s
        replies[0].cancel()
        await upstream.requests[0].closed_within(1.0)
        assert await ask(client, upstream.endpoint()) == 200
        await client.close()


@on_both_loops
async def test_two_keys_share_a_connection_and_never_each_others_headers() -> None:
    async with serve_faulty() as upstream:
        client = HttpUpstream()
        for key in ("sk-a", "sk-b", "sk-a"):
            await ask(client, upstream.endpoint(api_key=key))
        sent = [(request.connection, request.headers["authorization"]) for request in upstream.requests]
        assert sent == [(0, "Bearer sk-a"), (0, "Bearer sk-b"), (0, "Bearer sk-a")]
        await client.close()


@on_both_loops
async def test_closing_the_client_ends_what_runs_with_a_fault_and_refuses_what_comes() -> None:
    async with serve_faulty() as upstream:
        upstream.script(chat(), stall(stream(), after=1))
        client = HttpUpstream()
        await ask(client, upstream.endpoint())
        reply = await client.send(upstream.endpoint(), ASK)
        assert await reply.read()
        reading = asyncio.create_task(reply.read())
        await asyncio.sleep(0)
        await client.close()
        for call in (
            reading,
            client.send(upstream.endpoint(), ASK),
            client.send(upstream.endpoint(api_key="b"), ASK),
        ):
            with pytest.raises(Fault) as caught:
                await call
            assert caught.value.kind is Kind.DRAINING
        await upstream.requests[1].closed_within(1.0)
        await client.close()
