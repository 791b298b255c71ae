"""Replies of every form HTTP/1.1 knows read the same, whole and cut anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import zlib
from collections.abc import AsyncIterator

import msgspec
import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from farebox.core.errors import Fault, Kind
from farebox.providers.http1.client import HttpUpstream
from farebox.providers.http1.connection import Connection
from farebox.providers.http1.inflate import PIECE_BYTES, Inflater, Unreadable
from farebox.providers.http1.reply import Reply
from farebox.providers.upstream import Endpoint, Incoming, Outgoing, TimeLimits
from tests.support.answers import (
    JSON_TYPE,
    Answer,
    Framing,
    chat,
    closing,
    error,
    gzipped,
    html_502,
    huge_header,
    huge_line,
    interim,
    odd_chunks,
    split,
    stream,
    trailed,
    until_close,
    write_steps,
)
from tests.support.faulty import serve_faulty
from tests.support.loops import on_both_loops

ASK = Outgoing("/chat/completions", b'{"model":"m","messages":[]}')
LIMIT = 1 << 20


def body_of(answer: Answer) -> bytes:
    return b"".join(piece for piece in answer.body if isinstance(piece, bytes))


async def read_all(reply: Incoming) -> bytes:
    pieces = []
    while piece := await reply.read():
        pieces.append(piece)
    return b"".join(pieces)


def deflated(answer: Answer, window: int) -> Answer:
    packer = zlib.compressobj(wbits=window)
    body = packer.compress(body_of(answer)) + packer.flush()
    return replace(answer, body=(body,), headers=(*answer.headers, ("content-encoding", "deflate")))


def two_members(answer: Answer) -> Answer:
    body = body_of(answer)
    packed = gzip.compress(body[:20]) + gzip.compress(body[20:])
    return replace(answer, body=(packed,), headers=(*answer.headers, ("Content-Encoding", "x-gzip")))


CHAT = chat("A reply.")
# Each with the body that a reader must see.
FORMS: dict[str, tuple[Answer, bytes]] = {
    "plain": (CHAT, body_of(CHAT)),
    "stream": (stream(("a", "b")), body_of(stream(("a", "b")))),
    "error": (error(429), body_of(error(429))),
    "html": (html_502(), body_of(html_502())),
    "redirect, not followed": (
        replace(CHAT, status=307, headers=(("location", "/elsewhere"),)),
        body_of(CHAT),
    ),
    "odd chunks": (odd_chunks(CHAT, 7), body_of(CHAT)),
    "until close": (until_close(CHAT), body_of(CHAT)),
    "closing": (closing(CHAT), body_of(CHAT)),
    "interim heads": (interim(CHAT, 3), body_of(CHAT)),
    "trailers": (trailed(stream(("a",))), body_of(stream(("a",)))),
    "gzip": (gzipped(CHAT), body_of(CHAT)),
    "gzip in chunks": (odd_chunks(gzipped(CHAT), 5), body_of(CHAT)),
    "gzip of two members": (two_members(CHAT), body_of(CHAT)),
    "deflate": (deflated(CHAT, 15), body_of(CHAT)),
    "deflate, bare": (deflated(CHAT, -15), body_of(CHAT)),
    "empty": (Answer(), b""),
    "no content": (Answer(status=204, framing=Framing.UNTIL_CLOSE, behind=(0.01,)), b""),
}


@pytest.mark.parametrize("form", FORMS)
@on_both_loops
async def test_a_reply_of_any_form_reads_whole_and_in_pieces(form: str) -> None:
    answer, body = FORMS[form]
    async with serve_faulty() as upstream:
        upstream.script(answer)
        client = HttpUpstream()
        try:
            whole = await client.send(upstream.endpoint(), ASK)
            assert (whole.status, await whole.read_whole(LIMIT)) == (answer.status, body)
            pieces = await client.send(upstream.endpoint(), ASK)
            assert (pieces.status, await read_all(pieces)) == (answer.status, body)
            assert await pieces.read() == b""
        finally:
            await client.close()


@pytest.mark.parametrize("form", FORMS)
async def test_a_reply_cut_at_every_size_reads_the_same(form: str) -> None:
    answer, body = FORMS[form]
    size_on_wire = sum(len(step) for step in write_steps(answer) if isinstance(step, bytes))
    async with serve_faulty() as upstream:
        client = HttpUpstream()
        for size in range(1, size_on_wire + 1):
            upstream.script(split(answer, size))
            reply = await client.send(upstream.endpoint(), ASK)
            assert (reply.status, await read_all(reply)) == (answer.status, body)
        await client.close()


@on_both_loops
async def test_headers_have_lower_case_names_and_repeated_ones_are_one_list() -> None:
    async with serve_faulty() as upstream:
        upstream.script(
            replace(CHAT, headers=(("X-Request-ID", "7"), ("Via", "a"), ("via", "b"), ("x-name", "\xe9")))
        )
        client = HttpUpstream()
        reply = await client.send(upstream.endpoint(), ASK)
        headers = dict(reply.headers)
        assert reply.headers["x-request-id"] == "7"
        assert headers.pop("content-length") == str(len(body_of(CHAT)))
        assert headers == {"x-request-id": "7", "via": "a, b", "x-name": "\xe9"}
        assert "X-Request-ID" not in reply.headers
        await client.close()


@on_both_loops
async def test_events_arrive_one_by_one_as_the_provider_sends_them() -> None:
    async with serve_faulty() as upstream:
        events = stream()
        upstream.script(replace(events, pace_s=0.03))
        client = HttpUpstream()
        reply = await client.send(upstream.endpoint(), replace(ASK, stream=True))
        for event in events.body:
            assert await reply.read() == event
        assert await reply.read() == b""
        await client.close()


@on_both_loops
async def test_a_head_up_to_the_limit_is_read_and_a_larger_one_is_refused() -> None:
    async with serve_faulty() as upstream:
        client = HttpUpstream()
        upstream.script(huge_header(60_000))
        reply = await client.send(upstream.endpoint(), ASK)
        assert len(reply.headers["x-huge"]) == 60_000
        for size in (66_000, 2_000_000):
            upstream.script(huge_header(size))
            with pytest.raises(Fault) as caught:
                await client.send(upstream.endpoint(), ASK)
            assert caught.value.kind is Kind.PROVIDER_ERROR
            await upstream.requests[-1].closed_within(1.0)
        await client.close()


@on_both_loops
async def test_interim_heads_without_end_are_refused() -> None:
    async with serve_faulty() as upstream:
        upstream.script(interim(CHAT, 5000))
        client = HttpUpstream()
        with pytest.raises(Fault) as caught:
            await client.send(upstream.endpoint(), ASK)
        assert caught.value.kind is Kind.PROVIDER_ERROR
        await client.close()


@on_both_loops
async def test_trailers_without_end_cut_the_reply() -> None:
    async with serve_faulty() as upstream:
        upstream.script(trailed(CHAT, (("x-endless", "t" * 3_000_000),)))
        client = HttpUpstream()
        reply = await client.send(upstream.endpoint(), ASK)
        with pytest.raises(Fault) as caught:
            await read_all(reply)
        assert caught.value.kind is Kind.PROVIDER_CUT
        await client.close()


@on_both_loops
async def test_a_line_of_many_megabytes_comes_in_bounded_pieces() -> None:
    async with serve_faulty() as upstream:
        answer = huge_line(8 << 20)
        upstream.script(answer)
        client = HttpUpstream()
        reply = await client.send(upstream.endpoint(), replace(ASK, stream=True))
        sizes = []
        while piece := await reply.read():
            sizes.append(len(piece))
        assert sum(sizes) == len(body_of(answer))
        assert max(sizes) <= 512 * 1024
        await client.close()


@pytest.mark.parametrize(
    "head",
    [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: b\x00c\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        "HTTP/1.1 000 Nothing\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 700 Beyond\r\ncontent-length: 0\r\n\r\n",
        "HTTP/2 200\r\ncontent-length: 2\r\n\r\n",
        "<html>hello</html>\r\n\r\n",
    ],
)
async def test_a_head_that_can_be_read_in_two_ways_or_none_is_refused(head: str) -> None:
    async with serve_faulty() as upstream:
        upstream.script(Answer(before=(head.encode("latin-1"), b"ok")))
        client = HttpUpstream()
        with pytest.raises(Fault) as caught:
            await client.send(upstream.endpoint(), ASK)
        assert caught.value.kind is Kind.PROVIDER_ERROR
        await client.close()


def test_a_corrupt_or_unknown_coding_is_unreadable() -> None:
    with pytest.raises(Unreadable):
        Inflater(b"br")
    with pytest.raises(Unreadable):
        Inflater(b"gzip, gzip")
    inflater = Inflater(b"gzip")
    inflater.feed(b"not gzip at all")
    with pytest.raises(Unreadable):
        inflater.inflate()


@given(st.binary(max_size=200_000), st.integers(1, 5000))
@settings(max_examples=30, deadline=None)
def test_inflating_gives_back_what_was_deflated_in_bounded_pieces(plain: bytes, size: int) -> None:
    packed = gzip.compress(plain, mtime=0)
    inflater, pieces = Inflater(b"gzip"), []
    for i in range(0, len(packed), size):
        inflater.feed(packed[i : i + size])
        while piece := inflater.inflate():
            pieces.append(piece)
    assert b"".join(pieces) == plain
    assert all(len(piece) <= PIECE_BYTES for piece in pieces)
    assert inflater.ended


class Socket(asyncio.Transport):
    """A socket whose other end the test plays itself, so that each cut arrives as a read of its own."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written = bytes(data)

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Nobody:
    """An owner of connections who looks away."""

    def joined(self, connection: Connection) -> None: ...

    def release(self, connection: Connection) -> None: ...

    def lost(self, connection: Connection) -> None: ...


async def read_cut(wire: bytes, sizes: list[int]) -> tuple[int, dict[str, str], bytes]:
    connection = Connection(Nobody(), asyncio.get_running_loop())
    connection.connection_made(Socket())
    sending = asyncio.create_task(connection.exchange(b"", b"", TimeLimits(), stream=False))
    await asyncio.sleep(0)
    position = 0
    for size in [*sizes, len(wire)]:
        if position < len(wire):
            connection.data_received(wire[position : position + size])
            position += size
    connection.connection_lost(None)
    reply: Reply = await sending
    return reply.status, dict(reply.headers), await read_all(reply)


ANSWERS = st.builds(
    Answer,
    body=st.lists(st.binary(min_size=1, max_size=80), max_size=6).map(tuple),
    status=st.sampled_from([200, 201, 307, 400, 429, 500, 503]),
    headers=st.sampled_from([(), JSON_TYPE, (("X-A", "1"), ("X-B", "two words"), ("x-empty", ""))]),
    framing=st.sampled_from(list(Framing)),
    trailers=st.sampled_from([(), (("x-late", "1"),)]),
    chunk_size=st.none() | st.integers(1, 20),
)


@given(ANSWERS, st.integers(0, 2), st.booleans(), st.lists(st.integers(1, 40), max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_reply_split_into_any_pieces_reads_the_same(
    answer: Answer, interims: int, packed: bool, sizes: list[int]
) -> None:
    body = body_of(answer)
    if packed:
        answer = gzipped(answer)
    answer = interim(answer, interims)
    wire = b"".join(step for step in write_steps(answer) if isinstance(step, bytes))
    status, headers, read = asyncio.run(read_cut(wire, sizes))
    assert (status, read) == (answer.status, body)
    assert {name.lower(): value for name, value in answer.headers}.items() <= headers.items()


@contextlib.asynccontextmanager
async def serve_uvicorn() -> AsyncIterator[str]:
    async def application(scope: dict[str, object], receive: object, send: object) -> None:
        assert callable(receive)
        assert callable(send)
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        asked = msgspec.json.decode(body)
        headers = [(b"content-type", b"application/json"), (b"x-path", str(scope["path"]).encode())]
        await send({"type": "http.response.start", "status": asked["status"], "headers": headers})
        for number in range(asked["pieces"]):
            await send({"type": "http.response.body", "body": b"[%d]" % number, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    config = uvicorn.Config(
        application, port=0, lifespan="off", log_config=None, http="httptools", loop="none"
    )
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        await server.shutdown()


@on_both_loops
async def test_a_server_nobody_here_wrote_is_understood() -> None:
    async with serve_uvicorn() as url:
        client = HttpUpstream()
        endpoint = Endpoint("uvicorn", f"{url}/base")
        for status, pieces in ((200, 1), (200, 500), (429, 0)):
            body = msgspec.json.encode({"status": status, "pieces": pieces, "filler": "x" * 300_000})
            reply = await client.send(endpoint, Outgoing("/chat?x=1", body))
            assert reply.status == status
            assert reply.headers["x-path"] == "/base/chat"
            assert await reply.read_whole(LIMIT) == b"".join(b"[%d]" % n for n in range(pieces))
        await client.close()
