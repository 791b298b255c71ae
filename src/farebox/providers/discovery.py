"""Discovery: what a start without a configuration file finds by itself, keys in the environment and local engines.

An engine is whatever answers `GET /v1/models` on its usual port with a list of models, as Ollama, llama.cpp, vLLM and
LM Studio do. Other programs like those ports too, so everything else that answers is passed over in silence.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Final, Literal

import httptools
import msgspec
from msgspec import Meta
from msgspec.structs import replace

from farebox.providers.rows import ProviderRow

_REPLY_BYTES_MAX: Final = 1_000_000  # A thousand models with all that engines tell of each.
_MODEL_ID: Final = re.compile(
    r"[!-~]{1,200}"
)  # What a caller can write; llama.cpp may list a path with spaces.
# Of an address; its path is the row's, whether the variable holds one or not.
_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(?=/|$)")
_OK: Final = 200
_LOOPBACK: Final = "127.0.0.1"


class FoundKey(msgspec.Struct, frozen=True):
    """A provider whose usual variable holds a key. The key is never printed."""

    row: ProviderRow
    api_key: str

    def __repr__(self) -> str:
        """Name the provider without its key."""
        return f"FoundKey({self.row.name!r})"


class FoundEngine(msgspec.Struct, frozen=True):
    """A local engine that answered, with the ids of the models it has; never none."""

    row: ProviderRow
    models: tuple[str, ...]


class _Model(msgspec.Struct):
    id: str


class _ModelList(msgspec.Struct):
    """What OpenAI's `GET /v1/models` answers, the members that tell an engine from another web server."""

    object: Literal["list"]
    data: Annotated[list[_Model], Meta(max_length=1000)] | None  # Ollama without a model says null.


def discover_by_key(environment: Mapping[str, str], rows: Iterable[ProviderRow]) -> tuple[FoundKey, ...]:
    """The providers whose usual key variable is set and not blank, in the order of the rows.

    One whose address is the operator's own is found only where its variable holds an address as well.
    """
    found = (_find_key(environment, row) for row in rows)
    return tuple(one for one in found if one is not None)


def _find_key(environment: Mapping[str, str], row: ProviderRow) -> FoundKey | None:
    key = environment.get(row.key_variable or "", "").strip()
    if not key:
        return None
    if row.base_variable is None:
        return FoundKey(row, key)
    origin = _ORIGIN.match(environment.get(row.base_variable, "").strip())
    if origin is None:
        return None
    path = row.base_url.partition("://")[2].partition("/")[2]
    return FoundKey(replace(row, base_url=f"{origin[0]}/{path}"), key)


async def discover_local(
    rows: Iterable[ProviderRow], *, skip_ports: Collection[int] = (), timeout_s: float = 0.15
) -> tuple[FoundEngine, ...]:
    """The local engines that answer on loopback within `timeout_s`, all asked at once.

    `skip_ports` are our own: a server must not take itself for an engine.
    """
    asked = [
        (row, row.port) for row in rows if row.local and row.port is not None and row.port not in skip_ports
    ]
    answers = await asyncio.gather(*(_models_on(port, timeout_s) for _, port in asked))
    return tuple(FoundEngine(row, models) for (row, _), models in zip(asked, answers, strict=True) if models)


async def _models_on(port: int, timeout_s: float) -> tuple[str, ...]:
    """The ids an engine on this port lists; none where there is no engine, or one without models."""
    try:
        async with asyncio.timeout(timeout_s):
            body = await _get_models(port)
        listed = msgspec.json.decode(body, type=_ModelList)
    except (OSError, TimeoutError, httptools.HttpParserError, httptools.HttpParserUpgrade):
        return ()
    # Bytes that are no UTF-8 inside a string are not msgspec's DecodeError.
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ()
    return tuple(dict.fromkeys(model.id for model in listed.data or () if _MODEL_ID.fullmatch(model.id)))


async def _get_models(port: int) -> bytes:
    """The body of a 200, at most its first million bytes; empty for any other answer."""
    reader, writer = await asyncio.open_connection(_LOOPBACK, port)
    try:
        writer.write(
            f"GET /v1/models HTTP/1.1\r\nHost: {_LOOPBACK}:{port}\r\n"
            "Accept: application/json\r\nConnection: close\r\n\r\n".encode()
        )
        reply = _Reply()
        parser = httptools.HttpResponseParser(reply)
        unread = _REPLY_BYTES_MAX
        while not reply.whole and (data := await reader.read(min(unread, 65_536))):  # Nothing at 0.
            parser.feed_data(data)
            unread -= len(data)
        # A body without a length ends with its connection, and cannot be told from one that was cut; its JSON can.
        return bytes(reply.body) if reply.begun and parser.get_status_code() == _OK else b""
    finally:
        writer.transport.abort()


class _Reply:
    """Collects one reply as httptools reads it."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.begun = False
        self.whole = False

    def on_headers_complete(self) -> None:
        self.begun = True

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.whole = True
