"""Translate: provider and caller speak different dialects, or something rewrote the prompt.

The provider's bytes become events, the events become bytes of the caller's dialect; a plain reply is the same with
everything withheld.
"""

from __future__ import annotations

import msgspec

from farebox.core.errors import Fault
from farebox.core.usage import Usage
from farebox.dialects.conversation import (
    Began,
    Event,
    Failed,
    Finished,
    Media,
    Opaque,
    Part,
    PartBegan,
    PartEnded,
    PartGrew,
    Text,
    Thought,
    ToolCall,
    ToolResult,
)
from farebox.dialects.dialect import Cost, Dialect, Head, Names, Reader


class TranslatedAnswer:
    """A reply on its way from one dialect into another; `reader` knows the first, and in which form it comes."""

    def __init__(self, reader: Reader, target: Dialect, head: Head, names: Names) -> None:
        self.usage: Usage | None = None
        self.events = 0
        self.delivered_bytes = 0
        self.finished = False
        self.finish_reason: str | None = None
        self.ended = False
        self.fault: Fault | None = None
        self._stream = head.stream
        self._target, self._head, self._names = target, head, names
        self._begun = False  # Something of the writer's has left.
        self._reader = reader
        self._writer = target.writer(head, names)
        self._done = target.done(head) if head.stream else b""
        self._ready: list[bytes] = []
        self._delivered = (0, 0)  # Events and bytes that have left.
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
            self.usage, self.fault, self.ended = event.usage or self.usage, event.fault, True
            return
        if isinstance(event, Finished):
            self.usage, self.finish_reason = event.usage or self.usage, event.reason
            self._finish, self.finished = event, True
            return
        size = _content_bytes(event)
        if size:
            self.events += 1
            self.delivered_bytes += size
        self._ready.append(self._writer.write(event))

    def ready(self) -> bytes:
        """What may leave now; of a plain reply nothing."""
        if not self._stream:
            return b""
        self._delivered = self.events, self.delivered_bytes
        data = b"".join(self._ready)
        self._ready.clear()
        self._begun = self._begun or bool(data)
        return data

    def discard(self) -> None:
        """Forget what is ready: it will not leave, so it does not count."""
        self._ready.clear()
        self.events, self.delivered_bytes = self._delivered

    def end(self, cost: Cost, usage: Usage) -> bytes:
        """The finish with what was charged for (of an empty answer, which is free, with what the provider counted)
        and the stream's end mark.
        """
        finish = self._finish
        assert finish is not None
        told = usage if usage.total else finish.usage or usage
        last = self._writer.write(msgspec.structs.replace(finish, usage=told), cost)
        return b"".join((*self._ready, last, self._done))

    def fail(self, fault: Fault) -> bytes:
        """What ends a stream whose head has left; a writer nothing of which has left begins anew."""
        writer = self._writer if self._begun else self._target.writer(self._head, self._names)
        return writer.fail(fault)


def _content_bytes(event: Event) -> int:
    """How many bytes an event adds to the answer; a part that comes whole is content by itself."""
    match event:
        case PartGrew():
            return len(event.text.encode())
        case PartBegan():
            return _begun_bytes(event.part)
        case Began() | PartEnded() | Finished() | Failed():
            return 0


def _begun_bytes(part: Part) -> int:
    match part:
        case Text():
            return len(part.text.encode())
        case Thought():
            return len(part.text.encode()) or part.redacted
        case ToolCall():
            return len(part.name.encode()) + len(part.arguments.encode())
        case Media() | Opaque() | ToolResult():
            return 1  # Its size says nothing about its tokens.
