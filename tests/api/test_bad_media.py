"""Bodies of the wrong type, encoding or size: 415 and 413, which the caller always gets to read."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio

from tests.api.caller import Caller, call_body, error_of
from tests.api.wire import CALL, HEALTH, Line, chunked, line_to, post
from tests.support.gateway import Gateway, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 1 << 20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """A gateway that takes a megabyte at once."""
    async with running(tmp_path_factory.mktemp("media"), "[server]\nbody_limit_mb = 1\n") as gateway:
        yield gateway
        assert gateway.holds() == 0
        gateway.assert_balanced()


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "application/json; charset=utf-8",
        'Application/JSON;charset="UTF-8"',
        "application/json; version=1; charset=us-ascii",
        "application/json;",
        "application/vnd.api+json",
        "text/json",
        "",
    ],
)
async def test_json_in_utf8_is_taken_under_any_of_its_names(gateway: Gateway, kind: str) -> None:
    answer = await Caller(gateway, "typed").post("/v1/chat/completions", call_body(), content_type=kind)
    assert answer.status_code == 200, answer.text


async def test_a_body_without_a_type_is_taken_for_json(gateway: Gateway) -> None:
    caller = Caller(gateway, "untyped")
    async with line_to(gateway) as line:
        request = post(caller.key).replace(b"content-type: application/json\r\n", b"")
        assert (await line.ask(request)).status == 200


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "application/jsonp",
        "application/xml",
        "json",
        "application/json, text/plain",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
    ],
)
async def test_anything_else_is_refused_by_type(gateway: Gateway, kind: str) -> None:
    caller = Caller(gateway, "mistyped")
    answer = await caller.post("/api/v1/chat/completions", call_body(), content_type=kind)
    error = error_of(answer, 415)
    assert (error["type"], error["code"]) == ("invalid_request_error", "unsupported_media_type")
    assert caller.spent_nano() == 0


BOMB = gzip.compress(bytes(200 << 20), mtime=0)  # 200 MB in 200 kB.


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(CALL, mtime=0)),
        ("GZIP", gzip.compress(CALL, mtime=0)),
        ("deflate", zlib.compress(CALL)),
        ("br", b"\x0b\x02"),
        ("zstd", b"\x28\xb5\x2f\xfd"),
        ("gzip, gzip", gzip.compress(gzip.compress(CALL, mtime=0), mtime=0)),
        ("gzip", BOMB),
        ("nonsense", CALL),
    ],
)
async def test_a_compressed_body_is_refused_and_never_inflated(
    gateway: Gateway, coding: str, body: bytes
) -> None:
    caller = Caller(gateway, "packed")
    error = error_of(await caller.post("/v1/chat/completions", body, content_encoding=coding), 415)
    assert error["metadata"]["error_type"] == "unsupported_media_type"
    assert caller.spent_nano() == 0


def padded(size: int) -> bytes:
    """A good call of exactly so many bytes."""
    return CALL[:-1] + b" " * (size - len(CALL)) + b"}"


@pytest.mark.parametrize("size", [70_000, LIMIT])
async def test_a_body_up_to_the_limit_is_taken(gateway: Gateway, size: int) -> None:
    caller = Caller(gateway, "large", credit="100")
    async with line_to(gateway) as line:
        assert (await line.ask(post(caller.key, padded(size)))).status == 200
        in_chunks = post(caller.key, chunked(padded(size)), "transfer-encoding: chunked", length=False)
        assert (await line.ask(in_chunks)).status == 200


async def test_a_body_beyond_the_limit_is_refused_by_its_length_alone(gateway: Gateway) -> None:
    key = gateway.key("larger")
    async with line_to(gateway) as line:
        reply = await line.ask(post(key, b"", f"content-length: {LIMIT + 1}", length=False))
        assert reply.status == 413
        assert reply.error["type"] == "invalid_request_error"
        assert reply.error["metadata"]["error_type"] == "request_too_large"
        assert reply.headers["connection"] == "close"
        assert reply.headers["x-ratelimit-remaining-requests"] == "2999"
        assert await line.ends()


async def test_a_body_beyond_the_limit_in_chunks_is_refused_when_it_gets_there(gateway: Gateway) -> None:
    key = gateway.key("endless")
    async with line_to(gateway) as line:
        await line.send(post(key, b"", "transfer-encoding: chunked", length=False))
        sending = asyncio.create_task(_send_chunks(line))
        reply = await line.reply()
        sending.cancel()
        assert reply.status == 413


async def _send_chunks(line: Line) -> None:
    while True:
        await line.send(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")


@pytest.mark.parametrize("size", [LIMIT + 1, 16 * LIMIT])
@pytest.mark.parametrize("in_chunks", [False, True])
async def test_a_caller_who_sends_all_of_it_first_still_reads_the_answer(
    gateway: Gateway, size: int, in_chunks: bool
) -> None:
    caller = Caller(gateway, "stubborn")

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(size // 1024):
            yield b"x" * 1024
        yield b"x"

    content = pieces() if in_chunks else b"x" * size
    headers = {"authorization": f"Bearer {caller.key}"}
    answer = await gateway.client.post("/v1/chat/completions", content=content, headers=headers)
    assert answer.status_code == 413
    assert (await caller.chat()).status_code == 200


@pytest.mark.parametrize("key", [None, "sk-" + "0" * 64])
@pytest.mark.parametrize(
    "framing", [f"content-length: {LIMIT // 2}", "transfer-encoding: chunked", "content-length: 99999999"]
)
async def test_a_body_without_a_good_key_is_refused_before_it_is_sent(
    gateway: Gateway, key: str | None, framing: str
) -> None:
    async with line_to(gateway) as line:
        reply = await line.ask(post(key, b"", framing, length=False))
        assert reply.status == 401
        assert await line.ends()


async def test_a_small_body_without_a_key_is_never_parsed(gateway: Gateway) -> None:
    async with line_to(gateway) as line:
        for body in (b"{", b"\xff", CALL):
            reply = await line.ask(post(None, body))
            assert (reply.status, reply.error["metadata"]["error_type"]) == (401, "missing_api_key")
        assert (await line.ask(HEALTH)).status == 200  # The connection is none the worse for it.


async def test_many_bodies_at_once_are_each_answered(gateway: Gateway) -> None:
    caller = Caller(gateway, "crowd", credit="100")
    bodies = [padded(100_000), b"x" * (LIMIT + 1), msgspec.json.encode(call_body())] * 5
    answers = await asyncio.gather(*(caller.post("/v1/chat/completions", body) for body in bodies))
    assert [answer.status_code for answer in answers] == [200, 413, 200] * 5
