"""Statements: a wallet's entries in the order they were booked, each with the balance after it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from farebox.ledger.rules import wallet_of
from farebox.store.database import Database


class Entry(msgspec.Struct, frozen=True):
    """One line of a statement. `amount_nano` is positive when money came in."""

    id: str
    kind: str
    amount_nano: int
    balance_after_nano: int
    currency: str
    request_id: str | None  # Of a charge.
    input_tokens: int
    output_tokens: int
    reason: str | None
    at_us: int


def entries(database: Database, account_id: int) -> Iterator[Entry]:
    """Every entry of an account's wallet, oldest first."""
    balance = 0
    wallet = wallet_of(account_id)
    rows = database.rows(
        "SELECT t.id, t.kind, t.credit, t.amount, t.currency, t.reason, t.created,"
        " COALESCE(r.input_tokens, 0), COALESCE(r.output_tokens, 0)"
        " FROM transfers t LEFT JOIN requests r ON t.kind = 'charge' AND r.id = t.id AND r.account_id = t.account_id"
        " WHERE t.account_id = ? ORDER BY t.seq",
        account_id,
    )
    for id_, kind, credit, amount, currency, reason, created, tokens_in, tokens_out in rows:
        change = int(amount or 0) if credit == wallet else -int(amount or 0)
        balance += change
        yield Entry(
            id=str(id_),
            kind=str(kind),
            amount_nano=change,
            balance_after_nano=balance,
            currency=str(currency),
            request_id=str(id_) if kind == "charge" else None,
            input_tokens=int(tokens_in or 0),
            output_tokens=int(tokens_out or 0),
            reason=None if reason is None else str(reason),
            at_us=int(created or 0),
        )
