"""An exchange: the answer to one request on its connection. It is what the gateway knows of a caller."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

_REASONS = {
    200: b"OK", 202: b"Accepted", 204: b"No Content", 400: b"Bad Request", 401: b"Unauthorized",
    402: b"Payment Required", 403: b"Forbidden", 404: b"Not Found", 405: b"Method Not Allowed",
    408: b"Request Timeout", 409: b"Conflict", 410: b"Gone", 413: b"Content Too Large", 414: b"URI Too Long",
    415: b"Unsupported Media Type", 422: b"Unprocessable Content", 429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error", 502: b"Bad Gateway", 503: b"Service Unavailable", 504: b"Gateway Timeout",
}  # fmt: skip
_STATUS_LINES = {status: b"HTTP/1.1 %d %b\r\n" % (status, reason) for status, reason in _REASONS.items()}


class Line(Protocol):
    """What an exchange needs of the connection it is on."""

    lost: bool
    waiting: asyncio.Future[None] | None  # Set while the caller reads more slowly than we write.

    @property
    def task(self) -> asyncio.Task[None]:
        """The task that answers on it now."""

    @property
    def peer(self) -> str:
        """The address at its other end."""

    @property
    def draining(self) -> bool:
        """The server is on its way out."""

    @property
    def date(self) -> bytes:
        """The date header's line."""

    def send(self, data: bytes) -> None:
        """Write, unless there is nobody to write to."""

    def answered(self, *, keep_alive: bool) -> None:
        """The answer is complete."""


class Exchange:
    """One request's answer on its connection: the `Caller` of the gateway."""

    __slots__ = ("_action", "_bodiless", "_chunked", "_connection", "_keep_alive", "begun", "done", "status")

    def __init__(self, connection: Line, *, keep_alive: bool, chunked: bool, bodiless: bool) -> None:
        self.begun = False
        self.done = False
        self.status = 0
        self._connection = connection
        self._keep_alive = keep_alive
        self._chunked = chunked
        self._bodiless = bodiless  # The answer to HEAD: what GET would say, without saying it.
        self._action: Callable[[], object] | None = None

    @property
    def gone(self) -> bool:
        """The caller has hung up."""
        return self._connection.lost

    @property
    def peer(self) -> str:
        """The address the request came from."""
        return self._connection.peer

    @property
    def task(self) -> asyncio.Task[None]:
        """The task that answers the caller."""
        return self._connection.task

    def on_gone(self, action: Callable[[], object] | None) -> None:
        """What to do at once when the caller hangs up."""
        self._action = action

    def leave(self) -> None:
        """Run what is to be done when the caller is gone, or has to go."""
        if self._action is not None:
            self._action()

    @property
    def draining(self) -> bool:
        """The server is on its way out: what is under way may finish, nothing new begins."""
        return self._connection.draining

    def answer(self, status: int, headers: bytes, body: bytes) -> None:
        """Send a whole answer in one write."""
        self.begun = self.done = True
        self.status = status
        self._connection.send(
            b"%b%b%bcontent-length: %d\r\n%b\r\n%b"
            % (
                _status_line(status),
                self._connection.date,
                headers,
                len(body),
                self._ending(),
                b"" if self._bodiless else body,
            )
        )
        self._connection.answered(keep_alive=self._keeps_alive())

    def begin(self, status: int, headers: bytes) -> None:
        """Send the head of a streamed answer."""
        self.begun = True
        self.status = status
        framing = b"transfer-encoding: chunked\r\n" if self._chunked else b""
        self._connection.send(
            b"%b%b%b%b%b\r\n"
            % (_status_line(status), self._connection.date, headers, framing, self._ending())
        )

    def write(self, data: bytes) -> None:
        """Send a piece of a streamed answer."""
        if data:
            self._connection.send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def finish(self, data: bytes) -> None:
        """Send the last piece and the end of the body in one write."""
        self.done = True
        if self._chunked:
            data = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n"
        self._connection.send(data)
        self._connection.answered(keep_alive=self._keeps_alive() and self._chunked)

    @property
    def slow(self) -> bool:
        """The caller has yet to read what was written."""
        return self._connection.waiting is not None

    async def drained(self) -> None:
        """Wait while the caller reads more slowly than we write."""
        waiting = self._connection.waiting
        if waiting is not None:
            await waiting

    def break_off(self) -> None:
        """Close without an end: the caller must not take what it has for whole."""
        self.done = True
        self._connection.answered(keep_alive=False)

    def _keeps_alive(self) -> bool:
        return self._keep_alive and not self._connection.draining

    def _ending(self) -> bytes:
        return b"" if self._keeps_alive() else b"connection: close\r\n"


def _status_line(status: int) -> bytes:
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d Status\r\n" % status
