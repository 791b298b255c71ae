"""History: a wallet's transfers from new to old, page by page, each with the balance after it.

No row keeps a balance, and adding all of them up for every page would cost more the older a wallet is. So the sums run
backwards, from the balance that stands in the wallet now: a page costs what is newer than it, the newest one nothing.
"""

from __future__ import annotations

from itertools import pairwise

import msgspec

from farebox.billing.papers.statements import Entry
from farebox.ledger.rules import TransferKind, wallet_of
from farebox.store.database import Record, Transaction, Value

NEWEST = 2**63 - 1
_SELECT = (
    "SELECT t.seq, t.id, t.kind, CASE WHEN t.credit = ? THEN t.amount ELSE -t.amount END, t.currency, t.reason,"
    " t.created, COALESCE(r.input_tokens, 0), COALESCE(r.output_tokens, 0), r.model"
    " FROM transfers t LEFT JOIN requests r ON t.kind = 'charge' AND r.account_id = t.account_id AND r.id = t.id"
    " WHERE t.account_id = ? AND t.seq < ?"
)
_SUM = (
    "SELECT COALESCE(SUM(CASE WHEN credit = ? THEN amount ELSE -amount END), 0) FROM transfers"
    " WHERE account_id = ? AND seq > ? AND seq <= ?"
)


class ModelEntry(Entry, frozen=True):
    """An entry with the model of the call that it charges."""

    model: str | None


class Wanted(msgspec.Struct, frozen=True):
    """Which entries: of a kind, booked in [from_us, to_us), older than the one whose id is `before`."""

    limit: int
    kind: TransferKind | None = None
    from_us: int | None = None
    to_us: int | None = None
    before: str | None = None


class Page(msgspec.Struct, frozen=True):
    """Entries, newest first."""

    entries: tuple[ModelEntry, ...]
    has_more: bool


def find_page(view: Transaction, account_id: int, wanted: Wanted) -> Page | None:
    """A page of a wallet's history; None where `before` is no transfer of it. Not for the loop's thread."""
    before = NEWEST if wanted.before is None else _place(view, account_id, wanted.before)
    if before is None:
        return None
    clauses: list[tuple[str, Value]] = []
    if wanted.kind is not None:
        clauses.append((" AND t.kind = ?", wanted.kind.value))
    if wanted.from_us is not None:
        clauses.append((" AND t.created >= ?", wanted.from_us))
    if wanted.to_us is not None:
        clauses.append((" AND t.created < ?", wanted.to_us))
    rows = view.all(
        f"{_SELECT}{''.join(clause for clause, _ in clauses)} ORDER BY t.seq DESC LIMIT ?",
        *(wallet_of(account_id), account_id, before, *(value for _, value in clauses), wanted.limit + 1),
    )
    shown = rows[: wanted.limit]
    balances = _balances(view, account_id, [_int(row[0]) for row in shown])
    entries = tuple(_entry(row, balance) for row, balance in zip(shown, balances, strict=True))
    return Page(entries, has_more=len(rows) > len(shown))


def has_older(view: Transaction, account_id: int, than_us: int) -> bool:
    """Whether anything was booked before a time."""
    sql = "SELECT 1 FROM transfers WHERE account_id = ? AND created < ? LIMIT 1"
    return view.one(sql, account_id, than_us) is not None


def _place(view: Transaction, account_id: int, id_: str) -> int | None:
    """Where a transfer stands. A charge's id has no index here, so it is looked for from the newest on."""
    row = view.one(
        "SELECT seq FROM transfers WHERE id = ? AND kind <> 'charge' AND account_id = ?", id_, account_id
    ) or view.one(
        "SELECT seq FROM transfers WHERE account_id = ? AND id = ? ORDER BY seq DESC LIMIT 1", account_id, id_
    )
    return None if row is None else _int(row[0])


def _balances(view: Transaction, account_id: int, places: list[int]) -> list[int]:
    """The balance after each of some transfers, newest first: what is there now, less what came since."""
    row = view.one("SELECT balance FROM wallets WHERE account_id = ?", account_id)
    balance = _int((row or (0,))[0])
    balances = []
    for newer, place in pairwise([NEWEST, *places]):
        between = view.one(_SUM, wallet_of(account_id), account_id, place, newer)
        balance -= _int((between or (0,))[0])
        balances.append(balance)
    return balances


def _entry(row: Record, balance_nano: int) -> ModelEntry:
    _, id_, kind, change, currency, reason, created, tokens_in, tokens_out, model = row
    return ModelEntry(
        id=str(id_),
        kind=str(kind),
        amount_nano=_int(change),
        balance_after_nano=balance_nano,
        currency=str(currency),
        request_id=str(id_) if kind == TransferKind.CHARGE.value else None,
        input_tokens=_int(tokens_in),
        output_tokens=_int(tokens_out),
        reason=None if reason is None else str(reason),
        at_us=_int(created),
        model=None if model is None else str(model),
    )


def _int(value: object) -> int:
    """A whole number of the database; PostgreSQL's sums are decimals."""
    return int(str(value or 0))
