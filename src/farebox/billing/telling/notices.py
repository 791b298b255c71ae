"""Notices: what a customer or the operator is to be told, kept durably until it has been.

A notice is written in the transaction of what it tells, so that neither stands without the other. Sending it is another
matter (`billing.outbox`), and happens later.
"""

from __future__ import annotations

import hashlib
import re

import msgspec

from farebox.store.database import Record, Transaction

SUBJECT_MAX = 200
TEXT_MAX = 4_000
LIST_MAX = 200
_BREAKS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")
_ID_DIGITS = 32


class Notice(msgspec.Struct, frozen=True):
    """One thing to tell. `once` names the occasion; `account_id` None is the operator; `data` is for programs."""

    once: str
    account_id: int | None
    kind: str
    subject: str
    text: str
    data: dict[str, str]
    created_us: int

    @property
    def id(self) -> str:
        """What receivers know it by: the same at every attempt, so that they can tell a repeat."""
        return "ntc_" + hashlib.sha256(self.once.encode()).hexdigest()[:_ID_DIGITS]


class Told(msgspec.Struct, frozen=True):
    """How one way of telling a notice went so far. `state` is waiting, delivered or given_up."""

    channel: str
    state: str
    attempts: int
    answer: str | None


class Listed(msgspec.Struct, frozen=True):
    """A notice with what became of it; nothing in `told` once routed: there was nobody to tell."""

    notice: Notice
    routed: bool
    told: tuple[Told, ...]


_COLUMNS = "once, account_id, kind, subject, text, data, created"
_SELECT = f"SELECT n, routed, {_COLUMNS} FROM notices"  # noqa: S608 -- our own words


def note(work: Transaction, notice: Notice) -> bool:
    """Write a notice down; False if the occasion was noted before."""
    return bool(
        work.run(
            f"INSERT INTO notices ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 -- our own words
            " ON CONFLICT (once) DO NOTHING",
            *(notice.once, notice.account_id, notice.kind),
            # A subject becomes a header of a mail: it is one line, whatever it quotes.
            *(_BREAKS.sub(" ", notice.subject)[:SUBJECT_MAX], notice.text[:TEXT_MAX]),
            *(msgspec.json.encode(notice.data).decode(), notice.created_us),
        )
    )


def read_notice(row: Record) -> Notice:
    """A notice from its columns, in the order of the struct."""
    once, account_id, kind, subject, text, data, created = row
    return Notice(
        str(once),
        None if account_id is None else int(account_id),
        str(kind),
        str(subject),
        str(text),
        msgspec.json.decode(str(data), type=dict[str, str]),
        int(created or 0),
    )


def list_notices(view: Transaction, account_id: int | None, *, limit: int = 50) -> list[Listed]:
    """The newest notices of an account, or with None the operator's, newest first; at most LIST_MAX."""
    whose, values = ("account_id IS NULL", ()) if account_id is None else ("account_id = ?", (account_id,))
    query = f"{_SELECT} WHERE {whose} ORDER BY created DESC, n DESC LIMIT ?"
    rows = view.all(query, *values, min(limit, LIST_MAX))
    return [
        Listed(read_notice(tuple(notice)), routed is not None, _told(view, int(n or 0)))
        for n, routed, *notice in rows
    ]


def _told(view: Transaction, n: int) -> tuple[Told, ...]:
    rows = view.all(
        "SELECT channel, state, attempts, answer FROM deliveries WHERE notice = ? ORDER BY channel", n
    )
    return tuple(
        Told(str(channel), str(state), int(attempts or 0), None if answer is None else str(answer))
        for channel, state, attempts, answer in rows
    )
