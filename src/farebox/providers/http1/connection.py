"""One connection to a provider: it writes a request, parses the reply into a Reply, and keeps time.

How it works. A connection serves one exchange at a time: `exchange` writes head and body, and waits for the head of
the reply. Bytes go through one parser for the connection's whole life; its callbacks only note what came, and
`data_received` decides once per read what follows: wake the reader, pause the socket, finish, or give up.

Time limits cost nothing per piece: a read notes when it happened, and one timer, armed for the earliest moment at
which a limit can have passed, looks at the note and arms itself again. So a busy connection has one timer a minute.

Nothing of one reply can leak into the next: a byte that nobody asked for, before a request or behind a whole reply,
closes the connection instead of returning it to the pool.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

import httptools

from farebox.core.errors import Fault
from farebox.providers.http1 import faults
from farebox.providers.http1.inflate import Inflater, Unreadable
from farebox.providers.http1.reply import Headers, Reply
from farebox.providers.upstream import TimeLimits

HEAD_BYTES = (
    64 * 1024
)  # Of a reply's head, its interim heads included; of trailers or framing with no body between.
ONE_WRITE_BYTES = (
    64 * 1024
)  # A body up to this leaves with its head in one write; a larger one in parts, as taken.
_OK, _NO_CONTENT, _NOT_MODIFIED, _LAST = 200, 204, 304, 599
_SWITCHING = 101
_CONTINUE = 100


class Owner(Protocol):
    """Whoever lends a connection out."""

    def joined(self, connection: Connection) -> None:
        """The connection is open."""

    def release(self, connection: Connection) -> None:
        """The connection is free for the next request."""

    def lost(self, connection: Connection) -> None:
        """The connection is gone."""


class Connection(asyncio.Protocol):
    """One socket, plain or TLS, and the parser of the replies that come over it."""

    __slots__ = (
        "_complete", "_drained", "_dry", "_expires", "_heard", "_idle_s", "_keep_alive", "_loop", "_owner",
        "_parser", "_patience_s", "_paused", "_raw", "_reply", "_served", "_timer", "_timer_at", "_transport",
        "_until_close",
        "_uploading", "_write_blocked",
    )  # fmt: skip

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop) -> None:
        self._owner = owner
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._reply: Reply | None = None  # The one that is coming.
        self._served = False  # Whether a reply has come whole before.
        # Of the exchange that is on:
        self._raw: list[tuple[bytes, bytes]] = []
        self._dry = 0  # Bytes since the last piece of body; before the head, since the request.
        self._complete = False
        self._keep_alive = False
        self._until_close = False  # The body has no length: the end of the connection is its end.
        self._uploading = False
        # Flow control:
        self._paused = False
        self._write_blocked = False
        self._drained: asyncio.Future[None] | None = None
        # Time:
        self._heard = 0.0  # When something moved last.
        self._patience_s = 0.0  # How long nothing may move in this phase.
        self._idle_s = 0.0
        self._expires = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    @property
    def usable(self) -> bool:
        """Whether a request may be written: open, as far as we know, and nothing under way."""
        transport = self._transport
        return transport is not None and self._reply is None and not transport.is_closing()

    async def exchange(self, head: bytes, body: bytes, limits: TimeLimits, *, stream: bool) -> Reply:
        """Send one request; the reply comes back with its head, or with `fault` set and no status."""
        waiter = self._loop.create_future()
        reply = self._reply = Reply(self, waiter)
        now = self._heard = self._loop.time()
        self._expires = now + (limits.stream_total_s if stream else limits.total_s)
        self._idle_s = limits.idle_s
        self._patience_s = limits.first_byte_s
        self._dry = 0
        self._complete = False
        self._raw = []
        transport = self._transport
        assert transport is not None
        if len(body) <= ONE_WRITE_BYTES:
            transport.write(head + body)
        else:
            transport.write(head)
            await self._upload(body, reply)
        if self._reply is reply:
            self._arm()
        await reply.wait(waiter)
        if self._reply is reply:
            self._arm()  # More is to come, under another limit than the head was.
        return reply

    def resume(self) -> None:
        """The reader has made room: read on, and count its silence from now."""
        if self._paused:
            self._paused = False
            self._heard = self._loop.time()
            self._arm()
            if self._transport is not None:
                self._transport.resume_reading()

    def give_up(self, fault: Fault) -> None:
        """Close at once; `fault` is what the reader of the reply finds."""
        reply, self._reply = self._reply, None
        if reply is not None:
            reply.fail(fault)
        self.drop()

    def drop(self) -> None:
        """Close the socket now, whatever is still to be written."""
        if self._transport is not None:
            self._transport.abort()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open, its TLS handshake done."""
        self._transport = cast("asyncio.Transport", transport)
        self._owner.joined(self)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        reply = self._reply
        if reply is None:
            # Such as the 408 some servers send on an idle connection before they close it.
            self.drop()
            return
        self._heard = self._loop.time()
        self._dry += len(data)
        readable = self._parse(data)
        if self._complete:
            # Rubbish behind a whole reply spoils the connection, not the reply.
            self._finish(reply, reuse=readable and self._keep_alive)
        elif not readable or self._dry > HEAD_BYTES:
            self.give_up(faults.unreadable(begun=reply.status > 0))
        elif reply.status:
            if reply.size > reply.room and not self._paused:
                self._paused = True
                cast("asyncio.Transport", self._transport).pause_reading()
            reply.notify()

    def eof_received(self) -> bool:
        """The provider will send no more; half-open connections are of no use to us."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed, by whomever."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        del self._parser  # It holds our methods; a cycle would wait for the collector.
        self._owner.lost(self)
        self._wake_upload()
        reply, self._reply = self._reply, None
        if reply is None:
            return
        if not reply.status:
            reply.stale = self._served and not self._dry
            reply.fail(_caused(faults.no_answer(), exc))
        elif self._until_close and exc is None:
            reply.finish()
        else:
            reply.fail(_caused(faults.cut(), exc))

    def pause_writing(self) -> None:
        """The provider takes the request more slowly than we write it."""
        self._write_blocked = True

    def resume_writing(self) -> None:
        """What was written is on its way."""
        self._write_blocked = False
        self._wake_upload()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A head begins; behind a whole reply it is one that nobody asked for."""
        if self._complete:
            raise Unreadable

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or trailer."""
        self._raw.append((name, value))

    def on_headers_complete(self) -> None:
        """A head is whole: the reply's, or an interim one before it."""
        status = self._parser.get_status_code()
        raw, self._raw = self._raw, []
        if _CONTINUE <= status < _OK and status != _SWITCHING:
            return
        if not _OK <= status <= _LAST:
            raise Unreadable
        coding, framed = _framing(raw)
        reply = self._reply
        assert reply is not None
        # Asked now, for once the message is complete the parser has forgotten.
        self._keep_alive = self._parser.should_keep_alive()
        self._until_close = not framed and status not in {_NO_CONTENT, _NOT_MODIFIED}
        self._patience_s = self._idle_s
        self._dry = 0
        reply.begin(status, Headers(raw), Inflater(coding) if coding else None)

    def on_body(self, data: bytes) -> None:
        """A piece of the body, freed of its chunks."""
        reply = self._reply
        assert reply is not None
        reply.pieces.append(data)
        reply.size += len(data)
        self._dry = 0

    def on_message_complete(self) -> None:
        """A message is whole; an interim one has left no status."""
        reply = self._reply
        assert reply is not None
        self._complete = reply.status > 0

    # What happens then.

    def _parse(self, data: bytes) -> bool:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, Unreadable):
                raise  # A bug of ours.
            return False
        except httptools.HttpParserError:
            return False
        return True

    def _finish(self, reply: Reply, *, reuse: bool) -> None:
        self._reply = None
        self._served = True
        reply.finish()
        if self._paused:
            self._paused = False
            cast("asyncio.Transport", self._transport).resume_reading()
        # An answer before the request was all sent leaves the connection in the middle of that request.
        if reuse and not self._uploading:
            self._owner.release(self)
        else:
            self.drop()

    async def _upload(self, body: bytes, reply: Reply) -> None:
        """Write a large body as fast as the provider takes it, until it answers."""
        self._uploading = True
        first_byte_s, self._patience_s = self._patience_s, self._idle_s
        self._arm()
        view = memoryview(body)
        for start in range(0, len(body), ONE_WRITE_BYTES):
            if self._write_blocked:
                self._drained = self._loop.create_future()
                await reply.wait(self._drained)
                self._heard = self._loop.time()
            if self._reply is not reply or reply.status:
                return
            cast("asyncio.Transport", self._transport).write(view[start : start + ONE_WRITE_BYTES])
        self._uploading = False
        self._patience_s = first_byte_s
        self._heard = self._loop.time()

    def _wake_upload(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def _due(self) -> float:
        """The moment at which a limit will have passed, as far as is known now."""
        if self._paused:
            return self._expires  # It is our reader who is slow.
        return min(self._heard + self._patience_s, self._expires)

    def _arm(self) -> None:
        """Make sure the timer fires no later than the next limit; earlier is harmless, so it is seldom moved."""
        due = self._due()
        if self._timer is not None:
            if self._timer_at <= due:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._look)
        self._timer_at = due

    def _look(self) -> None:
        self._timer = None
        reply = self._reply
        if reply is None:
            return
        now = self._loop.time()
        if self._due() > now:
            self._arm()
        elif self._expires <= now:
            self.give_up(faults.too_long())
        elif reply.status or self._uploading:
            self.give_up(faults.silent())
        else:
            self.give_up(faults.no_answer_in_time())


def _framing(raw: list[tuple[bytes, bytes]]) -> tuple[bytes, bool]:
    """The body's content coding (empty if none), and whether the head says where the body ends."""
    size, coding, framed = 0, b"", False
    for name, value in raw:
        size += len(name) + len(value)
        if 14 <= len(name) <= 17:  # noqa: PLR2004 -- the lengths of the three names below spare the others a copy
            key = name.lower()
            if key == b"content-length":
                framed = True
            elif key == b"transfer-encoding":
                if value.strip().lower() != b"chunked":
                    raise Unreadable
                framed = True
            elif key == b"content-encoding" and value.strip().lower() != b"identity":
                coding = value
    if size > HEAD_BYTES:
        raise Unreadable
    return coding, framed


def _caused(fault: Fault, cause: Exception | None) -> Fault:
    fault.__cause__ = cause
    return fault
