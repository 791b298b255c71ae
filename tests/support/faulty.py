"""An upstream that misbehaves on command: a raw-socket HTTP server in process, for every test that needs a provider.

    async with serve_faulty() as upstream:
        upstream.script(*flaky(2, error(503), chat()), cut(stream(), after=3))
        ...                                     # send to upstream.base_url
        assert upstream.requests[0].headers["authorization"] == "Bearer sk-test"
        await upstream.requests[-1].closed_within(1.0)

Without a script it answers as a polite OpenAI-compatible provider. `script` gives each request the next answer, the
last one again and again; `choose` asks a function of the request instead. The answers are in tests/support/answers.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from farebox.providers.upstream import Endpoint, TimeLimits
from tests.support.answers import Act, Answer, Step, chat, parts_of, stream, write_steps

_PATIENT = TimeLimits(connect_s=5.0, first_byte_s=5.0, idle_s=5.0, total_s=20.0, stream_total_s=20.0)
_END = b"\r\n\r\n"


@dataclass
class Recorded:
    """One request as it came, and what became of it. Times are the loop's, in seconds."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int  # Counted from 0.
    arrived_at: float
    sent_bytes: int = 0  # Of the reply, taken by the system's socket buffer.
    answered_at: float | None = None  # The whole reply was sent.
    closed_at: float | None = None  # The client closed the connection, during the reply or after it.
    closed: asyncio.Event = field(default_factory=asyncio.Event)  # The connection has ended, by whomever.

    @property
    def closed_early(self) -> bool:
        """Whether the client closed before the whole reply was sent."""
        return self.closed_at is not None and self.answered_at is None

    async def closed_within(self, seconds: float) -> None:
        """Wait until the client has closed the connection; TimeoutError if it has not."""
        async with asyncio.timeout(seconds):
            await self.closed.wait()


def polite(request: Recorded) -> Answer:
    """What a provider without faults answers: a stream where one was asked for."""
    asked = msgspec.json.decode(request.body) if request.body[:1] == b"{" else {}
    return stream() if asked.get("stream") else chat()


class FaultyUpstream:
    """The server's state: what it will say and what it was told."""

    def __init__(self, scheme: str, *, bodies_unread: bool = False) -> None:
        self.bodies_unread = bodies_unread
        self.requests: list[Recorded] = []
        self.connections = 0  # Accepted so far.
        self.lines: set[_Line] = set()  # Open now.
        self.host = ""
        self.port = 0
        self._scheme = scheme
        self._choose: Callable[[Recorded], Answer] = polite

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self._scheme}://{host}:{self.port}"

    @property
    def base_url(self) -> str:
        """What goes into a provider's settings."""
        return f"{self.url}/v1"

    def endpoint(self, limits: TimeLimits = _PATIENT, **fields: Any) -> Endpoint:
        """The settings of this upstream as a provider; `fields` are further members of Endpoint."""
        return Endpoint("faulty", self.base_url, **{"api_key": "sk-upstream-secret", **fields}, limits=limits)

    def script(self, *answers: Answer) -> None:
        """Answer in this order, the last one again and again."""
        left = list(answers)
        self._choose = lambda _: left.pop(0) if len(left) > 1 else left[0]

    def choose(self, chooser: Callable[[Recorded], Answer]) -> None:
        """Answer as a function of the request says."""
        self._choose = chooser

    def answer(self, request: Recorded) -> Answer:
        """The answer to a request."""
        return self._choose(request)

    def hang_up(self) -> None:
        """Close every connection now, as a provider does that restarts."""
        for line in list(self.lines):
            line.close()


@contextlib.asynccontextmanager
async def serve_faulty(
    host: str = "127.0.0.1",
    *,
    tls: ssl.SSLContext | None = None,
    send_buffer: int | None = None,
    bodies_unread: bool = False,
) -> AsyncIterator[FaultyUpstream]:
    """Run an upstream on a free port of `host`.

    `send_buffer` bounds the bytes that the system takes ahead of the client; with `bodies_unread` it answers as soon
    as a request's head is there, and leaves the body in the socket.
    """
    upstream = FaultyUpstream("https" if tls else "http", bodies_unread=bodies_unread)
    listener = socket.create_server(
        (host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024
    )
    # Accepted sockets inherit it; asyncio sets it for those of its own making alone, and every write would wait.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if send_buffer is not None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    upstream.host, upstream.port = listener.getsockname()[:2]
    server = await asyncio.get_running_loop().create_server(lambda: _Line(upstream), sock=listener, ssl=tls)
    try:
        yield upstream
    finally:
        server.close()
        tasks = [line.task for line in upstream.lines if line.task is not None]
        for line in list(upstream.lines):
            line.abort()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


class _Line(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, upstream: FaultyUpstream) -> None:
        self.task: asyncio.Task[None] | None = None
        self._upstream = upstream
        self._transport: asyncio.Transport | None = None
        self._number = upstream.connections
        self._buffer = bytearray()
        self._moved = asyncio.Event()  # Something came, or the client went.
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone = False
        self._closing = False  # By us.
        self._current: Recorded | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        # Not 0: over TLS both loops would then pause the writer and never resume him.
        self._transport.set_write_buffer_limits(high=1, low=0)
        self._upstream.connections += 1
        self._upstream.lines.add(self)
        self.task = asyncio.get_running_loop().create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._moved.set()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc  # A client may leave as it likes.
        self._gone = True
        self._upstream.lines.discard(self)
        if self._current is not None:
            if not self._closing:
                self._current.closed_at = asyncio.get_running_loop().time()
            self._current.closed.set()
        self._moved.set()
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def close(self) -> None:
        """Send what is written, then close."""
        self._closing = True
        self._open.close()

    def abort(self) -> None:
        """Close now."""
        self._closing = True
        self._open.abort()

    @property
    def _open(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    async def _serve(self) -> None:
        while (request := await self._read_request()) is not None:
            self._current = request
            self._upstream.requests.append(request)
            answer = self._upstream.answer(request)
            for step in write_steps(answer):
                if not await self._take(step, request, answer.split):
                    return
            if self._gone:
                return
            request.answered_at = asyncio.get_running_loop().time()
            if self._upstream.bodies_unread:
                self._open.resume_reading()
                while await self._more():
                    self._buffer.clear()

    async def _read_request(self) -> Recorded | None:
        while (end := self._buffer.find(_END)) < 0:
            if not await self._more():
                return None
        head = bytes(self._buffer[:end]).decode("latin-1")
        del self._buffer[: end + len(_END)]
        first, *lines = head.split("\r\n")
        method, path, _version = first.split(" ")
        pairs = [line.split(": ", 1) for line in lines]
        headers = {name.lower(): value for name, value in pairs}
        assert len(headers) == len(pairs), "a header was sent twice"
        length = int(headers.get("content-length", "0"))
        if self._upstream.bodies_unread:
            self._open.pause_reading()
            length = 0
        while len(self._buffer) < length:
            if not await self._more():
                return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return Recorded(method, path, headers, body, self._number, asyncio.get_running_loop().time())

    async def _more(self) -> bool:
        self._moved.clear()
        if not self._gone:
            await self._moved.wait()
        return not self._gone

    async def _take(self, step: Step, request: Recorded, size: int | None) -> bool:
        """Do one step; False if the connection has ended with it."""
        match step:
            case bytes():
                for data in parts_of(step, size):
                    await self._write(data, request)
                    if size is not None:
                        # Two turns of the loop: one in which the bytes arrive, one in which the client reads them.
                        await asyncio.sleep(0)
                        await asyncio.sleep(0)
            case float():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(request.closed.wait(), step)
            case Act.HANG:
                await request.closed.wait()
            case Act.CLOSE:
                self.close()
                return False
            case Act.RESET:
                linger_no_more = struct.pack("ii", 1, 0)
                sock = self._open.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_no_more)
                self.abort()
                return False
        return not self._gone

    async def _write(self, data: bytes, request: Recorded) -> None:
        if not self._gone:
            self._open.write(data)
            await self._writable.wait()
        if not self._gone:
            request.sent_bytes += len(data)
