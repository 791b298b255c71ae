"""The rows that keep responses, and the only SQL about them. Every look at one names its account."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import msgspec

from farebox.store.database import Transaction

_LEVEL = 1  # A third more bytes than zlib's usual level leaves, for half the time.


class Row(msgspec.Struct, frozen=True):
    """One response. `input` is a JSON list of items, `reply` the response object; both packed."""

    id: str
    account_id: int
    previous_id: str | None
    created: int  # Microseconds since the epoch.
    model: str
    size: int  # Bytes of both, unpacked.
    input: bytes
    reply: bytes


_COLUMNS = ", ".join(Row.__struct_fields__)
_PLACES = ", ".join("?" * len(Row.__struct_fields__))
# A response is kept once: whoever comes again with its id changes nothing.
_ONCE = "ON CONFLICT (id) DO NOTHING"
_INSERT = f"INSERT INTO responses ({_COLUMNS}) VALUES ({_PLACES}) {_ONCE}"  # noqa: S608 -- the struct's fields
_WHERE = "WHERE id = ? AND account_id = ? AND created > ?"


class Named(msgspec.Struct, frozen=True):
    """One response of one account, younger than a moment (microseconds since the epoch)."""

    id: str
    account_id: int
    after_us: int

    @property
    def values(self) -> tuple[str, int, int]:
        """What `_WHERE` asks for."""
        return self.id, self.account_id, self.after_us


def pack(data: bytes) -> bytes:
    """Bytes as they are kept."""
    return zlib.compress(data, _LEVEL)


def unpack(data: bytes) -> bytes:
    """What was packed."""
    return zlib.decompress(data)


def insert_rows(work: Transaction, rows: Sequence[Row]) -> list[None]:
    """Keep responses; one result each, as the group commit wants it."""
    work.run_many(_INSERT, [msgspec.structs.astuple(row) for row in rows])
    return [None] * len(rows)


def find_size(view: Transaction, named: Named) -> int | None:
    """How large a response is, without reading it; None if there is none."""
    row = view.one(f"SELECT size FROM responses {_WHERE}", *named.values)  # noqa: S608 -- constants
    return None if row is None else int(row[0] or 0)


def find_row(view: Transaction, named: Named) -> Row | None:
    """One response."""
    row = view.one(f"SELECT {_COLUMNS} FROM responses {_WHERE}", *named.values)  # noqa: S608 -- constants
    return None if row is None else Row(*row)  # type: ignore[arg-type]  # The columns are the fields, in order.


def delete_row(work: Transaction, named: Named) -> bool:
    """Forget one response; whether it was there."""
    return work.run(f"DELETE FROM responses {_WHERE}", *named.values) > 0  # noqa: S608 -- constants


def delete_old(work: Transaction, until_us: int, most: int) -> int:
    """Forget some of those made until a moment, the oldest first; how many."""
    return work.run(
        "DELETE FROM responses WHERE id IN"
        " (SELECT id FROM responses WHERE created <= ? ORDER BY created LIMIT ?)",
        until_us,
        most,
    )
