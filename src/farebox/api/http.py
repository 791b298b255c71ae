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
from email.utils import formatdate
from typing import Protocol, cast

import httptools
import msgspec

from farebox.api.exchange import Exchange

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
_UNPARSED_BYTES_MAX = (
    2 * HEADER_BYTES_MAX
)  # Of one line that does not end: the parser would gather it for ever.
_ONCE = frozenset(
    {b"host", b"authorization", b"content-type", b"content-encoding", b"transfer-encoding"}
)  # Twice, and whoever stands in front of us may have believed the other one.
CONNECTIONS_MAX = 10_000
_BUFFER_HIGH = 256 << 10  # What a slow reader may leave unread before its provider is paused.


class Waits(msgspec.Struct, frozen=True):
    """Seconds that a caller may take for each of its parts."""

    head_s: float = HEAD_WAIT_S  # And for a small body with it.
    body_s: float = BODY_WAIT_S  # Between two pieces of a large one.
    idle_s: float = IDLE_WAIT_S
    write_s: float = WRITE_WAIT_S
    linger_s: float = LINGER_S
    sweep_s: float = SWEEP_S


_USUAL_WAITS = Waits()


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

    def refuse(self, error: HttpError, exchange: Exchange) -> None:
        """Answer something that is no HTTP request."""

    def gate(self, request: Request) -> bool:
        """Whether a large body is worth reading, by its request's head alone."""


class Server:
    """What every connection shares: who answers, the limits, and who is there."""

    def __init__(self, answering: Answering, *, body_limit: int, waits: Waits = _USUAL_WAITS) -> None:
        self.answering = answering
        self.body_limit = body_limit
        self.waits = waits
        self.draining = False
        self.connections: set[Connection] = set()
        self.date = b""  # The header's line, right to two seconds.
        self._sweeper: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin the sweep; call it on the running loop."""
        self.date = b"date: %b\r\n" % formatdate(usegmt=True).encode()
        now_s = asyncio.get_running_loop().time()
        for connection in [c for c in self.connections if c.deadline_s < now_s]:
            connection.time_out()
        self._sweeper = asyncio.get_running_loop().call_later(self.waits.sweep_s, self.start)

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
        self._line: deque[tuple[Request | HttpError, Exchange]] = deque()
        self._current: Exchange | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._url = b""
        self._head: dict[bytes, bytes] = {}
        self._headers: dict[
            bytes, bytes
        ] = {}  # Of the head while it is read; then those behind a chunked body.
        self._unparsed_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._modern = True  # HTTP/1.1.
        self._let_in = False  # The body under way is a large one, of somebody who may send it.
        self._unread = False  # The caller is still sending what nobody will read.
        self._handed = (
            True  # Nothing is under way, or it was handed over (perhaps before its body was whole).
        )

    @property
    def busy(self) -> bool:
        """Whether an answer is under way."""
        return self._current is not None

    @property
    def task(self) -> asyncio.Task[None]:
        """The task that answers the request under way."""
        assert self._task is not None
        return self._task

    @property
    def peer(self) -> str:
        """Where the connection comes from."""
        address = self.transport.get_extra_info("peername")
        return str(address[0]) if isinstance(address, tuple) else ""

    @property
    def draining(self) -> bool:
        """Whether the server is on its way out."""
        return self.server.draining

    @property
    def date(self) -> bytes:
        """The date header's line."""
        return self.server.date

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection in, or turn it away when there are too many."""
        # uvloop's transports are none of asyncio's classes.
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=_BUFFER_HIGH)
        if len(self.server.connections) >= CONNECTIONS_MAX:
            self.lost = True
            transport.close()
            return
        self.server.connections.add(self)
        self._wait(self.server.waits.head_s)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        """The caller is gone: tell whoever is answering it."""
        self.lost = True
        if (
            self._current is None
        ):  # Else it counts as busy until its call is settled, which a drain waits for.
            self.server.connections.discard(self)
        self._line.clear()
        self.resume_writing()
        if self._current is not None:
            self._current.leave()

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        while data and not self._closing:
            data = self._parse(data)

    def _parse(self, data: bytes) -> bytes:
        """Parse; what is left to be parsed anew."""
        self._unparsed_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            return self._without_offer() + data[offer.args[0] :]
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self._refuse(
                cause.args[0] if isinstance(cause, _RefusedError) else HttpError(400, "Bad request.")
            )
        except httptools.HttpParserError:
            self._refuse(HttpError(400, "The request is not valid HTTP/1.1."))
        else:
            if self._unparsed_bytes > _UNPARSED_BYTES_MAX:
                self._refuse(HttpError(431, "The request's headers are too many or too large."))
        return b""

    def _without_offer(self) -> bytes:
        """The head once more, without the offer of another protocol in it, for a parser that has not seen it.

        Java's client offers HTTP/2 with every call. A server may ignore that (RFC 9110, 7.8); but llhttp stops at
        such a head, and would take its body for the next request.
        """
        method = self._parser.get_method()
        self._parser = httptools.HttpRequestParser(self)
        if method == b"CONNECT":
            self._refuse(HttpError(400, "This server is no proxy."))
        lines = [b"%b: %b\r\n" % line for line in self._head.items() if line[0] != b"upgrade"]
        return b"%b %b HTTP/1.1\r\n%b\r\n" % (method, self._url, b"".join(lines))

    def eof_received(self) -> None:
        """A caller who closed its side is taken to have hung up."""

    def pause_writing(self) -> None:
        """The caller reads slowly."""
        if self.waiting is None:
            self.waiting = self._loop.create_future()
            self._wait(self.server.waits.write_s)

    def resume_writing(self) -> None:
        """The caller has read; or is gone, and nobody should wait for it."""
        waiting, self.waiting = self.waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)
            self.deadline_s = float("inf")

    # -- the parser's side

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._url = b""
        self._headers = {}
        self._body_bytes = 0
        self._body = []
        self._handed = self._let_in = False
        if self._current is None:
            self._wait(self.server.waits.head_s)

    def on_url(self, url: bytes) -> None:
        """A piece of its target."""
        self._url += url
        if len(self._url) > TARGET_BYTES_MAX:
            raise _RefusedError(HttpError(414, "The request's address is too long."))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; or, behind a chunked body, a trailer, which nobody here reads."""
        name = name.lower()
        if name not in self._headers:
            self._headers[name] = value
        elif name in _ONCE:
            raise _RefusedError(HttpError(400, f"The header {name.decode()} was sent twice."))

    def on_headers_complete(self) -> None:
        """The head is whole: decide whether a large body is read."""
        headers = self._head = self._headers
        self._headers = {}
        # What was read since the request began bounds the head's size: only a large read is looked at closely.
        if len(headers) > HEADER_COUNT_MAX or (
            self._unparsed_bytes > HEADER_BYTES_MAX and _size(headers) > HEADER_BYTES_MAX
        ):
            raise _RefusedError(HttpError(431, "The request's headers are too many or too large."))
        self._unparsed_bytes = 0
        if self._parser.should_upgrade():
            return
        self._check_head(headers)
        length = int(headers.get(b"content-length", b"0"))
        if length <= GATED_BYTES and b"transfer-encoding" not in headers and b"expect" not in headers:
            return
        request = self._request(too_large=length > self.server.body_limit)
        if request.too_large or not self.server.answering.gate(request):
            self._hand_over(request, last=True)
            return
        self._let_in = True
        if self._current is None:
            self._wait(self.server.waits.body_s)
            if self._modern and headers.get(b"expect", b"").lower() == b"100-continue":
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A piece of its body."""
        self._unparsed_bytes = 0
        if self._handed:
            return
        if self._let_in and self._current is None:
            self._wait(self.server.waits.body_s)
        self._body.append(body)
        self._body_bytes += len(body)
        if self._body_bytes > self.server.body_limit:
            self._hand_over(self._request(too_large=True), last=True)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._unparsed_bytes = 0
        if not self._handed and not self._parser.should_upgrade():
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
        if self.lost:
            self.server.connections.discard(self)
        if self._line and not keep_alive:
            self._line.clear()
        if self._line:
            self._next()
            if len(self._line) < WAITING_MAX:
                self.transport.resume_reading()
        elif self._unread and not self.lost:
            self._closing = True
            self.transport.write_eof()
            self._wait(self.server.waits.linger_s)
        elif not keep_alive or self._closing:
            self._close()
        else:
            self._wait(self.server.waits.idle_s)

    def time_out(self) -> None:
        """The deadline has passed: nothing came, or nothing was read."""
        if self.waiting is not None or self._current is not None:
            self.transport.abort()
        elif self._handed or self._closing:
            self._close()
        else:
            self._refuse(HttpError(408, "The request did not arrive in time."))

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
            method, path.decode("latin-1"), query, self._head, b"" if too_large else body, too_large
        )

    def _check_head(self, headers: dict[bytes, bytes]) -> None:
        """Refuse what llhttp lets pass and RFC 9112 does not: 2.3 on versions, 3.2 on Host, 6.1 on codings."""
        version = self._parser.get_http_version()
        self._modern = version == "1.1"
        if not self._modern and version != "1.0":
            raise _RefusedError(HttpError(400, "This server speaks HTTP/1.1."))
        if self._modern and b"host" not in headers:
            raise _RefusedError(HttpError(400, "The request has no Host header."))
        coding = headers.get(b"transfer-encoding")
        if coding is not None and (coding.lower() != b"chunked" or not self._modern):
            raise _RefusedError(HttpError(400, "The only transfer-encoding is chunked, in HTTP/1.1."))

    def _hand_over(self, request: Request, *, last: bool) -> None:
        self._handed = True
        keep_alive = self._modern and self._parser.should_keep_alive() and not last
        exchange = Exchange(
            self, keep_alive=keep_alive, chunked=self._modern, bodiless=request.method == "HEAD"
        )
        self._unread = self._unread or last
        self._line.append((request, exchange))
        if self._current is None:
            self._next()
        elif len(self._line) >= WAITING_MAX:
            self.transport.pause_reading()

    def _next(self) -> None:
        request, exchange = self._line.popleft()
        self._current = exchange
        self.deadline_s = float("inf")
        if isinstance(request, HttpError):
            self.server.answering.refuse(request, exchange)
        else:
            self._task = self._loop.create_task(self.server.answering.handle(request, exchange))

    def _refuse(self, error: HttpError) -> None:
        """Parse no more; the caller learns why once all its requests before this have their answers."""
        self._closing = self._handed = True
        if self._unread:  # The error is in a body that nobody reads: its request has an answer of its own.
            return
        self._unread = True
        self._line.append((error, Exchange(self, keep_alive=False, chunked=False, bodiless=False)))
        if self._current is None:
            self._next()

    def _close(self) -> None:
        self._closing = True
        if not self.lost:
            self.transport.close()

    def _wait(self, seconds: float) -> None:
        self.deadline_s = self._loop.time() + seconds


class _RefusedError(Exception):
    """Raised inside a parser's callback to stop it."""


def _size(headers: dict[bytes, bytes]) -> int:
    return sum(len(name) + len(value) for name, value in headers.items())
