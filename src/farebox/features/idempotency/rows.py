"""The rows that remember calls by their callers' keys, and the only SQL about them.

Claims, replies and releases come as operations of a group commit. Each names the account, the digest of the key and,
but for a claim, the call that must still have the row: whoever lost it to another changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import msgspec

from farebox.ledger.fate import Fate, fate_of, lives
from farebox.store.database import Transaction


class State(Enum):
    """What a row has for a repeat."""

    OPEN = "open"  # No reply: it is under way, or its runner failed.
    KEPT = "kept"
    TOO_LARGE = "too_large"  # It ended well, and its reply is more than is kept.
    DROPPED = "dropped"  # It was kept until the account had too many.


class Place(msgspec.Struct, frozen=True):
    """Where a row is: an account, and the digest of a key."""

    account_id: int
    key: bytes


class Row(msgspec.Struct, frozen=True):
    """A row but for its reply. `request` is the mark of what was asked."""

    request: bytes
    call_id: str
    owner: str
    state: State
    size: int  # Of the reply as it is stored.
    created: int  # Microseconds since the epoch.


class ClaimOp(msgspec.Struct, frozen=True):
    """Take a place that nobody has, or whose row is past its hours; or the one of `instead`, if it is still there."""

    place: Place
    row: Row
    until_us: int
    in_books: bool  # Whether the ledger knows its calls by their ids.
    instead: Row | None = None


class Claimed(msgspec.Struct, frozen=True):
    """The place is ours."""


class Found(msgspec.Struct, frozen=True):
    """Somebody has it; `fate` is what became of the call there, None where the books do not tell."""

    row: Row
    lives: bool  # Its owner does.
    fate: Fate | None


class KeepOp(msgspec.Struct, frozen=True):
    """Put a sealed reply into a row; None: it is too large."""

    place: Place
    call_id: str
    reply: bytes | None


class ReleaseOp(msgspec.Struct, frozen=True):
    """Say that nobody runs the call any more; its row goes if nothing was done, so that the key can be used again.

    `undone`: None asks the books whether it was charged.
    """

    place: Place
    call_id: str
    undone: bool | None


Op = ClaimOp | KeepOp | ReleaseOp
Result = Claimed | Found | None

_COLUMNS = "request, call_id, owner, state, size, created"
_INSERT = (
    f"INSERT INTO idempotency (account_id, key, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 -- constants
    " ON CONFLICT (account_id, key) DO UPDATE SET request = excluded.request, call_id = excluded.call_id,"
    " owner = excluded.owner, state = excluded.state, size = excluded.size, created = excluded.created, reply = NULL"
    " WHERE idempotency.created <= ?"
)
_REPLACE = (
    "UPDATE idempotency SET request = ?, call_id = ?, owner = ?, state = ?, size = ?, created = ?, reply = NULL"
    " WHERE account_id = ? AND key = ? AND call_id = ? AND owner = ?"
)
_AT = "WHERE account_id = ? AND key = ?"
_OF_CALL = f"{_AT} AND call_id = ?"


def apply(work: Transaction, operations: Sequence[Op]) -> list[Result]:
    """Apply operations in order; one result each, as the group commit wants it."""
    return [_apply(work, op) for op in operations]


def _apply(work: Transaction, op: Op) -> Result:
    match op:
        case ClaimOp():
            return _claim(work, op)
        case KeepOp():
            state = State.TOO_LARGE if op.reply is None else State.KEPT
            work.run(
                f"UPDATE idempotency SET state = ?, size = ?, reply = ? {_OF_CALL}",  # noqa: S608 -- constants
                state.value,
                len(op.reply or b""),
                op.reply,
                *_values(op.place),
                op.call_id,
            )
            return None
        case ReleaseOp():
            _release(work, op)
            return None


def _claim(work: Transaction, op: ClaimOp) -> Claimed | Found:
    row, place = op.row, _values(op.place)
    values = (row.request, row.call_id, row.owner, row.state.value, row.size, row.created)
    if op.instead is not None:
        if work.run(_REPLACE, *values, *place, op.instead.call_id, op.instead.owner):
            return Claimed()
    elif work.run(_INSERT, *place, *values, op.until_us):
        return Claimed()
    found = work.one(f"SELECT {_COLUMNS} FROM idempotency {_AT}", *place)  # noqa: S608 -- constants
    if found is None:  # What was to be replaced is gone.
        work.run(_INSERT, *place, *values, op.until_us)
        return Claimed()
    known = msgspec.convert(dict(zip(Row.__struct_fields__, found, strict=True)), Row)
    fate = fate_of(work, op.place.account_id, known.call_id) if op.in_books else None
    return Found(known, lives(work, known.owner), fate)


def _release(work: Transaction, op: ReleaseOp) -> None:
    undone = op.undone
    if undone is None:
        undone = fate_of(work, op.place.account_id, op.call_id) is Fate.FREE
    change = "DELETE FROM idempotency" if undone else "UPDATE idempotency SET owner = ''"
    work.run(f"{change} {_OF_CALL}", *_values(op.place), op.call_id)


def find_reply(view: Transaction, place: Place, call_id: str) -> bytes | None:
    """The sealed reply of a call."""
    row = view.one(f"SELECT reply FROM idempotency {_OF_CALL}", *_values(place), call_id)  # noqa: S608 -- constants
    return row[0] if row is not None and isinstance(row[0], bytes) else None


def delete_old(work: Transaction, until_us: int, most: int) -> int:
    """Forget some of those made until a moment, the oldest first; how many."""
    return _first(work, "DELETE FROM idempotency", "created <= ?", (until_us,), most)


def find_beyond(view: Transaction, rows_max: int, bytes_max: int) -> list[tuple[int, int, int]]:
    """The accounts that have too much: each with how many rows and how many bytes are too many."""
    return [
        (int(account or 0), max(0, int(rows or 0) - rows_max), max(0, int(size or 0) - bytes_max))
        for account, rows, size in view.all(
            "SELECT account_id, COUNT(*), SUM(size) FROM idempotency GROUP BY account_id"
            " HAVING COUNT(*) > ? OR SUM(size) > ?",
            rows_max,
            bytes_max,
        )
    ]


def delete_finished(work: Transaction, account_id: int, most: int) -> int:
    """Forget some of an account's that have ended, the oldest first; how many."""
    ended = "account_id = ? AND (state <> 'open' OR owner = '')"
    return _first(work, "DELETE FROM idempotency", ended, (account_id,), most)


def drop_replies(work: Transaction, account_id: int, bytes_: int, most: int) -> int:
    """Drop the oldest replies of an account until so many bytes are gone, at most so many; how many bytes went.

    The rows stay: a repeat is told that the reply is gone, and is not charged again.
    """
    kept = work.all(
        "SELECT key, size FROM idempotency WHERE account_id = ? AND state = 'kept' ORDER BY created LIMIT ?",
        account_id,
        most,
    )
    dropped = 0
    for key, size in kept:
        if dropped >= bytes_:
            break
        work.run(
            f"UPDATE idempotency SET state = 'dropped', size = 0, reply = NULL {_AT}",  # noqa: S608 -- constants
            account_id,
            key,
        )
        dropped += int(size or 0)
    return dropped


def _first(work: Transaction, change: str, where: str, values: tuple[int, ...], most: int) -> int:
    # Of constants of this file alone.
    chosen = f"SELECT account_id, key FROM idempotency WHERE {where} ORDER BY created LIMIT ?"  # noqa: S608 -- as said
    return work.run(f"{change} WHERE (account_id, key) IN ({chosen})", *values, most)


def _values(place: Place) -> tuple[int, bytes]:
    return place.account_id, place.key
