"""The way in: HTTP/1.1 on `asyncio.Protocol` and llhttp, one object a connection, nothing between it and a handler.

How it works. llhttp parses strictly, so a request that two parsers could read differently (two lengths, length and
chunks, a bare CR) is a 400 and the end of the connection. A request is handled when its body is whole, in a task of
its own; further requests of the same connection wait in line. A large or chunked body is read only after
`Answering.gate` has seen the head and let it in. An answer is one write; a streamed one is a write for each piece, in
chunks; the last piece and the end of the body leave together.

Nothing waits without a limit: one sweep over all connections every few seconds closes those past their deadline, so
that no timer is set or reset on the path of a request.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from email.utils import formatdate
from typing import Protocol, cast

import httptools
import msgspec

HEADER_BYTES_MAX = 64 << 10
HEADER_COUNT_MAX = 100
TARGET_BYTES_MAX = 8 << 10
WAITING_MAX = 16  # Requests of one connection that wait in line before reading stops.
GATED_BYTES = (
    64 << 10
)  # Bodies above this size, or of unknown size, are read only for callers who are let in.
HEAD_WAIT_S = 15.0
BODY_WAIT_S = 60.0
IDLE_WAIT_S = 75.0
WRITE_WAIT_S = 60.0
LINGER_S = 2.0  # A caller still sending a body we refused gets to read why before the connection is reset.
SWEEP_S = 2.0
CONNECTIONS_MAX = 10_000
_BUFFER_HIGH = 256 << 10  # What a slow reader may leave unread before its provider is paused.

_REASONS = {
    200: b"OK", 202: b"Accepted", 204: b"No Content", 400: b"Bad Request", 401: b"Unauthorized",
    402: b"Payment Required", 403: b"Forbidden", 404: b"Not Found", 405: b"Method Not Allowed",
    408: b"Request Timeout", 409: b"Conflict", 413: b"Content Too Large", 415: b"Unsupported Media Type",
    422: b"Unprocessable Content", 429: b"Too Many Requests", 431: b"Request Header Fields Too Large",
    500: b"Internal Server Error", 502: b"Bad Gateway", 503: b"Service Unavailable", 504: b"Gateway Timeout",
}  # fmt: skip
_STATUS_LINES = {status: b"HTTP/1.1 %d %b\r\n" % (status, reason) for status, reason in _REASONS.items()}


class Request(msgspec.Struct):
    """One request as it came. Header names are in lower case; of a repeated header the first counts."""

    method: str
    path: str
    query: bytes
    headers: dict[bytes, bytes]
    body: bytes
    too_large: bool = False  # The body was more than the limit and was not read.


class HttpError(msgspec.Struct, frozen=True):
    """Why something was not HTTP enough to be a request."""

    status: int
    message: str


class Answering(Protocol):
    """Who answers."""

    async def handle(self, request: Request, exchange: Exchange) -> None:
        """Answer one request, whatever happens."""

    def refuse(self, error: HttpError) -> bytes:
        """The whole answer to something that is no HTTP request."""

    def gate(self, request: Request) -> bool:
        """Whether a large body is worth reading, by its request's head alone."""


class Server:
    """What every connection shares: who answers, the limits, and who is there."""

    def __init__(self, answering: Answering, *, body_limit: int) -> None:
        self.answering = answering
        self.body_limit = body_limit
        self.draining = False
        self.connections: set[Connection] = set()
        self._date = b""
        self._sweeper: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin the sweep; call it on the running loop."""
        self._date = b"date: %b\r\n" % formatdate(usegmt=True).encode()
        now_s = asyncio.get_running_loop().time()
        for connection in [c for c in self.connections if c.deadline_s < now_s]:
            connection.time_out()
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_S, self.start)

    def date(self) -> bytes:
        """The date header, right to two seconds."""
        return self._date

    @property
    def in_flight(self) -> int:
        """Requests being handled."""
        return sum(connection.busy for connection in self.connections)

    def drain(self) -> None:
        """Close what is idle; what is busy closes after its answer."""
        self.draining = True
        for connection in list(self.connections):
            connection.close_if_idle()

    def abort(self) -> None:
        """End every answer that is still going: patience is over."""
        for connection in list(self.connections):
            connection.abort()

    def close(self) -> None:
        """Stop the sweep and every connection."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self.connections):
            connection.transport.close()


class Exchange:
    """One request's answer on its connection: the `Caller` of the gateway."""

    __slots__ = ("_action", "_bodiless", "_chunked", "_connection", "_keep_alive", "begun", "done", "status")

    def __init__(self, connection: Connection, *, keep_alive: bool, chunked: bool, bodiless: bool) -> None:
        self.begun = False
        self.done = False
        self.status = 0
        self._connection = connection
        self._keep_alive = keep_alive
        self._chunked = chunked
        self._bodiless = bodiless  # The answer to HEAD: what GET would say, without saying it.
        self._action: Callable[[], object] | None = None

    @property
    def gone(self) -> bool:
        """The caller has hung up."""
        return self._connection.lost

    @property
    def peer(self) -> str:
        """The address the request came from."""
        return self._connection.peer

    def on_gone(self, action: Callable[[], object] | None) -> None:
        """What to do at once when the caller hangs up."""
        self._action = action

    def leave(self) -> None:
        """Run what is to be done when the caller is gone, or has to go."""
        if self._action is not None:
            self._action()

    def answer(self, status: int, headers: bytes, body: bytes) -> None:
        """Send a whole answer in one write."""
        self.begun = self.done = True
        self.status = status
        self._connection.send(
            b"%b%b%bcontent-length: %d\r\n%b\r\n%b"
            % (
                _status_line(status),
                self._connection.server.date(),
                headers,
                len(body),
                self._ending(),
                b"" if self._bodiless else body,
            )
        )
        self._connection.answered(keep_alive=self._keeps_alive())

    def begin(self, status: int, headers: bytes) -> None:
        """Send the head of a streamed answer."""
        self.begun = True
        self.status = status
        framing = b"transfer-encoding: chunked\r\n" if self._chunked else b""
        self._connection.send(
            b"%b%b%b%b%b\r\n"
            % (_status_line(status), self._connection.server.date(), headers, framing, self._ending())
        )

    def write(self, data: bytes) -> None:
        """Send a piece of a streamed answer."""
        if data:
            self._connection.send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def finish(self, data: bytes) -> None:
        """Send the last piece and the end of the body in one write."""
        self.done = True
        if self._chunked:
            data = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n"
        self._connection.send(data)
        self._connection.answered(keep_alive=self._keeps_alive() and self._chunked)

    async def drained(self) -> None:
        """Wait while the caller reads more slowly than we write."""
        waiting = self._connection.waiting
        if waiting is not None:
            await waiting

    def break_off(self) -> None:
        """Close without an end: the caller must not take what it has for whole."""
        self.done = True
        self._connection.answered(keep_alive=False)

    def _keeps_alive(self) -> bool:
        return self._keep_alive and not self._connection.server.draining

    def _ending(self) -> bytes:
        return b"" if self._keeps_alive() else b"connection: close\r\n"


def _status_line(status: int) -> bytes:
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d Status\r\n" % status


class Connection(asyncio.Protocol):
    """One connection: parses requests, hands them over in order."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.lost = False
        self.waiting: asyncio.Future[None] | None = None
        self.deadline_s = 0.0
        self.transport: asyncio.Transport
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._line: deque[tuple[Request, Exchange]] = deque()
        self._current: Exchange | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._header_bytes = 0
        self._header_count = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._unread = False  # The caller is still sending what nobody will read.
        self._handed = False  # The request under way was handed over (or refused) before its body was whole.

    @property
    def busy(self) -> bool:
        """Whether an answer is under way."""
        return self._current is not None

    @property
    def peer(self) -> str:
        """Where the connection comes from."""
        address = self.transport.get_extra_info("peername")
        return str(address[0]) if isinstance(address, tuple) else ""

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection in, or turn it away when there are too many."""
        # uvloop's transports are none of asyncio's classes.
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=_BUFFER_HIGH)
        if len(self.server.connections) >= CONNECTIONS_MAX or self.server.draining:
            self.lost = True
            transport.close()
            return
        self.server.connections.add(self)
        self._wait(HEAD_WAIT_S)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        """The caller is gone: tell whoever is answering it."""
        self.lost = True
        self.server.connections.discard(self)
        self._line.clear()
        self.resume_writing()
        if self._current is not None:
            self._current.leave()

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._closing:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(HttpError(400, "This server speaks HTTP/1.1 only; send no Upgrade header."))
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self._refuse(
                cause.args[0] if isinstance(cause, _RefusedError) else HttpError(400, "Bad request.")
            )
        except httptools.HttpParserError:
            self._refuse(HttpError(400, "The request is not valid HTTP/1.1."))

    def eof_received(self) -> None:
        """A caller who closed its side is taken to have hung up."""

    def pause_writing(self) -> None:
        """The caller reads slowly."""
        if self.waiting is None:
            self.waiting = self._loop.create_future()
            self._wait(WRITE_WAIT_S)

    def resume_writing(self) -> None:
        """The caller has read; or is gone, and nobody should wait for it."""
        waiting, self.waiting = self.waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)
            self.deadline_s = float("inf")

    # -- the parser's side

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = {}
        self._header_bytes = self._header_count = self._body_bytes = 0
        self._body = []
        self._handed = False
        if self._current is None:
            self._wait(HEAD_WAIT_S)

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) > TARGET_BYTES_MAX:
            raise _RefusedError(HttpError(414, "The request's address is too long."))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        self._header_count += 1
        if self._header_bytes > HEADER_BYTES_MAX or self._header_count > HEADER_COUNT_MAX:
            raise _RefusedError(HttpError(431, "The request's headers are too many or too large."))
        self._headers.setdefault(name.lower(), value)

    def on_headers_complete(self) -> None:
        headers = self._headers
        length = int(headers.get(b"content-length", b"0"))
        if length <= GATED_BYTES and b"transfer-encoding" not in headers and b"expect" not in headers:
            return
        if self._current is None:
            self._wait(BODY_WAIT_S)
        request = self._request(too_large=length > self.server.body_limit)
        if request.too_large or not self.server.answering.gate(request):
            self._hand_over(request, last=True)
        elif headers.get(b"expect", b"").lower() == b"100-continue" and self._current is None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        if self._handed:
            return
        self._body.append(body)
        self._body_bytes += len(body)
        if self._body_bytes > self.server.body_limit:
            self._hand_over(self._request(too_large=True), last=True)

    def on_message_complete(self) -> None:
        if not self._handed:
            self._hand_over(self._request(), last=False)

    # -- in between

    def send(self, data: bytes) -> None:
        """Write, unless there is nobody to write to."""
        if not self.lost:
            self.transport.write(data)

    def answered(self, *, keep_alive: bool) -> None:
        """An answer is complete: take the next request, or close."""
        self._current = None
        self._task = None
        if self._line and not keep_alive:
            self._line.clear()
        if self._unread and not self.lost:
            self._closing = True
            self.transport.write_eof()
            self._wait(LINGER_S)
        elif not keep_alive or self._closing:
            self._close()
        elif self._line:
            self._next()
            if len(self._line) < WAITING_MAX:
                self.transport.resume_reading()
        else:
            self._wait(IDLE_WAIT_S)

    def time_out(self) -> None:
        """The deadline has passed: nothing came, or nothing was read."""
        if self.waiting is not None or self._current is not None:
            self.transport.abort()
        else:
            self._close()

    def close_if_idle(self) -> None:
        """Close a connection on which nothing is under way."""
        if self._current is None:
            self._close()

    def abort(self) -> None:
        """End the answer under way."""
        if self._current is not None:
            self._current.leave()

    def _request(self, *, too_large: bool = False) -> Request:
        target = self._url
        # A whole address instead of a path is legal, and names no other server here.
        if not target.startswith(b"/"):
            url = httptools.parse_url(target)
            target = (url.path or b"/") + (b"?" + url.query if url.query else b"")
        path, _, query = target.partition(b"?")
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        method = self._parser.get_method().decode("ascii")
        return Request(
            method, path.decode("latin-1"), query, self._headers, b"" if too_large else body, too_large
        )

    def _hand_over(self, request: Request, *, last: bool) -> None:
        self._handed = True
        modern = self._parser.get_http_version() == "1.1"
        keep_alive = modern and self._parser.should_keep_alive() and not last
        exchange = Exchange(self, keep_alive=keep_alive, chunked=modern, bodiless=request.method == "HEAD")
        self._unread = last
        self._line.append((request, exchange))
        if self._current is None:
            self._next()
        elif len(self._line) >= WAITING_MAX:
            self.transport.pause_reading()

    def _next(self) -> None:
        request, exchange = self._line.popleft()
        self._current = exchange
        self.deadline_s = float("inf")
        self._task = self._loop.create_task(self.server.answering.handle(request, exchange))

    def _refuse(self, error: HttpError) -> None:
        self._closing = True
        if self._current is None:
            self.send(self.server.answering.refuse(error))
            self._unread = True
            self.answered(keep_alive=False)

    def _close(self) -> None:
        self._closing = True
        if not self.lost:
            self.transport.close()

    def _wait(self, seconds: float) -> None:
        self.deadline_s = self._loop.time() + seconds


class _RefusedError(Exception):
    """Raised inside a parser's callback to stop it."""
