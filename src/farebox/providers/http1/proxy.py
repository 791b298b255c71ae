"""Which proxy stands before an origin, and the tunnel through it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import cast
from urllib.parse import unquote, urlsplit

import msgspec

from farebox.providers.http1.origin import Origin

_DEFAULT_PORT = 1080  # What curl takes where a proxy names none.
_REPLY_LIMIT = 16 * 1024  # Bytes of a proxy's reply to CONNECT.


class Proxy(msgspec.Struct, frozen=True):
    """One HTTP proxy. Its credential is never printed."""

    host: str
    port: int
    authorization: str | None = None  # The value of proxy-authorization.

    def __repr__(self) -> str:
        """Name the proxy without its credential."""
        return f"Proxy({self.host!r}, {self.port})"


class Proxies(msgspec.Struct, frozen=True):
    """The proxies of a deployment: for http origins, for https origins, and what goes without."""

    http: Proxy | None = None
    https: Proxy | None = None
    without: tuple[
        str, ...
    ] = ()  # Host names (their subdomains included), addresses, networks, `*`; with or without port.


def read_proxies(environ: Mapping[str, str]) -> Proxies:
    """Read HTTP_PROXY, HTTPS_PROXY and NO_PROXY, the lower-case names first, as curl does. ValueError names the one."""

    def value(name: str) -> str:
        return environ.get(name.lower()) or environ.get(name) or ""

    entries = [entry.strip().lower() for entry in value("NO_PROXY").split(",")]
    return Proxies(
        _parse_proxy("HTTP_PROXY", value("HTTP_PROXY")),
        _parse_proxy("HTTPS_PROXY", value("HTTPS_PROXY")),
        tuple(entry for entry in entries if entry),
    )


def find_proxy(proxies: Proxies, origin: Origin) -> Proxy | None:
    """The proxy for an origin; none for this machine itself, whatever the settings (as Go's httpproxy has it)."""
    proxy = proxies.https if origin.secure else proxies.http
    if (
        proxy is None
        or _is_loopback(origin.host)
        or any(_matches(entry, origin) for entry in proxies.without)
    ):
        return None
    return proxy


async def open_tunnel(proxy: Proxy, origin: Origin) -> asyncio.Transport:
    """Connect to the proxy and have it connect to the origin. OSError where either fails."""
    loop = asyncio.get_running_loop()
    transport, tunnel = await loop.create_connection(lambda: _Tunnel(loop), proxy.host, proxy.port)
    lines = [f"CONNECT {origin.address} HTTP/1.1", f"host: {origin.address}"]
    if proxy.authorization is not None:
        lines.append(f"proxy-authorization: {proxy.authorization}")
    try:
        transport.write("\r\n".join([*lines, "", ""]).encode("ascii"))
        await tunnel.opened
    except BaseException:  # A cancelled caller leaves no socket behind either.
        transport.abort()
        raise
    return transport


def _parse_proxy(name: str, url: str) -> Proxy | None:
    if not url:
        return None
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"{name} must be the address of an HTTP proxy, such as http://proxy.example:3128")
    authorization = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"
    return Proxy(parts.hostname, parts.port or _DEFAULT_PORT, authorization)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _matches(entry: str, origin: Origin) -> bool:
    if entry == "*":
        return True
    if entry.count(":") == 1:  # More colons are an IPv6 address.
        entry, port = entry.split(":")
        if port != str(origin.port):
            return False
    try:
        return ip_address(origin.host) in ip_network(entry, strict=False)
    except ValueError:
        name = entry.removeprefix("*").removeprefix(".")
        return origin.host == name or origin.host.endswith(f".{name}")


class _Tunnel(asyncio.Protocol):
    """Waits for the head of the reply to CONNECT."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.opened = loop.create_future()
        self._head = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._head += data
        # Nothing may follow the head: in TLS the client speaks first.
        whole = self._head.endswith(b"\r\n\r\n")
        if self.opened.done() or not (whole or len(self._head) > _REPLY_LIMIT):
            return
        if whole and self._head.startswith((b"HTTP/1.1 2", b"HTTP/1.0 2")):
            self.opened.set_result(None)
        else:
            self.opened.set_exception(ConnectionRefusedError("the proxy did not open the tunnel"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            lost = ConnectionResetError("the proxy closed the connection")
            lost.__cause__ = exc
            self.opened.set_exception(lost)
