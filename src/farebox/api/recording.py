"""A recording: an exchange that keeps what is answered on it, for a caller who may ask for the same once more.

Its last piece is held back until it is let go, so that it can be stored before it leaves. And the caller is not seen to
hang up: who names a call by a key comes back for its reply, so the call is carried to its end. Only where its reply can
not be kept (it is too large), or the server is on its way out, a caller who has left ends it as any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from farebox.api.exchange import Exchange
from farebox.features.idempotency.reply import REPLY_BYTES_MAX, Reply


class Recording(Exchange):
    """Answers on `inner`, and keeps a copy."""

    __slots__ = ("_given_up", "_headers", "_inner", "_last", "_pieces", "_size")

    def __init__(self, inner: Exchange) -> None:
        # Not its parent's: what that has of the connection is asked of `inner`.
        self.begun = self.done = False
        self.status = 0
        self._inner = inner
        self._headers = b""
        self._pieces: list[bytes] = []
        self._size = 0
        self._given_up: Callable[[], object] | None = None  # What ends the call if its caller has left.
        self._last: Callable[[], None] | None = None

    @property
    def gone(self) -> bool:
        """The caller has hung up, and nobody will come back for the reply."""
        return self._inner.gone and (self._inner.draining or self.too_large)

    @property
    def too_large(self) -> bool:
        """More was answered than is kept."""
        return self._size > REPLY_BYTES_MAX

    @property
    def peer(self) -> str:
        """The address the request came from."""
        return self._inner.peer

    @property
    def task(self) -> asyncio.Task[None]:
        """The task that answers the caller."""
        return self._inner.task

    @property
    def draining(self) -> bool:
        """The server is on its way out."""
        return self._inner.draining

    @property
    def slow(self) -> bool:
        """The caller has yet to read what was written."""
        return self._inner.slow

    async def drained(self) -> None:
        """Wait while the caller reads more slowly than we write."""
        await self._inner.drained()

    def break_off(self) -> None:
        """Close without an end."""
        self.done = True
        self._inner.break_off()

    def leave(self) -> None:
        """Run what is to be done when the caller is gone, or has to go."""
        self._inner.leave()

    def on_gone(self, action: Callable[[], object] | None) -> None:
        """What to do when the caller is gone for good, or has to go."""
        self._given_up = action
        self._inner.on_gone(action and self._leave)

    def answer(self, status: int, headers: bytes, body: bytes) -> None:
        """Keep a whole answer, and hold it back."""
        self._take_head(status, headers)
        self._take(body)
        self.done = True
        self._last = lambda: self._inner.answer(status, headers, body)

    def begin(self, status: int, headers: bytes) -> None:
        """Send the head of a streamed answer."""
        self._take_head(status, headers)
        self._inner.begin(status, headers)

    def write(self, data: bytes) -> None:
        """Send a piece of a streamed answer."""
        self._take(data)
        self._inner.write(data)
        if self.gone:
            self._leave()

    def finish(self, data: bytes) -> None:
        """Keep the last piece, and hold it back."""
        self._take(data)
        self.done = True
        self._last = lambda: self._inner.finish(data)

    def let_go(self) -> None:
        """Send what was held back."""
        if self._last is not None:
            self._last()

    def reply(self, common: bytes) -> Reply | None:
        """What was answered, but for the header lines that every answer to its caller has; None if it is too large."""
        if self.too_large:
            return None
        return Reply(self.status, _without(self._headers, common), b"".join(self._pieces))

    def reply_with(self, headers: bytes, end: bytes, common: bytes) -> Reply | None:
        """What will have been answered once the end has left; `headers` if nothing has yet."""
        if self._size + len(end) > REPLY_BYTES_MAX:
            return None
        lines = _without(self._headers if self.begun else headers, common)
        return Reply(self.status or 200, lines, b"".join((*self._pieces, end)))

    def _leave(self) -> None:
        """The connection is lost, or has to be: the call ends only if that is for good."""
        if self._given_up is not None and (self.gone or not self._inner.gone):
            self._given_up()

    def _take_head(self, status: int, headers: bytes) -> None:
        self.begun = True
        self.status, self._headers = status, headers

    def _take(self, data: bytes) -> None:
        self._size += len(data)
        if self.too_large:
            self._pieces.clear()
        else:
            self._pieces.append(data)


def _without(headers: bytes, common: bytes) -> bytes:
    """Header lines without those whose names are among the common ones."""
    names = {line.partition(b":")[0] for line in common.split(b"\r\n")}
    return b"".join(
        line + b"\r\n" for line in headers.split(b"\r\n") if line and line.partition(b":")[0] not in names
    )
