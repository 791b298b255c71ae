"""Regaining: a loss that turned out to be none is reversed by a further row, never by taking the first away."""

from __future__ import annotations

from farebox.store.database import Transaction


def regain(work: Transaction, loss_id: str, id_: str, *, reason: str, created_us: int) -> int:
    """Reverse a loss, once by the id of its reversal; how much came back, in nano-units: 0 for a repeat or no loss."""
    row = work.one("SELECT account_id, debit, credit, amount, currency FROM losses WHERE id = ?", loss_id)
    if row is None:
        return 0
    account_id, debit, credit, amount, currency = row
    reversed_now = work.run(
        "INSERT INTO losses (id, account_id, debit, credit, amount, currency, reason, created)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        *(id_, account_id, credit, debit, amount, currency, reason, created_us),
    )
    return int(amount or 0) if reversed_now else 0
