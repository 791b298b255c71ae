"""Translate: provider and caller speak different dialects, or something rewrote the prompt.

The provider's bytes become events, the events become bytes of the caller's dialect; a plain reply is the same with
everything withheld.
"""

from __future__ import annotations

import msgspec

from farebox.core.errors import Fault
from farebox.core.usage import Usage
from farebox.dialects.conversation import Event, Failed, Finished, PartGrew
from farebox.dialects.dialect import Cost, Dialect, Head, Names


class TranslatedAnswer:
    """A reply on its way from one dialect into another."""

    def __init__(self, source: Dialect, target: Dialect, head: Head, names: Names) -> None:
        self.usage: Usage | None = None
        self.events = 0
        self.delivered_bytes = 0
        self.finished = False
        self.finish_reason: str | None = None
        self.ended = False
        self.fault: Fault | None = None
        self._stream = head.stream
        self._reader = source.reader(stream=head.stream)
        self._writer = target.writer(head, names)
        self._done = target.done
        self._ready: list[bytes] = []
        self._finish: Finished | None = None

    def feed(self, data: bytes) -> None:
        """Read events and write them at once, but for the last."""
        for event in self._reader.feed(data):
            self._take(event)

    def close(self) -> None:
        """Let the reader say how it ended."""
        for event in self._reader.end():
            self._take(event)
        self.ended = True

    def _take(self, event: Event) -> None:
        if isinstance(event, Failed):
            self.fault, self.ended = event.fault, True
            return
        if isinstance(event, Finished):
            self.usage, self.finish_reason = event.usage or self.usage, event.reason
            self._finish, self.finished = event, True
            return
        if isinstance(event, PartGrew) and event.text:
            self.events += 1
            self.delivered_bytes += len(event.text.encode())
        self._ready.append(self._writer.write(event))

    def ready(self) -> bytes:
        """What may leave now; of a plain reply nothing."""
        if not self._stream or not self._ready:
            return b""
        data = b"".join(self._ready)
        self._ready.clear()
        return data

    def end(self, cost: Cost, usage: Usage) -> bytes:
        """The finish with what was charged, and the stream's end mark."""
        assert self._finish is not None
        last = self._writer.write(msgspec.structs.replace(self._finish, usage=usage), cost)
        return b"".join((*self._ready, last, self._done if self._stream else b""))
