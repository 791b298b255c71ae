"""Raw HTTP/1.1 for tests: bytes out, replies in, and nothing that would tidy either up on the way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from farebox.api.http import Connection, Server, Waits
from tests.support.gateway import Gateway

PATIENCE_S = 10.0  # Nothing here takes a tenth of it; a hang is a failure.
CHAT = "/v1/chat/completions"
CALL = b'{"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "Hello!"}]}'
HEALTH = b"GET /health HTTP/1.1\r\nhost: test\r\n\r\n"


class Reply(msgspec.Struct):
    """One answer as it came; header names in lower case."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def error(self) -> Any:
        return self.json["error"]


class Line:
    """One connection to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self._reader = reader

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    async def ask(self, data: bytes, *, to: str = "POST") -> Reply:
        await self.send(data)
        return await self.reply(to=to)

    async def reply(self, *, to: str = "POST") -> Reply:
        """The next reply, an interim one included; `to` is the method it answers."""
        async with asyncio.timeout(PATIENCE_S):
            head = await self._reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
            version, status, reason = first.split(" ", 2)
            assert version == "HTTP/1.1"
            pairs = [line.split(": ", 1) for line in lines]
            headers = {name.lower(): value for name, value in pairs}
            assert len(headers) == len(pairs), f"a header was sent twice: {lines}"
            bodiless = to == "HEAD" or status.startswith("1")
            return Reply(int(status), reason, headers, b"" if bodiless else await self._body(headers))

    async def _body(self, headers: dict[str, str]) -> bytes:
        if "content-length" in headers:
            return await self._reader.readexactly(int(headers["content-length"]))
        if headers.get("transfer-encoding") != "chunked":
            return await self._reader.read()
        body = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body += (await self._reader.readexactly(size + 2))[:-2]
        assert await self._reader.readexactly(2) == b"\r\n"
        return body

    async def ends(self) -> bool:
        """Whether the gateway closes now, and says nothing more."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.read() == b""


@contextlib.asynccontextmanager
async def line_to(gateway: Gateway, port: int | None = None) -> AsyncIterator[Line]:
    """A new connection, to the gateway or to another port of this machine."""
    port = port or int(gateway.url.rpartition(":")[2])
    line = Line(*await asyncio.open_connection("127.0.0.1", port))
    try:
        yield line
    finally:
        line.writer.transport.abort()


SHORT = Waits(head_s=0.15, body_s=0.15, idle_s=0.3, write_s=0.3, linger_s=0.1, sweep_s=0.02)


@contextlib.asynccontextmanager
async def impatient(gateway: Gateway) -> AsyncIterator[int]:
    """The same gateway behind a second port where no caller may take long; gives the port."""
    server = Server(gateway.worker.server.answering, body_limit=1 << 20, waits=SHORT)
    server.start()
    loop = asyncio.get_running_loop()
    acceptor = await loop.create_server(lambda: Connection(server), "127.0.0.1", 0)
    try:
        yield acceptor.sockets[0].getsockname()[1]
    finally:
        acceptor.close()
        server.close()
        await asyncio.sleep(0)


def post(key: str | None, body: bytes = CALL, *lines: str, path: str = CHAT, length: bool = True) -> bytes:
    """A request to a surface as bytes; `lines` are further header lines."""
    head = [f"POST {path} HTTP/1.1", "host: test", "content-type: application/json", *lines]
    if key is not None:
        head.append(f"authorization: Bearer {key}")
    if length:
        head.append(f"content-length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


def chunked(body: bytes, size: int = 1000) -> bytes:
    """A body in chunks, end and all."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
