"""A stream as one JSON array, `[{…},{…}]`: bytes → whole elements, at any cut, in one pass. No I/O.

Only brackets and quotes are looked at, each byte once; what they mean is told by how deep we are and whether inside a
string. An element is valid JSON or not: its decoder says.
"""

from __future__ import annotations

import re

from farebox.core.errors import Fault, Kind
from farebox.dialects.sse import EVENT_BYTES_MAX

_OUTSIDE = re.compile(rb'["{}\[\]]')
_INSIDE = re.compile(rb'["\\]')
_QUOTE, _BACKSLASH = ord('"'), ord("\\")
_OPENING = b"{["


class ArraySplitter:
    """Cuts one array into its elements, which are objects."""

    def __init__(self) -> None:
        self._text = bytearray()  # From the beginning of the element that is not whole yet.
        self._at = 0  # Up to where it was looked at.
        self._depth = 0  # 1: inside the array, between elements.
        self._quoted = False
        self._start = 0  # Where the element begins.
        self.over = False  # The array's own end was seen.

    def feed(self, data: bytes) -> list[bytes]:
        """The elements that `data` completes; Fault PROVIDER_ERROR if one exceeds EVENT_BYTES_MAX."""
        if self.over:
            return []
        text = self._text
        text += data
        found: list[bytes] = []
        while not self.over:
            match = (_INSIDE if self._quoted else _OUTSIDE).search(text, self._at)
            if match is None:
                break
            at = match.start()
            self._at = at + 1
            byte = text[at]
            if byte == _BACKSLASH:
                self._at += 1  # What it escapes is no end, whether it is here already or not.
            elif byte == _QUOTE:
                self._quoted = not self._quoted
            else:
                self._bracket(byte, at, found)
        self._forget()
        return found

    def _bracket(self, byte: int, at: int, found: list[bytes]) -> None:
        if byte in _OPENING:
            self._depth += 1
            if self._depth == 2:  # noqa: PLR2004 -- the array, and its element
                self._start = at
            return
        self._depth -= 1
        if self._depth == 1:
            found.append(bytes(self._text[self._start : at + 1]))
            self._start = at + 1
        elif self._depth <= 0:
            self.over = True

    def _forget(self) -> None:
        """Drop what was given out; what is looked for next may lie behind what is here."""
        at = max(self._at, len(self._text)) if self._at < len(self._text) else self._at
        done = min(self._start if self._depth > 1 else at, len(self._text))
        del self._text[:done]
        self._at, self._start = at - done, self._start - done
        if len(self._text) > EVENT_BYTES_MAX:
            raise Fault(
                Kind.PROVIDER_ERROR, "The model's provider sent an answer that cannot be read. Try again."
            )
