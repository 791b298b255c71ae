"""What is kept of an answer, and how it is sealed."""

from __future__ import annotations

import msgspec

from farebox.features.idempotency.rows import Place
from farebox.store.vault import Safe

REPLY_BYTES_MAX = (
    1 << 20
)  # Ten times the largest answer of a chat; beyond, a repeat is told where its receipt is.


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """An answer as it was given: its status, the header lines that are its own, and every byte of its body."""

    status: int
    headers: bytes
    body: bytes


_encode = msgspec.msgpack.encode
_decoder = msgspec.msgpack.Decoder(Reply)


def seal_reply(safe: Safe, reply: Reply, place: Place, call_id: str) -> bytes:
    """A reply that can be read at its own place only."""
    return safe.seal(_encode(reply), _context(place, call_id))


def open_reply(safe: Safe, sealed: bytes, place: Place, call_id: str) -> Reply:
    """What was sealed; SealBrokenError if it is not this place's, or no secret of ours opens it."""
    return _decoder.decode(safe.open(sealed, _context(place, call_id)))


def _context(place: Place, call_id: str) -> bytes:
    return b"%d\n%b\n%b" % (place.account_id, place.key, call_id.encode())
