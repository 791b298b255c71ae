"""What became of a call, as the books have it: who comes back for it must know whether it was paid for."""

from __future__ import annotations

from enum import Enum

from farebox.store.database import Transaction


class Fate(Enum):
    """What the books say of a call."""

    OPEN = "open"  # Its hold stands: nobody knows yet.
    CHARGED = "charged"  # It was charged, whole or for what was delivered.
    EMPTY = "empty"  # It ended well and cost nothing.
    FREE = "free"  # It failed and cost nothing, or never held anything.


def fate_of(view: Transaction, account_id: int, call_id: str) -> Fate:
    """What became of one call of one account."""
    row = view.one(
        "SELECT state, charge + leakage, error FROM requests WHERE account_id = ? AND id = ?",
        account_id,
        call_id,
    )
    if row is None:
        held = view.one("SELECT 1 FROM holds WHERE id = ? AND account_id = ?", call_id, account_id)
        return Fate.FREE if held is None else Fate.OPEN
    state, due, error = row
    if state == "posted" and due:
        return Fate.CHARGED
    return Fate.EMPTY if error is None else Fate.FREE


def lives(view: Transaction, owner: str) -> bool:
    """Whether an owner has not been found dead: until it is, whatever it runs may still be going on."""
    return view.one("SELECT 1 FROM owners WHERE id = ?", owner) is not None
