"""gzip and deflate, inflated a bounded piece at a time: a bomb costs its reader one piece, never its whole size."""

from __future__ import annotations

import zlib

PIECE_BYTES = 64 * 1024  # What one call gives at most.
_GZIP = 16 + zlib.MAX_WBITS
_ZLIB = zlib.MAX_WBITS
_RAW = -zlib.MAX_WBITS
_ZLIB_METHOD = 8  # Low half of a zlib stream's first byte (RFC 1950, 2.2).


class Unreadable(Exception):  # noqa: N818 -- not an error of ours: the parser's callbacks refuse what came with it
    """What came cannot be read."""


class Inflater:
    """Inflates one body. Feed it whenever `inflate` gives nothing; ask `ended` at the end of the body."""

    def __init__(self, coding: bytes) -> None:
        """Take the value of a content-encoding header: gzip or deflate; Unreadable if it is neither."""
        name = coding.strip().lower()
        if name not in {b"gzip", b"x-gzip", b"deflate"}:
            raise Unreadable
        self._gzip = name != b"deflate"
        self._zlib: zlib._Decompress | None = None
        self._rest = b""

    @property
    def ended(self) -> bool:
        """Whether the last member is whole (a body of no bytes at all is whole too)."""
        return not self._rest and (self._zlib is None or self._zlib.eof)

    def feed(self, data: bytes) -> None:
        """Add compressed bytes."""
        self._rest += data

    def inflate(self) -> bytes:
        """The next plain bytes, at most PIECE_BYTES; empty when more must be fed. Unreadable if corrupt."""
        plain = b""
        while not plain:
            if self._zlib is None or self._zlib.eof:
                if not self._rest:
                    return b""
                self._zlib = zlib.decompressobj(self._window())  # A gzip body may hold several members.
            fed = self._rest
            try:
                plain = self._zlib.decompress(fed, PIECE_BYTES)
            except zlib.error as error:
                raise Unreadable from error
            self._rest = self._zlib.unused_data if self._zlib.eof else self._zlib.unconsumed_tail
            if not plain and not self._zlib.eof:
                return b""
        return plain

    def _window(self) -> int:
        if self._gzip:
            return _GZIP
        # `deflate` means a zlib stream (RFC 9110, 8.4.1.2); some servers send the bare one all the same.
        return _ZLIB if self._rest[0] & 0x0F == _ZLIB_METHOD else _RAW
