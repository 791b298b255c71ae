"""The rules of the ledger, pure: which accounts there are, which way money goes, what a charge may take.

As in TigerBeetle: an amount is positive and goes from the account it debits to the account it credits. A wallet is a
credit account, so its balance is what was credited less what was debited. A hold is a pending transfer to revenue;
posting less than was held frees the rest.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

REVENUE = "revenue"
GRANTS = "grants"
MANUAL = "clearing:manual"
BAD_DEBT = "bad_debt"


class TransferKind(Enum):
    """Why money moved; the value is what a statement says."""

    CHARGE = "charge"
    TOP_UP = "top_up"
    GRANT = "grant"
    REFUND = "refund"
    CORRECTION = "correction"


_OTHER_SIDE = {
    TransferKind.CHARGE: REVENUE,
    TransferKind.TOP_UP: MANUAL,
    TransferKind.GRANT: GRANTS,
    TransferKind.REFUND: REVENUE,
    TransferKind.CORRECTION: MANUAL,
}


class Sides(NamedTuple):
    """The two ends of one transfer."""

    debit: str
    credit: str
    amount_nano: int


def wallet_of(account_id: int) -> str:
    """The ledger's name of an account's wallet."""
    return f"wallet:{account_id}"


def clearing_of(processor: str) -> str:
    """The ledger's name of what a payment processor owes us."""
    return f"clearing:{processor}"


def sides(kind: TransferKind, account_id: int, change_nano: int, other: str | None = None) -> Sides:
    """Turn a change of a wallet (positive: money comes in) into a transfer; `other`: its other end if not the usual."""
    assert change_nano != 0
    wallet, other = wallet_of(account_id), other or _OTHER_SIDE[kind]
    return Sides(other, wallet, change_nano) if change_nano > 0 else Sides(wallet, other, -change_nano)


class Split(NamedTuple):
    """What is charged, and what was worth charging but the wallet could not pay."""

    charge_nano: int
    leakage_nano: int


def split_charge(due_nano: int, hold_nano: int, available_nano: int) -> Split:
    """Charge what is due: from the hold first, then from what is free in the wallet, and never more than both."""
    assert min(due_nano, hold_nano, available_nano) >= 0
    charge = min(due_nano, hold_nano + available_nano)
    return Split(charge, due_nano - charge)
