"""A gateway that sells one model of two scripted providers, and a caller on a bare socket who sees every write.

    async with open_shop(tmp_path) as shop:
        shop.first.script(error(503))
        caller = await shop.call(stream=True)
        await caller.ended()
        assert caller.text == "Hello from the provider."
        shop.assert_settled()

A token of input costs 1,000 nano-units, one of output 2,000, so that `charge_of(11, 5)` can be done in the head.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from farebox.dialects.dialect import Dialect
from tests.support.answers import Answer
from tests.support.faulty import FaultyUpstream, serve_faulty
from tests.support.gateway import Gateway, running

MODEL = "acme/one"
CANARY_KEY = "sk-canary-a-provider-key-0123456789"
CANARY_HEADER = "canary-in-a-header-of-ours"
INPUT_NANO, OUTPUT_NANO = 1_000, 2_000
PATIENCE_S = 10.0

_SERVER = "[server]\ndrain_s = 1\n"  # A test that failed does not wait for the call it left behind.
_PROVIDER = """
[[providers]]
name = "{name}"
base_url = "{url}"
api_key = "{key}"
headers = {{ x-ours = "{header}" }}
{limits}
"""
_MODEL = """
[[models]]
id = "{model}"
context_window = 200000
max_output = {max_output}
cost = {{ currency = "USD", input = "1", output = "2" }}
routes = [ {{ provider = "first", model = "up-1", order = 1 }}, {{ provider = "second", model = "up-2", order = 2 }} ]
"""


def charge_of(prompt: int, completion: int) -> int:
    """What so many tokens come to."""
    return prompt * INPUT_NANO + completion * OUTPUT_NANO


class Caller(asyncio.Protocol):
    """One connection and what came over it; `pieces` are the reads, and on loopback one write is one read."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.closed = False
        self._moved = asyncio.Event()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)
        self._moved.set()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.closed = True
        self._moved.set()

    @property
    def transport(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    @property
    def received(self) -> bytes:
        """Everything, as it came."""
        return b"".join(self.pieces)

    @property
    def status(self) -> int:
        """The status of the answer."""
        return int(self.received.split(b" ", 2)[1])

    @property
    def headers(self) -> dict[str, str]:
        """The answer's headers, in lower case."""
        lines = self.received.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}

    @property
    def body(self) -> bytes:
        """The answer's body as far as it came, freed of its chunks."""
        head, _, body = self.received.partition(b"\r\n\r\n")
        return unchunked(body) if b"transfer-encoding: chunked" in head else body

    @property
    def chunks(self) -> list[Any]:
        """The events of a stream that hold JSON."""
        return [json.loads(data) for data in data_lines(self.body) if data != b"[DONE]"]

    @property
    def text(self) -> str:
        """The words of choice 0, streamed or plain."""
        if self.headers["content-type"] == "application/json":
            return str(json.loads(self.body)["choices"][0]["message"]["content"])
        return "".join(
            choice["delta"].get("content") or ""
            for chunk in self.chunks
            for choice in chunk.get("choices", ())
            if choice["index"] == 0
        )

    @property
    def done(self) -> bool:
        """The stream's end mark is there."""
        return b"data: [DONE]" in self.body

    @property
    def error(self) -> Any:
        """The error object, of the status or inside the stream; None if there is none."""
        if self.status != 200:
            return json.loads(self.body)["error"]
        return next((chunk["error"] for chunk in self.chunks if "error" in chunk), None)

    @property
    def usage(self) -> Any:
        """The usage that was shown, if any."""
        shown = [chunk["usage"] for chunk in self.chunks if chunk.get("usage")]
        assert len(shown) <= 1, "usage is told once"
        return shown[0] if shown else None

    async def until(self, needle: bytes) -> None:
        """Wait until this came."""
        async with asyncio.timeout(PATIENCE_S):
            while needle not in self.received:
                assert not self.closed, self.received
                self._moved.clear()
                await self._moved.wait()

    async def ended(self) -> None:
        """Wait until the answer is whole, or the connection closed."""
        async with asyncio.timeout(PATIENCE_S):
            while not (self.closed or self._whole()):
                self._moved.clear()
                await self._moved.wait()
        assert self._whole(), self.received

    def hang_up(self) -> None:
        """Leave, as a client does that was killed."""
        self.transport.abort()

    def _whole(self) -> bool:
        head, _, body = self.received.partition(b"\r\n\r\n")
        if b"transfer-encoding: chunked" in head:
            return body.endswith(b"0\r\n\r\n")
        length = [line for line in head.split(b"\r\n") if line.startswith(b"content-length: ")]
        return bool(length) and len(body) >= int(length[0].split()[1])


class Shop(msgspec.Struct):
    """The gateway, its providers, and a key that may call it."""

    gateway: Gateway
    first: FaultyUpstream
    second: FaultyUpstream
    key: str

    def speak(self, dialect: Dialect) -> None:
        """Let the providers speak another dialect; before the first call."""
        providers = self.gateway.worker.stock.providers
        assert isinstance(providers, dict)
        for name, provider in providers.items():
            providers[name] = replace(provider, dialect=dialect)

    async def open(
        self, body: bytes, path: str = "/v1/chat/completions", headers: Mapping[str, str] | None = None
    ) -> Caller:
        """Send a body as it is."""
        loop = asyncio.get_running_loop()
        host, port = self.gateway.url.removeprefix("http://").split(":")
        _, caller = await loop.create_connection(Caller, host, int(port))
        head = (
            f"POST {path} HTTP/1.1\r\nhost: shop\r\nauthorization: Bearer {self.key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
            + "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
            + "\r\n"
        )
        caller.transport.write(head.encode() + body)
        return caller

    async def call(self, **members: Any) -> Caller:
        """Begin a chat call with these members."""
        request = {"model": MODEL, "messages": [{"role": "user", "content": "Hi there!"}], **members}
        return await self.open(json.dumps(request).encode())

    async def ask(self, **members: Any) -> Caller:
        """A chat call to its end."""
        caller = await self.call(**members)
        await caller.ended()
        caller.hang_up()
        return caller

    async def row(self, at: int = -1) -> dict[str, Any]:
        """A settled request's row, the last one unless told otherwise; its JSON columns read."""
        await self.gateway.settled(1)
        ids = [
            str(row[0]) for row in self.gateway.office.database.rows("SELECT id FROM requests ORDER BY id")
        ]
        row: dict[str, Any] = dict(self.gateway.request(ids[at]))
        return row | {name: json.loads(row[name]) for name in ("usage", "attempts")}

    def assert_settled(self, charged: int | None = None) -> None:
        """No hold is left, the books balance, and all that left the wallet is `charged`."""
        assert self.gateway.holds() == 0
        self.gateway.assert_balanced()
        if charged is not None:
            assert self.gateway.balance_nano() == 10_000_000_000 - charged


@asynccontextmanager
async def open_shop(
    folder: Path,
    limits: str = "",
    *,
    credit: str = "10",
    max_output: int = 100_000,
    first_port: int | None = None,
) -> AsyncIterator[Shop]:
    """Open a shop; `limits` are further lines of both providers' tables, `first_port` is where nobody listens."""
    async with serve_faulty() as first, serve_faulty() as second:
        config = (
            _SERVER
            + "".join(
                _PROVIDER.format(name=name, url=url, key=CANARY_KEY, header=CANARY_HEADER, limits=limits)
                for name, url in (
                    ("first", f"http://127.0.0.1:{first_port}/v1" if first_port else first.base_url),
                    ("second", second.base_url),
                )
            )
            + _MODEL.format(model=MODEL, max_output=max_output)
        )
        async with running(folder, config) as gateway:
            yield Shop(gateway, first, second, gateway.key(credit=credit))


def events_of(answer: Answer) -> list[bytes]:
    """The pieces of an answer's body that are sent."""
    return [piece for piece in answer.body if isinstance(piece, bytes)]


def data_lines(body: bytes) -> list[bytes]:
    """The data of a stream's events."""
    return [line[5:].strip() for line in body.split(b"\n") if line.startswith(b"data:")]


def unchunked(body: bytes) -> bytes:
    """A chunked body without its framing, as far as it came."""
    pieces = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        if not size or int(size, 16) == 0:
            break
        pieces.append(rest[: int(size, 16)])
        body = rest[int(size, 16) + 2 :]
    return b"".join(pieces)
