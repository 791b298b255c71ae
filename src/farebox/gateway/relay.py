"""Relay: caller and provider speak the same dialect, so the provider's bytes go through.

A stream is split into events only to know where the end begins; what is withheld from there on leaves in one write
after the charge is durable. A plain reply is all end.
"""

from __future__ import annotations

import msgspec

from farebox.core.errors import Fault, Kind
from farebox.core.usage import Usage
from farebox.dialects.dialect import Cost, Dialect, Head, Mark, Names, Tap
from farebox.dialects.splice import UNREADABLE
from farebox.dialects.sse import Splitter, data_of


class _Relayed:
    """What both kinds of reply know from their tap."""

    def __init__(self, tap: Tap) -> None:
        self.ended = False
        self.fault: Fault | None = None
        self._tap = tap

    @property
    def usage(self) -> Usage | None:
        """The provider's own count, if it made sense."""
        return self._tap.usage

    @property
    def events(self) -> int:
        """Content events delivered or ready."""
        return self._tap.events

    @property
    def delivered_bytes(self) -> int:
        """The size of their content."""
        return self._tap.delivered_bytes

    @property
    def finished(self) -> bool:
        """Every choice has its finish reason."""
        return self._tap.finished

    @property
    def finish_reason(self) -> str | None:
        """The provider's word for how it finished."""
        return self._tap.finish_reason

    def fail(self, fault: Fault) -> bytes:
        """What ends a stream whose head has left."""
        return self._tap.fail(fault)


class RelayedStream(_Relayed):
    """A streamed reply going through."""

    def __init__(self, dialect: Dialect, head: Head, names: Names) -> None:
        super().__init__(dialect.tap(head, names))
        self._done = dialect.done(head)
        self._wants_usage = head.wants_usage
        self._splitter = Splitter()
        self._ready: list[bytes] = []
        self._end: list[bytes] = []
        self._delivered = (0, 0)  # Events and bytes that have left.

    def feed(self, data: bytes) -> None:
        """Split, classify, and put each event where it belongs."""
        for event in self._splitter.feed(data):
            if not self.ended:
                self._take(event)

    def _take(self, event: bytes) -> None:
        tap = self._tap
        mark = tap.see(event)
        if mark is Mark.DONE:
            self._finish(whole=tap.finish_reason is not None)
        elif mark is Mark.FAULT:
            self.fault, self.ended = tap.fault, True
        elif tap.finished:
            self._end.append(event)
        else:
            self._ready.append(tap.splice(event, None))

    def close(self) -> None:
        """A body that is over without a finish was cut, whatever the connection says."""
        rest = self._splitter.flush()
        if not self.ended and _is_event(rest):
            self._take(rest.rstrip() + b"\n\n")  # Some end a stream without its last blank line.
        if not self.ended:
            self._finish(whole=self._tap.finished)

    def _finish(self, *, whole: bool) -> None:
        self.ended = True
        if not whole:
            self.fault = Fault(Kind.PROVIDER_CUT, "The model's provider ended its answer early. Try again.")

    def ready(self) -> bytes:
        """What may leave now."""
        self._delivered = self._tap.events, self._tap.delivered_bytes
        if not self._ready:
            return b""
        data = b"".join(self._ready)
        self._ready.clear()
        return data

    def discard(self) -> None:
        """Forget what is ready: it will not leave, so it does not count."""
        self._ready.clear()
        self._tap.events, self._tap.delivered_bytes = self._delivered

    def end(self, cost: Cost, usage: Usage) -> bytes:
        """The finish, the usage, and the stream's own end mark."""
        _show(self._tap, usage)
        pieces = [self._tap.splice(event, cost) for event in self._end]
        if self._wants_usage:
            pieces.append(self._tap.usage_event(usage, cost))
        return b"".join((*pieces, self._done))


class RelayedReply(_Relayed):
    """A plain reply going through."""

    def __init__(self, dialect: Dialect, head: Head, names: Names) -> None:
        super().__init__(dialect.tap(head, names))
        self._body: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """Gather the body."""
        self._body.append(data)

    def close(self) -> None:
        """Read the whole of it; a fault if it is no reply."""
        self.ended = True
        if not self._tap.whole(self._whole()):
            self.fault = Fault(
                Kind.PROVIDER_ERROR, "The model's provider sent something that is no answer. Try again."
            )

    def ready(self) -> bytes:
        """Nothing leaves before the end."""
        return b""

    def discard(self) -> None:
        """Forget the reply: none of it will leave."""
        self._tap.events = self._tap.delivered_bytes = 0

    def end(self, cost: Cost, usage: Usage) -> bytes:
        """The whole reply."""
        _show(self._tap, usage)
        return self._tap.splice_whole(self._whole(), cost)

    def _whole(self) -> bytes:
        return self._body[0] if len(self._body) == 1 else b"".join(self._body)


def _show(tap: Tap, usage: Usage) -> None:
    """Let the tap show what was charged for; of an empty answer, which is free, what the provider counted."""
    if usage.total:
        tap.usage = usage


def _is_event(rest: bytes) -> bool:
    """Whether what follows the last blank line is a whole event but for its own; half of one never leaves."""
    data = data_of(rest).strip()
    if data.startswith(b"{"):
        try:
            msgspec.json.decode(data, type=msgspec.Raw)
        except UNREADABLE:
            return False
    return bool(data)
