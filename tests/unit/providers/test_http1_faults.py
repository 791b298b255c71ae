"""Whatever a provider does wrong becomes one typed Fault in our own words, within its time limit."""

from __future__ import annotations

import asyncio
import socket

import pytest
from msgspec.structs import replace

from farebox.core.errors import Fault, Kind
from farebox.providers.http1.client import HttpUpstream
from farebox.providers.upstream import Endpoint, Outgoing, TimeLimits
from tests.support.answers import (
    Act,
    Answer,
    chat,
    cut,
    error,
    error_event,
    flaky,
    garbage,
    gzip_bomb,
    gzipped,
    hang,
    huge_body,
    late,
    refuse_connection,
    reset,
    slow,
    stall,
    stream,
    truncated,
    until_close,
)
from tests.support.faulty import serve_faulty
from tests.support.loops import on_both_loops


def _unended(piece: object) -> bytes:
    """A packed body without its end."""
    assert isinstance(piece, bytes)
    return piece[:-9]


ASK = Outgoing("/chat/completions", b'{"model":"m","messages":[]}')
STREAM = replace(ASK, stream=True)
LIMIT = 1 << 20
PATIENT = TimeLimits(connect_s=5.0, first_byte_s=5.0, idle_s=5.0, total_s=20.0, stream_total_s=20.0)
SHORT_S = 0.15
BROKEN_CHUNK = Answer(
    before=(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n", Act.HANG)
)
CORRUPT_GZIP = replace(chat(), headers=(("content-encoding", "gzip"),))


def assert_in_our_words(fault: Fault) -> None:
    for foreign in ("127.0.0.1", "http:", "sk-", "says no", "HTTP", "Errno", "nginx"):
        assert foreign not in fault.message
    assert fault.message.endswith(".")


async def read_reply(client: HttpUpstream, endpoint: Endpoint, outgoing: Outgoing, *, whole: bool) -> None:
    reply = await client.send(endpoint, outgoing)
    if whole:
        await reply.read_whole(LIMIT)
    while await reply.read():
        pass


async def failure_of(
    answer: Answer, limits: TimeLimits = PATIENT, *, outgoing: Outgoing = ASK, whole: bool
) -> Fault:
    """The fault of one call, whose reply is read to its end, whole or by the piece."""
    async with serve_faulty() as upstream, asyncio.timeout(3.0):
        upstream.script(answer)
        client = HttpUpstream()
        with pytest.raises(Fault) as caught:
            await read_reply(client, upstream.endpoint(limits), outgoing, whole=whole)
        request = upstream.requests[0]
        if request.answered_at is None:
            await request.closed_within(1.0)  # Whatever went wrong, the provider is let go of at once.
        assert len(upstream.requests) == 1
        await client.close()
        assert_in_our_words(caught.value)
        return caught.value


@pytest.mark.parametrize(
    "answer", [refuse_connection(), refuse_connection(by_reset=True), garbage(), garbage(b"\n" * 99)]
)
@on_both_loops
async def test_no_head_of_a_reply_is_a_provider_error_which_may_go_to_the_next_route(answer: Answer) -> None:
    if answer == garbage(
        b"\n" * 99
    ):  # Line ends before a head are allowed: it is the silence after them that fails.
        fault = await failure_of(answer, replace(PATIENT, first_byte_s=SHORT_S), whole=False)
        assert fault.kind is Kind.PROVIDER_TIMEOUT
        return
    fault = await failure_of(answer, whole=False)
    assert fault.kind is Kind.PROVIDER_ERROR
    assert fault.kind.row.next_route


CUTS = {
    "cut": cut(stream(), after=3),
    "cut before the first event": cut(stream(), after=0),
    "reset": reset(stream(), after=3),
    "truncated": truncated(chat()),
    "truncated by much": truncated(chat(), missing=100),
    "broken chunk": BROKEN_CHUNK,
    "corrupt gzip": CORRUPT_GZIP,
    "truncated gzip": truncated(gzipped(chat()), missing=9),
    "unended gzip": until_close(
        replace(gzipped(chat()), body=(_unended(gzipped(chat()).body[0]), Act.CLOSE))
    ),
}


@pytest.mark.parametrize("name", CUTS)
@on_both_loops
async def test_a_reply_cut_while_it_is_read_by_the_piece_is_never_a_quiet_end(name: str) -> None:
    fault = await failure_of(CUTS[name], whole=False)
    assert fault.kind is Kind.PROVIDER_CUT
    assert not fault.kind.row.next_route


@pytest.mark.parametrize("name", CUTS)
@on_both_loops
async def test_a_whole_body_that_is_cut_is_a_provider_error_since_nothing_was_delivered(name: str) -> None:
    assert (await failure_of(CUTS[name], whole=True)).kind is Kind.PROVIDER_ERROR


@on_both_loops
async def test_what_came_before_a_cut_is_read_before_the_fault() -> None:
    async with serve_faulty() as upstream:
        upstream.script(cut(stream(), after=3))
        client = HttpUpstream()
        reply = await client.send(upstream.endpoint(), STREAM)
        await upstream.requests[0].closed_within(1.0)
        await asyncio.sleep(0.05)  # The cut is known now, and still the pieces come first.
        came = [piece for piece in stream().body[:3] if isinstance(piece, bytes)]
        assert len(came) == len(stream().body[:3])
        assert await reply.read() == b"".join(came)
        for _ in range(2):
            with pytest.raises(Fault):
                await reply.read()
        reply.cancel()
        await client.close()


@on_both_loops
async def test_an_error_reply_or_an_error_event_is_a_reply() -> None:
    async with serve_faulty() as upstream:
        upstream.script(*flaky(2, error(503), chat()), error_event(stream(), after=2))
        client = HttpUpstream()
        statuses = []
        for _ in range(3):
            reply = await client.send(upstream.endpoint(), ASK)
            statuses.append((reply.status, len(await reply.read_whole(LIMIT)) > 0))
        assert statuses == [(503, True), (503, True), (200, True)]
        reply = await client.send(upstream.endpoint(), STREAM)
        assert b"The provider broke." in await reply.read_whole(LIMIT)
        await client.close()


# Time limits.


@on_both_loops
async def test_silence_before_the_head_ends_at_the_first_byte_limit() -> None:
    limits = replace(PATIENT, first_byte_s=SHORT_S)
    loop = asyncio.get_running_loop()
    started = loop.time()
    fault = await failure_of(hang(), limits, whole=False)
    assert SHORT_S * 0.9 <= loop.time() - started < SHORT_S + 0.5
    assert (fault.kind, fault.status) == (Kind.PROVIDER_TIMEOUT, 504)


@on_both_loops
async def test_half_a_head_is_silence_too() -> None:
    half = Answer(before=(b"HTTP/1.1 200 OK\r\ncontent-", Act.HANG))
    fault = await failure_of(half, replace(PATIENT, first_byte_s=SHORT_S), whole=False)
    assert fault.kind is Kind.PROVIDER_TIMEOUT


@pytest.mark.parametrize("whole", [True, False])
@on_both_loops
async def test_silence_between_pieces_ends_at_the_idle_limit(whole: bool) -> None:
    fault = await failure_of(stall(stream(), after=3), replace(PATIENT, idle_s=SHORT_S), whole=whole)
    assert fault.kind is Kind.PROVIDER_TIMEOUT


@on_both_loops
async def test_pieces_within_the_idle_limit_keep_a_reply_alive_beyond_it() -> None:
    async with serve_faulty() as upstream:
        answer = slow(stream([f" {n}" for n in range(8)]), 0.05)
        upstream.script(answer)
        client = HttpUpstream()
        reply = await client.send(
            upstream.endpoint(replace(PATIENT, first_byte_s=0.1, idle_s=SHORT_S)), STREAM
        )
        assert len(await reply.read_whole(LIMIT)) == sum(
            len(piece) for piece in answer.body if isinstance(piece, bytes)
        )
        await client.close()


@pytest.mark.parametrize("outgoing", [ASK, STREAM])
@on_both_loops
async def test_a_reply_that_drips_for_ever_ends_at_the_total_limit_of_its_sort(outgoing: Outgoing) -> None:
    total, other = SHORT_S * 2, 20.0
    limits = replace(
        PATIENT,
        total_s=other if outgoing.stream else total,
        stream_total_s=total if outgoing.stream else other,
    )
    dripping = slow(huge_body(500, b"drip"), 0.02)
    fault = await failure_of(dripping, limits, outgoing=outgoing, whole=not outgoing.stream)
    assert fault.kind is Kind.PROVIDER_TIMEOUT
    assert "too long" in fault.message


@on_both_loops
async def test_a_shorter_limit_holds_on_a_connection_that_served_under_a_longer_one() -> None:
    async with serve_faulty() as upstream:
        upstream.script(chat(), hang())
        client = HttpUpstream()
        reply = await client.send(upstream.endpoint(), ASK)
        await reply.read_whole(LIMIT)
        with pytest.raises(Fault) as caught:
            await client.send(upstream.endpoint(replace(PATIENT, first_byte_s=SHORT_S)), ASK)
        assert caught.value.kind is Kind.PROVIDER_TIMEOUT
        assert upstream.connections == 1
        await client.close()


@on_both_loops
async def test_a_time_limit_of_a_reply_that_is_over_does_not_touch_the_next() -> None:
    async with serve_faulty() as upstream:
        upstream.script(chat(), late(chat(), 0.2))
        client = HttpUpstream()
        reply = await client.send(upstream.endpoint(replace(PATIENT, first_byte_s=0.1, idle_s=0.1)), ASK)
        await reply.read_whole(LIMIT)
        reply = await client.send(upstream.endpoint(), ASK)
        assert (reply.status, upstream.connections) == (200, 1)
        await client.close()


@on_both_loops
async def test_a_port_nobody_listens_on_is_a_provider_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = HttpUpstream()
    with pytest.raises(Fault) as caught:
        await client.send(Endpoint("nobody", f"http://127.0.0.1:{port}"), ASK)
    assert caught.value.kind is Kind.PROVIDER_ERROR
    assert isinstance(caught.value.__cause__, OSError)
    assert_in_our_words(caught.value)
    await client.close()


@on_both_loops
async def test_a_handshake_that_never_ends_is_a_time_out_at_the_connect_limit() -> None:
    async with serve_faulty() as upstream:  # Speaks no TLS, and waits for a request that never becomes one.
        client = HttpUpstream()
        endpoint = Endpoint(
            "mute", upstream.url.replace("http:", "https:"), limits=replace(PATIENT, connect_s=SHORT_S)
        )
        with pytest.raises(Fault) as caught:
            await client.send(endpoint, ASK)
        assert caught.value.kind is Kind.PROVIDER_TIMEOUT
        assert_in_our_words(caught.value)
        await client.close()


# Sizes.


@pytest.mark.parametrize("answer", [huge_body(40), until_close(huge_body(40)), gzip_bomb(64)])
@on_both_loops
async def test_a_whole_body_beyond_its_limit_is_refused_and_the_provider_stopped(answer: Answer) -> None:
    fault = await failure_of(answer, whole=True)
    assert fault.kind is Kind.PROVIDER_ERROR
    assert "larger" in fault.message


@on_both_loops
async def test_a_whole_body_of_exactly_its_limit_is_taken() -> None:
    async with serve_faulty() as upstream:
        upstream.script(huge_body(16))
        client = HttpUpstream()
        reply = await client.send(upstream.endpoint(), ASK)
        assert len(await reply.read_whole(16 * 65_536)) == 16 * 65_536
        reply = await client.send(upstream.endpoint(), ASK)
        with pytest.raises(Fault):
            await reply.read_whole(16 * 65_536 - 1)
        await client.close()
