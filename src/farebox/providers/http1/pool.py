"""The open connections to one origin: the most recently used goes out first, so that the others may grow old and go."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import msgspec

from farebox.core.errors import Fault
from farebox.providers.http1 import faults
from farebox.providers.http1.connection import Connection
from farebox.providers.http1.origin import Origin
from farebox.providers.http1.proxy import Proxy, open_tunnel
from farebox.providers.upstream import TimeLimits


class PoolLimits(msgspec.Struct, frozen=True):
    """How many connections one origin may have, and how long an unused one is kept."""

    open: int = 1000
    idle: int = 100
    idle_s: float = (
        30.0  # Below the 60 s after which common load balancers drop a quiet connection without a word.
    )


class Pool:
    """Connections to one origin, straight or through a proxy."""

    def __init__(
        self, origin: Origin, proxy: Proxy | None, limits: PoolLimits, tls: Callable[[], ssl.SSLContext]
    ) -> None:
        self._origin = origin
        self._proxy = proxy
        self._limits = limits
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._open: set[Connection] = set()
        self._opening = 0
        self._idle: dict[Connection, float] = {}  # Since when; the most recent last.
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._emptied: asyncio.Future[None] | None = None

    def find_idle(self) -> Connection | None:
        """Take the most recently used connection that still seems alive."""
        while self._idle:
            connection, since = self._idle.popitem()
            if connection.usable and self._loop.time() - since < self._limits.idle_s:
                return connection
            connection.drop()
        return None

    async def connect(self, limits: TimeLimits) -> Connection:
        """Open a connection. Faults: PROVIDER_OVERLOADED at the cap, PROVIDER_TIMEOUT, PROVIDER_ERROR."""
        self._check_open()
        if len(self._open) + self._opening >= self._limits.open:
            raise faults.exhausted()
        connection = Connection(self, self._loop)
        self._opening += 1
        try:
            async with asyncio.timeout(limits.connect_s):
                await self._dial(connection)
        except TimeoutError as error:
            connection.drop()
            raise faults.unreachable_in_time() from error
        except OSError as error:
            connection.drop()
            raise faults.unreachable() from error
        except asyncio.CancelledError:
            connection.drop()  # It may have been made just before.
            raise
        finally:
            self._opening -= 1
        try:
            self._check_open()
        except Fault:
            connection.drop()
            raise
        return connection

    def joined(self, connection: Connection) -> None:
        """Count an open connection."""
        self._open.add(connection)

    def release(self, connection: Connection) -> None:
        """Keep a connection for the next request; the oldest goes if there are too many."""
        if self._closed:
            connection.drop()
            return
        if len(self._idle) >= self._limits.idle:
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            oldest.drop()
        self._idle[connection] = self._loop.time()
        if self._sweep_timer is None:
            self._sweep_timer = self._loop.call_later(self._limits.idle_s, self._sweep)

    def lost(self, connection: Connection) -> None:
        """Forget a connection."""
        self._open.discard(connection)
        self._idle.pop(connection, None)
        if self._emptied is not None and not self._open and not self._emptied.done():
            self._emptied.set_result(None)

    async def close(self) -> None:
        """Close every connection; replies that are still coming end with a fault."""
        self._closed = True
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        for connection in list(self._open):
            connection.give_up(faults.closing())
        if self._open:
            self._emptied = self._loop.create_future()
            await self._emptied

    def _check_open(self) -> None:
        if self._closed:
            raise faults.closing()

    def _sweep(self) -> None:
        """Close what has been unused for too long."""
        self._sweep_timer = None
        now = self._loop.time()
        while self._idle:
            oldest, since = next(iter(self._idle.items()))
            left_s = since + self._limits.idle_s - now
            if left_s > 0:
                self._sweep_timer = self._loop.call_later(left_s, self._sweep)
                return
            del self._idle[oldest]
            oldest.drop()

    async def _dial(self, connection: Connection) -> None:
        origin, proxy = self._origin, self._proxy
        if proxy is None:
            tls, name = (self._tls(), origin.host) if origin.secure else (None, None)
            await self._loop.create_connection(
                lambda: connection, origin.host, origin.port, ssl=tls, server_hostname=name
            )
        elif not origin.secure:
            await self._loop.create_connection(lambda: connection, proxy.host, proxy.port)
        else:
            tunnel = await open_tunnel(proxy, origin)
            secured = await self._loop.start_tls(tunnel, connection, self._tls(), server_hostname=origin.host)
            if secured is None or secured.is_closing():
                raise ConnectionResetError("the connection ended during the handshake")
            connection.connection_made(secured)  # start_tls leaves this to its caller.
