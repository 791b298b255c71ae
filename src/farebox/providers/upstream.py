"""The way out: the port through which every provider is asked, real or sandbox.

An `Upstream` sends one request to one endpoint and gives back the head of the reply and its body piece by piece.
Whatever goes wrong before or during the reply is a Fault of a provider's kind; a status of 400 or more is a reply.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec


class TimeLimits(msgspec.Struct, frozen=True):
    """Seconds each phase of one request may take."""

    connect_s: float = 10.0
    first_byte_s: float = 60.0
    idle_s: float = 120.0  # Between two pieces of a body.
    total_s: float = 600.0
    stream_total_s: float = 3600.0


class Endpoint(msgspec.Struct, frozen=True):
    """One URL and credential of a provider. The key is never printed."""

    provider: str
    base_url: str  # Without a trailing slash.
    api_key: str | None = None
    auth_header: str = "authorization"  # "authorization" sends `Bearer KEY`, any other name the key alone.
    headers: tuple[tuple[str, str], ...] = ()
    limits: TimeLimits = TimeLimits()

    def __repr__(self) -> str:
        """Name the endpoint without its key."""
        return f"Endpoint({self.provider!r})"


class Outgoing(msgspec.Struct, frozen=True):
    """One request to a provider. Its headers are built from nothing: none of the caller's pass."""

    path: str  # Appended to the base URL.
    body: bytes
    stream: bool = False
    method: str = "POST"
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


class Incoming(Protocol):
    """A reply whose head has come."""

    status: int
    headers: Mapping[str, str]  # Names in lower case.

    async def read(self) -> bytes:
        """The next piece of the body, decompressed; empty at its end. Waiting to be read stops the provider."""

    async def pump(self, sink: Callable[[bytes], bool]) -> bool:
        """Hand each piece to `sink` as it comes, until that says False; True at the end of the body.

        As `read` in a loop, but with no wake-up of the caller between two pieces: for the path of a stream.
        """

    async def read_whole(self, limit: int) -> bytes:
        """The whole body, at most `limit` bytes; Fault PROVIDER_ERROR beyond."""

    def cancel(self) -> None:
        """Stop the provider now: close the connection unless the reply is already whole. May be called twice."""


class Upstream(Protocol):
    """Where requests to providers go."""

    async def send(self, endpoint: Endpoint, outgoing: Outgoing) -> Incoming:
        """Send one request and wait for the head of its reply; a provider's Fault if none comes."""

    async def close(self) -> None:
        """Close every connection."""
