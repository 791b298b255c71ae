"""Relay: caller and provider speak the same dialect, so the provider's bytes go through.

A stream is split into events only to know where the end begins; what is withheld from there on leaves in one write
after the charge is durable. A plain reply is all end.
"""

from __future__ import annotations

from farebox.core.errors import Fault, Kind
from farebox.core.usage import Usage
from farebox.dialects.dialect import Cost, Dialect, Head, Mark, Names
from farebox.dialects.sse import Splitter

_SHOWN = (Mark.CONTENT, Mark.EMPTY)


class RelayedStream:
    """A streamed reply going through."""

    def __init__(self, dialect: Dialect, head: Head, names: Names) -> None:
        self.ended = False
        self._dialect = dialect
        self._wants_usage = head.wants_usage
        self._tap = dialect.tap(head, names)
        self._splitter = Splitter()
        self._ready: list[bytes] = []
        self._end: list[bytes] = []
        self._usage_shown = False
        self._fault: Fault | None = None

    @property
    def usage(self) -> Usage | None:
        return self._tap.usage

    @property
    def events(self) -> int:
        return self._tap.events

    @property
    def delivered_bytes(self) -> int:
        return self._tap.delivered_bytes

    @property
    def finished(self) -> bool:
        return self._tap.finished

    @property
    def finish_reason(self) -> str | None:
        return self._tap.finish_reason

    @property
    def fault(self) -> Fault | None:
        return self._fault

    def feed(self, data: bytes) -> None:
        """Split, classify, and put each event where it belongs."""
        tap = self._tap
        for event in self._splitter.feed(data):
            mark = tap.see(event)
            if mark is Mark.DONE:
                self.ended = True
            elif mark is Mark.FAULT:
                self._fault, self.ended = tap.fault, True
            elif tap.finished:
                self._usage_shown |= mark is Mark.USAGE or (mark is Mark.FINISH and tap.usage is not None)
                self._end.append(event)
            else:
                self._ready.append(tap.splice(event, None))

    def close(self) -> None:
        """A body that is over without a finish was cut, whatever the connection says."""
        self.ended = True
        if not self._tap.finished and self._fault is None:
            self._fault = Fault(Kind.PROVIDER_CUT, "The model's provider ended its answer early. Try again.")

    def ready(self) -> bytes:
        """What may leave now."""
        if not self._ready:
            return b""
        data = b"".join(self._ready)
        self._ready.clear()
        return data

    def end(self, cost: Cost, usage: Usage) -> bytes:
        """The finish, the usage, and the stream's own end mark."""
        pieces = [self._tap.splice(event, cost) for event in self._end]
        if self._wants_usage and not self._usage_shown:
            pieces.append(self._tap.usage_event(usage, cost))
        return b"".join((*pieces, self._dialect.done))


class RelayedReply:
    """A plain reply going through."""

    def __init__(self, dialect: Dialect, head: Head, names: Names) -> None:
        self.ended = False
        self.fault: Fault | None = None
        self._tap = dialect.tap(head, names)
        self._body: list[bytes] = []

    @property
    def usage(self) -> Usage | None:
        return self._tap.usage

    @property
    def events(self) -> int:
        return self._tap.events

    @property
    def delivered_bytes(self) -> int:
        return self._tap.delivered_bytes

    @property
    def finished(self) -> bool:
        return self._tap.finished

    @property
    def finish_reason(self) -> str | None:
        return self._tap.finish_reason

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

    def end(self, cost: Cost, usage: Usage) -> bytes:  # noqa: ARG002 -- a plain reply shows the provider's own usage
        """The whole reply."""
        return self._tap.splice_whole(self._whole(), cost)

    def _whole(self) -> bytes:
        return self._body[0] if len(self._body) == 1 else b"".join(self._body)
