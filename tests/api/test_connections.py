"""Connections: kept, shared by requests in line, upgraded never, and ended when their caller takes too long."""

from __future__ import annotations

import asyncio

import pytest

from tests.api.caller import Caller
from tests.api.wire import CALL, HEALTH, Line, impatient, line_to, post
from tests.support.gateway import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_connection_is_used_again(shared: Gateway) -> None:
    key = shared.key("keeping")
    async with line_to(shared) as line:
        for status, request in [
            (200, HEALTH),
            (200, post(key)),
            (400, post(key, b"{")),
            (401, post(None)),
        ] * 3:
            reply = await line.ask(request)
            assert reply.status == status
            assert "connection" not in reply.headers


async def test_a_caller_who_wants_to_close_is_closed(shared: Gateway) -> None:
    async with line_to(shared) as line:
        reply = await line.ask(HEALTH.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n") + HEALTH)
        assert reply.headers["connection"] == "close"
        assert await line.ends()


async def test_requests_in_line_are_answered_in_order(shared: Gateway) -> None:
    key = shared.key("in-line")
    asked = [
        b'{"model": "m", "messages": [{"role": "user", "content": "%d"}]}' % number for number in range(40)
    ]
    async with line_to(shared) as line:
        slow = CALL.replace(b"Hello!", b"sandbox:slow 0.2")
        await line.send(
            post(key, slow) + HEALTH + post(key) + b"".join(post(key, body) for body in asked) + HEALTH
        )
        first, second, third = [await line.reply() for _ in range(3)]
        assert first.json["object"] == third.json["object"] == "chat.completion"
        assert second.json == {"status": "ok"}
        assert [(await line.reply()).status for _ in asked] == [404] * 40
        assert (await line.reply()).json == {"status": "ok"}


async def test_a_request_byte_by_byte_is_a_request(shared: Gateway) -> None:
    request = post(shared.key("slowly"), b"5\r\n{    \r\n1;x=y\r\n}\r\n0\r\n\r\n", length=False)
    request = request.replace(b"host: test\r\n", b"host: test\r\ntransfer-encoding: chunked\r\n")
    async with line_to(shared) as line:
        for at in range(len(request)):
            await line.send(request[at : at + 1])
            await asyncio.sleep(0)
        assert (await line.reply()).error["param"] == "model"


async def test_http_1_0_gets_its_answer_and_the_end(shared: Gateway) -> None:
    key = shared.key("old")
    async with line_to(shared) as line:
        reply = await line.ask(b"GET /health HTTP/1.0\r\n\r\n")
        assert reply.json == {"status": "ok"}
        assert await line.ends()
    streamed = CALL.replace(b'"messages"', b'"stream": true, "messages"')
    async with line_to(shared) as line:
        reply = await line.ask(post(key, streamed).replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert "transfer-encoding" not in reply.headers
        assert reply.body.endswith(b"data: [DONE]\n\n")


async def test_head_is_answered_without_a_body(shared: Gateway) -> None:
    async with line_to(shared) as line:
        reply = await line.ask(HEALTH.replace(b"GET", b"HEAD"), to="HEAD")
        assert (reply.status, reply.headers["content-length"]) == (200, "15")
        nowhere = await line.ask(b"HEAD /nowhere HTTP/1.1\r\nhost: test\r\n\r\n", to="HEAD")
        assert nowhere.status == 404
        assert (await line.ask(HEALTH)).json == {"status": "ok"}


async def test_whoever_expects_to_be_let_in_is_told_so_first(shared: Gateway) -> None:
    key, expect = shared.key("polite"), "expect: 100-continue"
    async with line_to(shared) as line:
        head = post(key, b"", expect, f"content-length: {len(CALL)}", length=False)
        assert (await line.ask(head)).status == 100
        assert (await line.ask(CALL)).status == 200
        assert (await line.ask(HEALTH)).status == 200
    async with line_to(shared) as line:
        assert (await line.ask(post("sk-none", b"", expect, "content-length: 9", length=False))).status == 401
        assert await line.ends()
    async with line_to(shared) as line:
        too_much = post(key, b"", expect, "content-length: 99999999", length=False)
        assert (await line.ask(too_much)).status == 413


@pytest.mark.parametrize("target", ["http://test/health", "http://test:80/health?x=1", "HTTP://TEST/health"])
async def test_a_whole_address_is_as_good_as_its_path(shared: Gateway, target: str) -> None:
    async with line_to(shared) as line:
        assert (await line.ask(HEALTH.replace(b"/health", target.encode()))).json == {"status": "ok"}


async def test_javas_offer_of_http_2_is_passed_over(shared: Gateway) -> None:
    """Its client makes one with every call over plain HTTP, body and all."""
    offer = (
        "connection: Upgrade, HTTP2-Settings",
        "upgrade: h2c",
        "http2-settings: AAEAAEAAAAIAAAABAAMAAABk",
    )
    caller = Caller(shared, "java")
    async with line_to(shared) as line:
        for _ in range(3):
            assert (await line.ask(post(caller.key, CALL, *offer))).json["object"] == "chat.completion"
        get = HEALTH.replace(b"\r\n\r\n", b"\r\n" + "\r\n".join(offer).encode() + b"\r\n\r\n")
        await line.send(get + post(caller.key, CALL, *offer) + get)
        assert [(await line.reply()).status for _ in range(3)] == [200] * 3
    async with line_to(shared) as line:
        request = post(caller.key, CALL, *offer)
        for at in range(0, len(request), 7):
            await line.send(request[at : at + 7])
            await asyncio.sleep(0)
        assert (await line.reply()).status == 200


async def test_a_thousand_offers_at_once_are_passed_over(shared: Gateway) -> None:
    offer = HEALTH.replace(b"\r\n\r\n", b"\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
    async with line_to(shared) as line:
        await line.send(offer * 1000)
        for _ in range(1000):
            assert (await line.reply()).status == 200


@pytest.mark.parametrize(
    "beginning",
    [
        b"GET /hea",
        b"GET /health HTTP/1.1\r\nx-slow: lo",
        post("sk-none", b'{"mod', "content-length: 100", length=False),
    ],
)
async def test_a_request_that_does_not_arrive_in_time_is_ended_with_a_word(
    shared: Gateway, beginning: bytes
) -> None:
    async with impatient(shared) as port, line_to(shared, port) as line:
        reply = await line.ask(beginning)
        assert (reply.status, reply.reason) == (408, "Request Timeout")
        assert reply.error["metadata"]["error_type"] == "invalid_http"
        assert await line.ends()


async def test_dripping_does_not_make_the_time_for_a_head_longer(shared: Gateway) -> None:
    async with impatient(shared) as port, line_to(shared, port) as line:
        dripping = asyncio.create_task(_drip(line, b"GET /health HTTP/1.1\r\nx-slow: "))
        assert (await line.reply()).status == 408
        dripping.cancel()


async def _drip(line: Line, beginning: bytes) -> None:
    await line.send(beginning)
    while True:
        await line.send(b"a")
        await asyncio.sleep(0.02)


async def test_a_large_body_may_take_its_time_as_long_as_it_moves(shared: Gateway) -> None:
    key = shared.key("uploading")
    body = CALL[:-1] + b" " * 100_000 + b"}"
    async with impatient(shared) as port, line_to(shared, port) as line:
        await line.send(post(key, b"", f"content-length: {len(body)}", length=False))
        for at in range(0, len(body), 10_000):
            await line.send(body[at : at + 10_000])
            await asyncio.sleep(0.03)  # A third of a second in all, twice what one piece may take.
        assert (await line.reply()).status == 200
    async with impatient(shared) as port, line_to(shared, port) as line:
        await line.send(post(key, body[:5000], f"content-length: {len(body)}", length=False))
        assert (await line.reply()).status == 408


async def test_an_unused_connection_is_closed_without_a_word(shared: Gateway) -> None:
    async with impatient(shared) as port, line_to(shared, port) as line:
        assert await line.ends()
    async with impatient(shared) as port, line_to(shared, port) as line:
        assert (await line.ask(HEALTH)).status == 200
        assert await line.ends()


async def test_a_call_may_take_longer_than_a_caller_may(shared: Gateway) -> None:
    body = CALL.replace(b"Hello!", b"sandbox:slow 0.5")
    async with impatient(shared) as port, line_to(shared, port) as line:
        assert (await line.ask(post(shared.key("patient"), body))).status == 200
