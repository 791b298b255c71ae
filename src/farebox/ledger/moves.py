"""Moves: transfers that are no charge. Money comes into a wallet, or goes out of it; a mistake is a further move.

A move's id is given by whoever asks for it, so that asking twice moves money once.
"""

from __future__ import annotations

import msgspec

from farebox.core.money import MAX_NANO
from farebox.ledger.rules import BAD_DEBT, TransferKind, sides
from farebox.store.database import Transaction


class Move(msgspec.Struct, frozen=True):
    """A top-up, grant, refund or correction. `change_nano` is positive when money comes in, and never 0."""

    id: str
    account_id: int
    kind: TransferKind
    change_nano: int
    currency: str
    reason: str | None
    created_us: int
    other: str | None = (
        None  # The ledger account at the other end, such as "clearing:stripe"; None: as the kind says.
    )


class Booked(msgspec.Struct, frozen=True):
    """The move stands. `new` is False where it stood before, under the same id."""

    new: bool


class Short(msgspec.Struct, frozen=True):
    """The wallet has less free than the move takes, or would hold more than a ledger can; nothing was moved."""

    available_nano: int


class Clash(msgspec.Struct, frozen=True):
    """The id is another move's; nothing was moved."""


class TakenBack(msgspec.Struct, frozen=True):
    """What a wallet gave, and what it could not give and is lost."""

    taken_nano: int
    lost_nano: int


# Beyond 64 bits SQLite would go on in floating point without a word, hence the second bound.
_CHANGE = "UPDATE wallets SET balance = balance + ? WHERE account_id = ? AND balance - held + ? >= 0 AND balance <= ?"
_INSERT_TRANSFER = (
    "INSERT INTO transfers (id, account_id, kind, debit, credit, amount, currency, reason, created)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_LOSS = (
    "INSERT INTO losses (id, account_id, debit, credit, amount, currency, reason, created)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)


def move(work: Transaction, transfer: Move) -> Booked | Short | Clash:
    """Book a move, once by its id."""
    known = _find(work, transfer)
    if known is not None:
        return known
    ceiling = MAX_NANO - max(transfer.change_nano, 0)
    changed = work.run(_CHANGE, transfer.change_nano, transfer.account_id, transfer.change_nano, ceiling)
    if not changed:
        return Short(_available(work, transfer.account_id))
    _record(work, transfer)
    return Booked(new=True)


def take_back(work: Transaction, transfer: Move) -> TakenBack | Clash:
    """Take money out of a wallet as far as it is there and free; what is not there is booked as lost.

    For money that its payer got back elsewhere, such as a disputed card payment.
    """
    assert transfer.change_nano < 0
    lost_before = work.one(
        "SELECT amount FROM losses WHERE id = ? AND account_id = ?", transfer.id, transfer.account_id
    )
    taken_before = work.one("SELECT amount FROM transfers WHERE id = ? AND kind <> 'charge'", transfer.id)
    if lost_before is not None or taken_before is not None:
        taken, lost = (int((row or (0,))[0] or 0) for row in (taken_before, lost_before))
        return TakenBack(taken, lost) if taken + lost == -transfer.change_nano else Clash()
    taken = min(-transfer.change_nano, _available(work, transfer.account_id))
    lost = -transfer.change_nano - taken
    if taken:
        booked = move(work, msgspec.structs.replace(transfer, change_nano=-taken))
        assert booked == Booked(new=True)
    if lost:
        credit = sides(transfer.kind, transfer.account_id, transfer.change_nano, transfer.other).credit
        work.run(
            _INSERT_LOSS,
            *(transfer.id, transfer.account_id, BAD_DEBT, credit, lost),
            *(transfer.currency, transfer.reason, transfer.created_us),
        )
    return TakenBack(taken, lost)


def _find(work: Transaction, transfer: Move) -> Booked | Clash | None:
    row = work.one(
        "SELECT account_id, kind, debit, credit, amount FROM transfers WHERE id = ? AND kind <> 'charge'",
        transfer.id,
    )
    if row is None:
        return None
    side = sides(transfer.kind, transfer.account_id, transfer.change_nano, transfer.other)
    same = (transfer.account_id, transfer.kind.value, *side)
    return Booked(new=False) if tuple(row) == same else Clash()


def _record(work: Transaction, transfer: Move) -> None:
    side = sides(transfer.kind, transfer.account_id, transfer.change_nano, transfer.other)
    work.run(
        _INSERT_TRANSFER,
        *(transfer.id, transfer.account_id, transfer.kind.value, side.debit, side.credit, side.amount_nano),
        *(transfer.currency, transfer.reason, transfer.created_us),
    )


def _available(work: Transaction, account_id: int) -> int:
    row = work.one("SELECT balance - held FROM wallets WHERE account_id = ?", account_id)
    return int((row or (0,))[0] or 0)
