"""How chunks follow one another on the wire: server-sent events, or the elements of one JSON array.

Google's own clients read `data: ` lines and blank lines and nothing else; its Python client of version 1 also ends a
line at U+2028, U+2029 and U+0085, so a chunk holds none of them bare.
"""

from __future__ import annotations

from typing import Final

import msgspec

from farebox.core.errors import Fault
from farebox.dialects.gemini.failure import error_object

DATA: Final = b"data: "
END: Final = b"\r\n\r\n"
FIRST: Final = b"["
NEXT: Final = b",\r\n"
LAST: Final = b"]"
_LINE_ENDS: Final = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))


class Frames:
    """The framing of one stream."""

    def __init__(self, *, array: bool) -> None:
        self.tail = b"" if array else END
        self._lead = FIRST if array else DATA
        self._next = NEXT if array else DATA
        self._array = array

    def lead(self) -> bytes:
        """What stands before the next chunk."""
        lead, self._lead = self._lead, self._next
        return lead

    def fail(self, fault: Fault, *, begun: bool) -> bytes:
        """The chunk of an error, and the end of the stream; `begun`: a chunk before it has left."""
        error = b'{"error":%b}' % error_object(fault)
        if not self._array:
            return DATA + error + END
        return (NEXT if begun and self._lead == NEXT else FIRST) + error + LAST


def one_line(text: bytes) -> bytes:
    """JSON text without a line end in it, whatever a client takes for one."""
    if b"\n" in text or b"\r" in text:
        text = msgspec.json.format(text, indent=-1)
    if text.isascii():
        return text
    for bare, escaped in _LINE_ENDS:
        if bare in text:
            text = text.replace(bare, escaped)
    return text
