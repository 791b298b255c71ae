"""A caller on a raw socket: sees every byte as it comes, and leaves exactly when a test says so.

caller = await Caller.connect(url, key)
await caller.ask(stream=True)
head = await caller.read_head()
async for event in caller.events(): ...
caller.leave()
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tests.support.shop import MODEL

CHAT = "/v1/chat/completions"
PATIENCE_S = 40.0
DONE = b"data: [DONE]\n\n"
_JSON = msgspec.json.Decoder(float_hook=str)


class Head(msgspec.Struct):
    """Status and headers of an answer; header names in lower case."""

    status: int
    headers: dict[str, str]

    @property
    def id(self) -> str:
        return self.headers["x-request-id"]


@dataclass
class Receipt:
    """What a caller has in its hands of one call, whatever became of the server."""

    head: Head | None = None
    body: bytes = b""  # Of a stream, its events.
    ended: bool = False  # The end of the answer came: the whole of a plain body, the finish of a stream.
    whole: bool = False  # The transfer ended in good form.
    events: list[bytes] = field(default_factory=list)

    @property
    def status(self) -> int:
        return self.head.status if self.head else 0

    @property
    def id(self) -> str:
        assert self.head is not None
        return self.head.id

    @property
    def json(self) -> Any:
        """The body; fractions are given as the text they were written in, so that amounts stay exact."""
        return _JSON.decode(self.body)


def body_of(*, stream: bool = False, model: str = MODEL, **members: object) -> bytes:
    """A small chat request."""
    messages = [{"role": "user", "content": "What does one fare cost?"}]
    return msgspec.json.encode(
        {"model": model, "messages": messages, **({"stream": True} if stream else {}), **members}
    )


def is_finish(event: bytes) -> bool:
    """Whether a chunk of a chat stream carries a finish reason."""
    if not event.startswith(b"data: {"):
        return False
    chunk = msgspec.json.decode(event.removeprefix(b"data: "))
    return any(choice.get("finish_reason") for choice in chunk.get("choices", ()))


class Caller:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str | None) -> None:
        self._reader = reader
        self._writer = writer
        self._key = key
        self._head = Head(0, {})

    @classmethod
    async def connect(cls, url: str, key: str | None = None) -> Caller:
        host, _, port = url.removeprefix("http://").partition(":")
        return cls(*await asyncio.open_connection(host, int(port), limit=1 << 20), key)

    async def ask(
        self, body: bytes | None = None, *, path: str = CHAT, method: str = "POST", **members: object
    ) -> None:
        """Send one request; without a body, `members` are those of a chat request."""
        if body is None:
            body = body_of(**members) if method == "POST" else b""  # type: ignore[arg-type]  # The members are JSON's.
        lines = [f"{method} {path} HTTP/1.1", "host: test", "content-type: application/json"]
        if self._key:
            lines.append(f"authorization: Bearer {self._key}")
        lines += [f"content-length: {len(body)}", "", ""]
        self._writer.write("\r\n".join(lines).encode() + body)
        await self._writer.drain()

    async def read_head(self) -> Head:
        """The status and headers of the next answer."""
        async with asyncio.timeout(PATIENCE_S):
            text = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = text.rstrip("\r\n").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        self._head = Head(int(first.split(" ")[1]), {name.lower(): value for name, value in pairs})
        return self._head

    async def read_body(self) -> bytes:
        """The body behind the head."""
        if "content-length" in self._head.headers:
            async with asyncio.timeout(PATIENCE_S):
                return await self._reader.readexactly(int(self._head.headers["content-length"]))
        return b"".join([piece async for piece in self._chunks()])

    async def events(self) -> AsyncIterator[bytes]:
        """The events of a streamed body one by one, as they come."""
        rest = b""
        async for piece in self._chunks():
            *events, rest = (rest + piece).split(b"\n\n")
            for event in events:
                yield event + b"\n\n"
        assert not rest, "the stream ended inside an event"

    async def _chunks(self) -> AsyncIterator[bytes]:
        while True:
            async with asyncio.timeout(PATIENCE_S):
                size = int(await self._reader.readuntil(b"\r\n"), 16)
                piece = await self._reader.readexactly(size + 2)
            if not size:
                return
            yield piece[:-2]

    async def wait_for_close(self, seconds: float) -> bytes:
        """What still comes until the server closes the connection; TimeoutError if it does not."""
        async with asyncio.timeout(seconds):
            return await self._reader.read()

    def leave(self, *, by_reset: bool = False) -> None:
        """Close the connection now, whatever is under way."""
        if by_reset:
            sock: socket.socket = self._writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self._writer.transport.abort()


async def call(
    url: str, key: str | None, body: bytes | None = None, *, receipt: Receipt | None = None, **members: Any
) -> Receipt:
    """One chat call on a connection of its own. What came until a failure is in the receipt, and nothing is raised."""
    receipt = receipt or Receipt()
    caller = None
    try:
        caller = await Caller.connect(url, key)
        await caller.ask(body, **members)
        receipt.head = await caller.read_head()
        if "content-length" in receipt.head.headers:
            receipt.body = await caller.read_body()
            receipt.ended = receipt.status == 200
        else:
            async for event in caller.events():
                receipt.events.append(event)
                receipt.body += event
                receipt.ended |= is_finish(event)
        receipt.whole = True
    except (OSError, asyncio.IncompleteReadError):
        pass  # The server died, or cut: the receipt says how far it came.
    finally:
        if caller is not None:
            caller.leave()
    return receipt


async def get(url: str, path: str, key: str | None = None) -> Receipt:
    """One GET on a connection of its own; OSError if nobody answers."""
    caller = await Caller.connect(url, key)
    try:
        await caller.ask(path=path, method="GET")
        head = await caller.read_head()
        return Receipt(head, await caller.read_body(), ended=True, whole=True)
    finally:
        caller.leave()


def header(receipt: Receipt, name: str) -> str | None:
    """A header of an answer, if it has it."""
    headers: Mapping[str, str] = receipt.head.headers if receipt.head else {}
    return headers.get(name)
