"""The audit log: who changed what, from where, written in the transaction of the change; never altered afterwards."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from farebox.store.database import Transaction

Words = Mapping[str, object]


class Deed(msgspec.Struct, frozen=True):
    """One change."""

    actor: str
    action: str
    changed: str  # A kind and a name, such as "key:01M7…".
    created_us: int
    before: Words | None = None  # Without secrets, as `after`.
    after: Words | None = None
    ip: str | None = None


class Written(msgspec.Struct, frozen=True):
    """A line of the log."""

    id: int
    actor: str
    action: str
    changed: str
    before: msgspec.Raw | None
    after: msgspec.Raw | None
    ip: str | None
    created_us: int


def write_deed(work: Transaction, deed: Deed) -> None:
    """Add a line."""
    work.run(
        "INSERT INTO audit_log (actor, action, changed, before, after, ip, created) VALUES (?, ?, ?, ?, ?, ?, ?)",
        *(deed.actor, deed.action, deed.changed, _json(deed.before), _json(deed.after)),
        *(deed.ip, deed.created_us),
    )


def list_deeds(view: Transaction, before_id: int, limit: int) -> list[Written]:
    """Lines older than one, newest first."""
    rows = view.all(
        "SELECT id, actor, action, changed, before, after, ip, created FROM audit_log WHERE id < ?"
        " ORDER BY id DESC LIMIT ?",
        before_id,
        limit,
    )
    return [
        Written(
            int(id_ or 0),
            str(actor),
            str(action),
            str(what),
            _raw(before),
            _raw(after),
            None if ip is None else str(ip),
            int(created or 0),
        )
        for id_, actor, action, what, before, after, ip, created in rows
    ]


def _json(said: Words | None) -> str | None:
    return None if said is None else msgspec.json.encode(said).decode()


def _raw(text: object) -> msgspec.Raw | None:
    return None if text is None else msgspec.Raw(str(text).encode())
