"""One reply as its reader sees it: status, headers, and a bounded queue of pieces between the socket and the reader."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from farebox.core.errors import Fault, Kind
from farebox.providers.http1 import faults
from farebox.providers.http1.inflate import Inflater, Unreadable

QUEUE_BYTES = 64 * 1024  # More than this unread, and the socket is not read either: that stops the provider.


class Line(Protocol):
    """The connection a reply still comes over."""

    def resume(self) -> None:
        """The reader has made room."""

    def give_up(self, fault: Fault) -> None:
        """Close at once; `fault` is what the reader finds."""


class Headers(Mapping[str, str]):
    """A reply's headers; their dictionary is made on first use, since most replies are never asked for one."""

    __slots__ = ("_index", "_raw")

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        self._raw = raw
        self._index: dict[str, str] | None = None

    def _all(self) -> dict[str, str]:
        index = self._index
        if index is None:
            index = self._index = {}
            for raw_name, raw_value in self._raw:
                name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
                # Repeated fields are one list (RFC 9110, 5.3).
                index[name] = f"{index[name]}, {value}" if name in index else value
        return index

    def __getitem__(self, name: str) -> str:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


class Reply:
    """An `Incoming`. The connection fills it from one side, one reader empties it from the other."""

    __slots__ = (
        "eager",
        "fault",
        "headers",
        "inflater",
        "line",
        "loop",
        "pieces",
        "room",
        "sink",
        "size",
        "stale",
        "status",
        "waiter",
        "whole",
    )

    def __init__(self, line: Line, waiter: asyncio.Future[None]) -> None:
        self.status = 0  # Until the head has come.
        self.headers: Mapping[str, str] = {}
        self.inflater: Inflater | None = None
        self.line: Line | None = line  # None once the connection serves somebody else.
        self.pieces: list[bytes] = []  # Still compressed, where the body is.
        self.size = 0  # Bytes in `pieces`.
        self.room = QUEUE_BYTES
        self.whole = False
        self.fault: Fault | None = None  # Why there will be no more.
        self.stale = False  # The connection was dead before the request: safe to send again.
        self.waiter: asyncio.Future[None] | None = waiter
        self.loop = waiter.get_loop()  # Asking for the running one is a system call before Python 3.12.
        self.sink: Callable[[bytes], bool] | None = None  # Takes pieces as they come, while its owner sleeps.
        self.eager = True  # Wake the reader for every piece, or only at the end.

    def begin(self, status: int, headers: Headers, inflater: Inflater | None) -> None:
        """Take the head of the reply."""
        self.status = status
        self.headers = headers
        self.inflater = inflater

    def notify(self) -> None:
        """Wake the reader if there is something for it."""
        waiter = self.waiter
        if self.sink is not None and waiter is not None and not waiter.done():
            more = not self.pieces or self.sink(self._take())  # Framing alone is no piece.
            if more and not self.whole and self.fault is None:
                return
            self.sink = None
        if waiter is not None and (
            self.eager or self.whole or self.size > self.room or self.fault is not None
        ):
            self.waiter = None
            if not waiter.done():  # A cancelled reader is on its way out.
                waiter.set_result(None)

    def finish(self) -> None:
        """The last byte is here: the connection is no longer ours."""
        self.line = None
        self.whole = True
        self.notify()

    def fail(self, fault: Fault) -> None:
        """There will be no more."""
        self.line = None
        self.fault = fault
        self.notify()

    async def read(self) -> bytes:
        """Everything that has come since the last read; waits if that is nothing; empty at the end of the body."""
        if self.inflater is not None:
            return await self._read_inflated(self.inflater)
        if not self.pieces:
            await self._arrival()
        return self._take()

    async def pump(self, sink: Callable[[bytes], bool]) -> bool:
        """Hand each piece to `sink` as it comes, until that says False; True at the end of the body."""
        while True:
            data = await self.read()
            if not data:
                return True
            if not sink(data):
                return False
            more = self.inflater is None and not self.whole and self.fault is None
            if more and await self._sink_into(sink):
                return False

    async def _sink_into(self, sink: Callable[[bytes], bool]) -> bool:
        """Sleep while the connection feeds the sink; whether the sink has had enough."""
        self.sink = sink
        self.waiter = self.loop.create_future()
        try:
            await self.wait(self.waiter)
            return not self.whole and self.fault is None
        finally:
            self.sink = None

    async def read_whole(self, limit: int) -> bytes:
        """The whole body, at most `limit` bytes; Fault PROVIDER_ERROR beyond, or where the body is cut."""
        try:
            if self.inflater is not None:
                return await self._read_all(limit)
            if not self.whole:
                await self._completion(limit)
        except Fault as fault:
            if fault.kind is not Kind.PROVIDER_CUT:
                raise
            # Nothing of it was delivered, so that the call may still go elsewhere.
            raise Fault(Kind.PROVIDER_ERROR, fault.message) from fault
        if self.size > limit:
            self.cancel()
            raise faults.too_large()
        return self._take()

    def cancel(self) -> None:
        """Stop the provider now: close the connection unless the reply is already whole. May be called twice."""
        line = self.line
        if line is not None:
            line.give_up(faults.cancelled())

    async def wait(self, waiter: asyncio.Future[None]) -> None:
        """Wait to be woken; a reader who is cancelled takes the connection along, so that the provider stops."""
        try:
            await waiter
        except asyncio.CancelledError:
            self.waiter = None
            self.cancel()
            raise

    async def _arrival(self) -> None:
        """Wait for a piece or the end; raise the fault if that is what comes."""
        while not self.pieces and self.fault is None and not self.whole:  # What came may be framing alone.
            self.waiter = self.loop.create_future()
            await self.wait(self.waiter)
        if self.fault is not None and not self.pieces:
            raise self.fault

    async def _completion(self, limit: int) -> None:
        """Wait for the end, or for more than `limit` bytes."""
        self.eager = False
        self.room = limit
        if self.line is not None and self.size <= limit:
            self.line.resume()
            self.waiter = self.loop.create_future()
            await self.wait(self.waiter)
        if self.fault is not None:
            raise self.fault

    def _take(self) -> bytes:
        pieces = self.pieces
        if not pieces:
            return b""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.size = 0
        if self.line is not None:
            self.line.resume()
        return data

    async def _read_inflated(self, inflater: Inflater) -> bytes:
        while True:
            try:
                plain = inflater.inflate()
            except Unreadable as error:
                self.cancel()
                raise faults.unreadable(begun=True) from error
            if plain:
                return plain
            if not self.pieces:
                await self._arrival()
            data = self._take()
            if not data:
                if not inflater.ended:
                    raise faults.cut()
                return b""
            inflater.feed(data)

    async def _read_all(self, limit: int) -> bytes:
        pieces, size = [], 0
        while piece := await self.read():
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                self.cancel()
                raise faults.too_large()
        return b"".join(pieces)
