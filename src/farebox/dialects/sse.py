"""Server-sent events: a byte stream split into whole events, and the data inside one. No I/O.

An event ends with the first blank line after it began; a line ends with LF or CRLF, and a stream may mix them. (The
specification also knows a lone CR, which no provider sends and JSON text cannot hold unescaped.) Events are given
whole, blank line included, so that joined they are the stream again: a relay passes on exactly what it got. An event
may therefore be blank, or begin with blank lines, or hold nothing but a comment; `data_of` sees through that.
"""

from __future__ import annotations

import re

from farebox.core.errors import Fault, Kind

# No event of a text is near this; one that large is a provider gone wrong, and would be held in memory whole.
EVENT_BYTES_MAX = 4 * 1024 * 1024
_BLANK = re.compile(rb"\n\r?\n")
_BLANK_BYTES_MAX = 3


class Splitter:
    """Cuts one stream into events. Fast where it matters: a piece that is whole events costs one or two searches."""

    def __init__(self) -> None:
        self._rest = bytearray()  # The event that is not whole yet.

    def feed(self, data: bytes) -> list[bytes]:
        """The events that `data` completes; Fault PROVIDER_ERROR if one exceeds EVENT_BYTES_MAX."""
        size = len(data)
        # The common case: one event of one line. Everything else may take its time.
        if (
            data.find(b"\n") == size - 2
            and data.endswith(b"\n")
            and not self._rest
            and size <= EVENT_BYTES_MAX
        ):
            return [data]
        if self._rest:
            # A blank line may lie across the seam; what came before that was searched already.
            start = max(len(self._rest) - _BLANK_BYTES_MAX + 1, 0)
            self._rest += data
            if _BLANK.search(self._rest, start) is None:
                self._check(len(self._rest))
                return []
            data = bytes(self._rest)
            self._rest.clear()
        events = self._split(data)
        if len(data) > EVENT_BYTES_MAX:
            self._check(max(map(len, (self._rest, *events))))
        return events

    def flush(self) -> bytes:
        """What came after the last whole event: at the end of a body, an event without its blank line."""
        rest = bytes(self._rest)
        self._rest.clear()
        return rest

    def _split(self, data: bytes) -> list[bytes]:
        if data.find(b"\r") < 0:
            pieces = data.split(b"\n\n")
            self._rest += pieces.pop()
            return [piece + b"\n\n" for piece in pieces]
        events, start = [], 0
        for blank in _BLANK.finditer(data):
            events.append(data[start : blank.end()])
            start = blank.end()
        self._rest += data[start:]
        return events

    def _check(self, size: int) -> None:
        if size > EVENT_BYTES_MAX:
            raise Fault(
                Kind.PROVIDER_ERROR, "The model's provider sent an answer that cannot be read. Try again."
            )


def data_of(event: bytes) -> bytes:
    """The data of one event, its lines joined by LF; empty for a comment, a blank line or a bare event name."""
    # The common case: one line `data: …` and its blank line.
    if event.startswith(b"data: ") and event.find(b"\n") == len(event) - 2:
        return event[6:-2].removesuffix(b"\r")
    lines = (line.removesuffix(b"\r") for line in event.removeprefix(b"\xef\xbb\xbf").split(b"\n"))
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:"))
