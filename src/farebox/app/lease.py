"""Leases: what one worker does for all, until it no longer says so; then any other may."""

from __future__ import annotations

import msgspec

from farebox.store.database import Database, Transaction


class Lease(msgspec.Struct, frozen=True):
    """What is leased, to whom, and for how long at a time."""

    name: str
    owner: str
    span_us: int


def take_lease(work: Transaction, name: str, owner: str, until_us: int, now_us: int) -> bool:
    """Take a lease, or prolong one's own; False while it is another's."""
    return bool(
        work.run(
            "INSERT INTO leases (name, owner, until) VALUES (?, ?, ?) ON CONFLICT (name)"
            " DO UPDATE SET owner = excluded.owner, until = excluded.until"
            " WHERE leases.owner = excluded.owner OR leases.until <= ?",
            *(name, owner, until_us, now_us),
        )
    )


def keep_lease(database: Database, lease: Lease, now_us: int) -> bool:
    """Whether the lease is ours, taken or prolonged if need be; a write only for every half of its span."""
    with database.read() as view:
        row = view.one("SELECT owner, until FROM leases WHERE name = ?", lease.name)
    if row is not None and int(row[1] or 0) > now_us:
        if row[0] != lease.owner:
            return False
        if int(row[1] or 0) - now_us > lease.span_us // 2:
            return True
    with database.transaction() as work:
        return take_lease(work, lease.name, lease.owner, now_us + lease.span_us, now_us)


def drop_lease(database: Database, lease: Lease) -> None:
    """Let a lease go, so that nobody has to wait for its end."""
    with database.transaction() as work:
        work.run("DELETE FROM leases WHERE name = ? AND owner = ?", lease.name, lease.owner)
