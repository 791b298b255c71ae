"""What is no HTTP/1.1, or could be read in two ways: a JSON 400, the end of the connection, nothing handed on."""

from __future__ import annotations

import pytest

from tests.api.caller import Caller
from tests.api.wire import CALL, CHAT, HEALTH, Reply, chunked, line_to, post
from tests.support.gateway import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHUNKS = "transfer-encoding: chunked"
HOST = b"host: test\r\n"


def refused_with(reply: Reply, status: int = 400) -> bool:
    """Whether a reply is our word for such a request."""
    assert reply.status == status, reply
    assert reply.error["type"] == "invalid_request_error"
    assert reply.error["code"] == status
    assert reply.error["metadata"]["error_type"] == "invalid_http"
    assert reply.error["message"]
    assert reply.headers["connection"] == "close"
    assert len(reply.headers["x-request-id"]) == 26
    return True


def asking(key: str, body: bytes = b"", *lines: str) -> bytes:
    return post(key, body, *lines, length=False)


SMUGGLING = {
    "length and chunks": lambda key: post(key, chunked(CALL), CHUNKS),
    "chunks and length": lambda key: asking(key, chunked(CALL), CHUNKS, "content-length: 5"),
    "two lengths": lambda key: post(key, CALL, "content-length: 3"),
    "one length twice": lambda key: post(key, CALL, f"content-length: {len(CALL)}"),
    "a list of lengths": lambda key: asking(key, CALL, "content-length: 5, 5"),
    "a signed length": lambda key: asking(key, CALL, "content-length: +5"),
    "a negative length": lambda key: asking(key, CALL, "content-length: -5"),
    "a hexadecimal length": lambda key: asking(key, CALL, "content-length: 0x5"),
    "a fractional length": lambda key: asking(key, CALL, "content-length: 5.0"),
    "an empty length": lambda key: asking(key, CALL, "content-length: "),
    "a length beyond 64 bits": lambda key: asking(key, CALL, "content-length: 99999999999999999999999"),
    "xchunked": lambda key: asking(key, chunked(CALL), "transfer-encoding: xchunked"),
    "identity": lambda key: asking(key, CALL, "transfer-encoding: identity"),
    "gzip, chunked": lambda key: asking(key, chunked(CALL), "transfer-encoding: gzip, chunked"),
    "chunked, gzip": lambda key: asking(key, chunked(CALL), "transfer-encoding: chunked, gzip"),
    "chunked twice": lambda key: asking(key, chunked(CALL), "transfer-encoding: chunked, chunked"),
    "chunked in two lines": lambda key: asking(key, chunked(CALL), CHUNKS, CHUNKS),
    "chunked behind a tab": lambda key: asking(key, chunked(CALL), "transfer-encoding:\x0bchunked"),
    "chunked in quotes": lambda key: asking(key, chunked(CALL), 'transfer-encoding: "chunked"'),
    "chunks in HTTP/1.0": lambda key: asking(key, chunked(CALL), CHUNKS).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "a blank before the colon": lambda key: post(key, CALL, "transfer-encoding : chunked"),
    "a folded line": lambda key: post(key, CALL, "x-note: a\r\n transfer-encoding: chunked"),
    "a bare CR": lambda key: post(key, CALL, "x-note: a\rtransfer-encoding: chunked"),
    "bare LFs": lambda key: post(key).replace(b"\r\n", b"\n"),
    "one bare LF": lambda key: post(key, CALL, "x-note: a\ntransfer-encoding: chunked"),
    "NUL in a header": lambda key: post(key, CALL, "x-note: a\0b"),
    "a control character in a name": lambda key: post(key, CALL, "x\x01note: a"),
    "a nameless header": lambda key: post(key, CALL, ": a"),
    "a header without colon": lambda key: post(key, CALL, "x-note"),
    "two hosts": lambda key: post(key, CALL, "host: other"),
    "two keys": lambda key: post(key, CALL, "authorization: Bearer other"),
    "two types": lambda key: post(key, CALL, "content-type: text/plain"),
    "no host": lambda key: post(key).replace(HOST, b""),
    "a chunk of no size": lambda key: asking(key, b"zz\r\n", CHUNKS),
    "a negative chunk": lambda key: asking(key, b"-5\r\nhello\r\n", CHUNKS),
    "a prefixed chunk": lambda key: asking(key, b"0x5\r\nhello\r\n", CHUNKS),
    "a chunk beyond 64 bits": lambda key: asking(key, b"fffffffffffffffff\r\n", CHUNKS),
    "a chunk longer than said": lambda key: asking(key, b"3\r\nhello\r\n0\r\n\r\n", CHUNKS),
    "a chunk behind a bare LF": lambda key: asking(key, b"5\nhello\r\n0\r\n\r\n", CHUNKS),
    "a header twice in HTTP/1.0": lambda key: post(key, CALL, "host: b").replace(b"HTTP/1.1", b"HTTP/1.0"),
}


@pytest.mark.parametrize("name", SMUGGLING)
async def test_a_request_that_two_parsers_could_read_differently_is_refused(
    shared: Gateway, name: str
) -> None:
    caller = Caller(shared, "smuggler")
    hidden = post(caller.key, CALL)  # What the trick would smuggle in: nobody may answer it.
    async with line_to(shared) as line:
        assert refused_with(await line.ask(SMUGGLING[name](caller.key) + hidden))
        assert await line.ends()
    assert caller.spent_nano() == 0


NOT_HTTP = {
    "words": b"hello there\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "zeros": bytes(100),
    "an unknown method": b"BREW /health HTTP/1.1\r\n" + HOST + b"\r\n",
    "a method in small letters": b"get /health HTTP/1.1\r\n" + HOST + b"\r\n",
    "HTTP/0.9": b"GET /health\r\n\r\n",
    "HTTP/1.2": b"GET /health HTTP/1.2\r\n" + HOST + b"\r\n",
    "HTTP/2.0": b"GET /health HTTP/2.0\r\n" + HOST + b"\r\n",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no version": b"GET /health HTTP\r\n" + HOST + b"\r\n",
    "blanks in the target": b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n",
    "a relative target": b"GET health HTTP/1.1\r\n" + HOST + b"\r\n",
    "an absolute target without host": b"GET http:// HTTP/1.1\r\n" + HOST + b"\r\n",
    "bytes in the target": b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n",
    "a tunnel": b"CONNECT example.com:443 HTTP/1.1\r\n" + HOST + b"\r\n",
}


@pytest.mark.parametrize("name", NOT_HTTP)
async def test_what_is_no_http_is_refused_in_json(shared: Gateway, name: str) -> None:
    async with line_to(shared) as line:
        assert refused_with(await line.ask(NOT_HTTP[name]))
        assert await line.ends()


@pytest.mark.parametrize(
    ("request_", "status", "reason"),
    [
        (
            b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nhost: test\r\n\r\n",
            414,
            "URI Too Long",
        ),
        (
            post(None, CALL, *(f"x-{number}: 1" for number in range(101))),
            431,
            "Request Header Fields Too Large",
        ),
        (post(None, CALL, f"x-huge: {'h' * 70_000}"), 431, "Request Header Fields Too Large"),
        (
            post(None, CALL, *(f"x-{number}: {'h' * 6000}" for number in range(20))),
            431,
            "Request Header Fields Too Large",
        ),
    ],
)
async def test_a_head_beyond_its_limits_is_refused(
    shared: Gateway, request_: bytes, status: int, reason: str
) -> None:
    async with line_to(shared) as line:
        reply = await line.ask(request_)
        assert refused_with(reply, status)
        assert reply.reason == reason
        assert await line.ends()


@pytest.mark.parametrize(
    "beginning",
    [
        b"GET /health HTTP/1.1\r\nx-endless: ",
        b"GET /health HTTP/1.1\r\nx-endless",
        post("sk-x", chunked(CALL)[:-2] + b"x-endless: ", "transfer-encoding: chunked", length=False),
    ],
)
async def test_a_line_without_end_is_not_gathered_for_ever(shared: Gateway, beginning: bytes) -> None:
    key = shared.key("endless")
    async with line_to(shared) as line:
        await line.send(beginning.replace(b"sk-x", key.encode()))
        for _ in range(40):
            await line.send(b"a" * 10_000)
        assert refused_with(await line.reply(), 431)
        assert await line.ends()


async def test_a_trailer_changes_nothing_of_the_request_before_it(shared: Gateway) -> None:
    caller = Caller(shared, "trailing")
    trailers = b"content-encoding: gzip\r\nauthorization: Bearer other\r\ncontent-type: text/plain\r\n"
    body = chunked(CALL)[:-2] + trailers + b"\r\n"
    async with line_to(shared) as line:
        for _ in range(2):
            assert (await line.ask(asking(caller.key, body, CHUNKS))).status == 200


async def test_requests_before_the_bad_one_have_their_answers_first(shared: Gateway) -> None:
    caller = Caller(shared, "before")
    async with line_to(shared) as line:
        await line.send(post(caller.key) + HEALTH + b"rubbish\r\n\r\n" + HEALTH)
        assert (await line.reply()).json["object"] == "chat.completion"
        assert (await line.reply()).json == {"status": "ok"}
        assert refused_with(await line.reply())
        assert await line.ends()


async def test_nothing_behind_a_body_that_was_refused_is_taken_for_a_request(shared: Gateway) -> None:
    caller = Caller(shared, "behind")
    async with line_to(shared) as line:
        unread = post(None, b"", "content-length: 100000", length=False)
        await line.send(HEALTH + unread + post(caller.key) * 3)
        assert (await line.reply()).status == 200
        assert (await line.reply()).status == 401
        assert await line.ends()
    assert caller.spent_nano() == 0


PATHS = [
    "/",
    "/v1",
    "/v1/",
    "/v1/models/",
    "/health/",
    "//health",
    "/HEALTH",
    "/%68ealth",
    "/v1/../health",
    "/?x",
]


@pytest.mark.parametrize(
    "path", [*PATHS, CHAT + "/", CHAT + "/x", "/v1/chat%2Fcompletions", "/v1;a=b/models"]
)
async def test_a_path_that_is_nearly_one_is_none(shared: Gateway, path: str) -> None:
    async with line_to(shared) as line:
        reply = await line.ask(b"GET %b HTTP/1.1\r\nhost: test\r\n\r\n" % path.encode())
        assert reply.status == 404
        assert reply.error["type"] == "not_found_error"
        assert (await line.ask(HEALTH)).status == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "GET", "HEAD"])
async def test_a_method_that_is_not_there_is_refused_and_the_connection_goes_on(
    shared: Gateway, method: str
) -> None:
    async with line_to(shared) as line:
        request = b"%b %b HTTP/1.1\r\nhost: test\r\n\r\n" % (method.encode(), CHAT.encode())
        reply = await line.ask(request, to=method)
        assert (reply.status, reply.headers["allow"]) == (405, "POST")
        assert (await line.ask(HEALTH)).status == 200


async def test_the_server_itself_is_no_surface(shared: Gateway) -> None:
    async with line_to(shared) as line:
        assert (await line.ask(b"OPTIONS * HTTP/1.1\r\nhost: test\r\n\r\n")).status == 404
