"""The books: the rules applied to a batch of operations inside one database transaction.

A batch costs one UPDATE an account, however many of its calls are in it: the wallets' guards are checked on the sum,
and only if the sum does not fit, one by one, first come first served. Settlements go before holds, so that what they
free can be held again in the same batch. What does not fit the fast path (a settlement whose hold is gone, a hold that
stands already) raises, and the group commit replays the batch one operation at a time, where each is decided alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec

from farebox.core.money import MAX_NANO
from farebox.ledger.budgets import (
    Guard,
    Overspent,
    free_guards,
    read_guards,
    settle_guards,
    take_guards,
    write_guards,
)
from farebox.ledger.rules import REVENUE, TransferKind, split_charge, wallet_of
from farebox.store.database import Transaction, Value


class HoldOp(msgspec.Struct, frozen=True):
    """Take a hold, durable before any byte leaves for a provider."""

    id: str
    account_id: int
    key_id: int
    owner: str
    model: str
    amount_nano: int
    created_us: int
    guards: tuple[Guard, ...] = ()  # The windows of its key's budgets, all or nothing with the wallet.


class ExtendOp(msgspec.Struct, frozen=True):
    """Make a hold larger while a stream goes on."""

    id: str
    account_id: int
    amount_nano: int
    key_id: int = 0
    guards: tuple[Guard, ...] = ()


class RequestRow(msgspec.Struct):
    """One settled call as the books keep it; the fields are the columns of `requests`, in order."""

    id: str
    account_id: int
    key_id: int
    profile: str
    model: str
    provider: str
    upstream_model: str
    state: str
    status: int
    streamed: bool
    partial: bool
    estimated: bool
    finish: str | None
    error: str | None
    usage: str
    input_tokens: int
    output_tokens: int
    charge: int
    currency: str
    hold: int
    leakage: int
    cost: int
    cost_currency: str
    price_version: str
    cost_version: str
    attempts: str
    first_byte_us: int | None
    latency_us: int
    created: int
    guards: str | None = None  # The windows of the key's budgets it counts in.
    hold_steps: str | None = None  # How the hold came to be what it was (billing.hold_steps).


class SettleOp(msgspec.Struct, frozen=True):
    """Post what is due of a hold and free the rest; with nothing due the hold is voided.

    Its row is changed to what is booked: `charge` and `leakage` always add up to what was due.
    """

    row: RequestRow
    settled_us: int
    guards: tuple[Guard, ...] = ()
    ceiling_nano: int = MAX_NANO  # Never charge more, whatever was due; the rest is leakage.


class ReleaseOp(msgspec.Struct, frozen=True):
    """Take back a hold whose call never began, so that it leaves no row."""

    id: str
    account_id: int


class Held(msgspec.Struct, frozen=True):
    """The hold stands."""


class Refused(msgspec.Struct, frozen=True):
    """The wallet cannot cover it; nothing was held."""

    balance_nano: int
    held_nano: int

    @property
    def available_nano(self) -> int:
        """What could be held."""
        return self.balance_nano - self.held_nano


class Settled(msgspec.Struct, frozen=True):
    """What was charged in the end."""

    charge_nano: int
    leakage_nano: int


Op = HoldOp | ExtendOp | SettleOp | ReleaseOp
Result = Held | Refused | Overspent | Settled


class HoldGoneError(Exception):
    """A settlement's hold is not there: it was settled before, or its owner was taken for dead."""


class HoldStandsError(Exception):
    """A hold of a batch is there already, or the batch has two operations on one call: each must be looked at alone."""


_COLUMNS = ", ".join(RequestRow.__struct_fields__)
_MARKS = ", ".join("?" * len(RequestRow.__struct_fields__))
_INSERT_REQUEST = f"INSERT INTO requests ({_COLUMNS}) VALUES ({_MARKS})"  # noqa: S608 -- the struct's own field names
_INSERT_HOLD = (
    "INSERT INTO holds (id, account_id, key_id, owner, model, amount, created, guards)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (id) DO NOTHING"
)
_INSERT_TRANSFER = (
    "INSERT INTO transfers (id, account_id, kind, debit, credit, amount, currency, reason, created)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_TAKE = "UPDATE wallets SET held = held + ? WHERE account_id = ? AND balance - held >= ?"
_FREE = "UPDATE wallets SET held = held - ? WHERE account_id = ?"
_SETTLE = "UPDATE wallets SET balance = balance - ?, spent = spent + ?, held = held - ? WHERE account_id = ?"
_BALANCES = "SELECT balance, held FROM wallets WHERE account_id = ?"
_CHARGE = TransferKind.CHARGE.value
_OWNER_DIED = "owner_died"  # What stands in the row of a call whose hold was swept.


def apply_batch(work: Transaction, operations: Sequence[Op]) -> list[Result]:
    """Apply operations; one result each, in order. HoldGoneError or HoldStandsError if one must be looked at alone."""
    # Below, kinds of operations take turns; two on the same call must keep their own order.
    calls = {op.row.id if isinstance(op, SettleOp) else op.id for op in operations}
    if len(calls) < len(operations):
        raise HoldStandsError
    if work.shared:
        # In one order, so that no two batches wait for each other. And a batch whose commit nobody was told of has
        # its wallets locked until it is kept or gone: what follows it up sees which.
        work.lock("wallets", "account_id", {_account_of(op) for op in operations})
    results: list[Result | None] = [None] * len(operations)
    settles = [(at, op) for at, op in enumerate(operations) if isinstance(op, SettleOp)]
    holds = [(at, op) for at, op in enumerate(operations) if isinstance(op, HoldOp)]
    if settles:
        for (at, _), settled in zip(settles, _settle(work, [op for _, op in settles]), strict=True):
            results[at] = settled
    if holds:
        for (at, _), held in zip(holds, _hold(work, [op for _, op in holds]), strict=True):
            results[at] = held
    for at, op in enumerate(operations):
        if isinstance(op, ExtendOp):
            results[at] = _extend(work, op)
        elif isinstance(op, ReleaseOp):
            results[at] = _release(work, op)
    done = [result for result in results if result is not None]
    assert len(done) == len(operations)
    return done


def _account_of(op: Op) -> int:
    return op.row.account_id if isinstance(op, SettleOp) else op.account_id


def _hold(work: Transaction, ops: list[HoldOp]) -> list[Held | Refused | Overspent]:
    over = {op.id: found for op in ops if op.guards and (found := _take_guards(work, op))}
    due: dict[int, int] = defaultdict(int)
    for op in ops:
        if op.id not in over:
            due[op.account_id] += op.amount_nano
    fits = {account for account, amount in due.items() if _take(work, account, amount)}
    results: list[Held | Refused | Overspent] = []
    taken: list[HoldOp] = []
    for op in ops:
        if op.id in over:
            results.append(_unless_held(work, op, over[op.id]))
        elif op.account_id in fits or _take(work, op.account_id, op.amount_nano):
            taken.append(op)
            results.append(Held())
        else:
            free_guards(work, op.key_id, op.guards, op.amount_nano)
            results.append(_unless_held(work, op, _refused(work, op.account_id)))
    rows = [
        (
            op.id,
            op.account_id,
            op.key_id,
            op.owner,
            op.model,
            op.amount_nano,
            op.created_us,
            write_guards(op.guards) if op.guards else None,
        )
        for op in taken
    ]
    if rows and work.run_many(_INSERT_HOLD, rows) < len(rows):
        if len(ops) > 1:
            raise HoldStandsError
        # A repeat: what was taken twice goes back.
        work.run(_FREE, ops[0].amount_nano, ops[0].account_id)
        free_guards(work, ops[0].key_id, ops[0].guards, ops[0].amount_nano)
    return results


def _take_guards(work: Transaction, op: HoldOp) -> Overspent | None:
    return take_guards(work, op.account_id, op.key_id, op.guards, op.amount_nano)


def _unless_held(work: Transaction, op: HoldOp, refusal: Refused | Overspent) -> Held | Refused | Overspent:
    """A repeat of a hold that stands: there is not enough to hold it twice, but nobody asks for that."""
    return Held() if work.one("SELECT 1 FROM holds WHERE id = ?", op.id) else refusal


def _take(work: Transaction, account_id: int, amount_nano: int) -> bool:
    return amount_nano <= MAX_NANO and work.run(_TAKE, amount_nano, account_id, amount_nano) > 0


def _extend(work: Transaction, op: ExtendOp) -> Held | Refused | Overspent:
    over = take_guards(work, op.account_id, op.key_id, op.guards, op.amount_nano)
    if over is not None:
        return over
    if not _take(work, op.account_id, op.amount_nano):
        free_guards(work, op.key_id, op.guards, op.amount_nano)
        return _refused(work, op.account_id)
    if not work.run("UPDATE holds SET amount = amount + ? WHERE id = ?", op.amount_nano, op.id):
        raise HoldGoneError(op.id)
    return Held()


def _release(work: Transaction, op: ReleaseOp) -> Settled:
    found = work.one("DELETE FROM holds WHERE id = ? RETURNING amount, key_id, guards", op.id)
    if found is not None:
        work.run(_FREE, found[0], op.account_id)
        free_guards(work, int(found[1] or 0), read_guards(found[2]), int(found[0] or 0))
    return Settled(0, 0)


def _refused(work: Transaction, account_id: int) -> Refused:
    return Refused(*_balances(work, account_id))


def _settle(work: Transaction, ops: list[SettleOp]) -> list[Settled]:
    gone = len(ops) - work.run_many(
        "DELETE FROM holds WHERE id = ? AND amount = ?", [(op.row.id, op.row.hold) for op in ops]
    )
    if gone and len(ops) == 1:
        return [_settle_alone(work, ops[0])]
    if gone:
        raise HoldGoneError
    within: dict[int, list[int]] = {}
    beyond: list[SettleOp] = []
    for op in ops:
        row = op.row
        if min(row.charge + row.leakage, op.ceiling_nano) <= row.hold:
            sums = within.setdefault(row.account_id, [0, 0])
            sums[0] += row.charge
            sums[1] += row.hold
        else:
            beyond.append(op)
    work.run_many(_SETTLE, [(charge, charge, hold, account) for account, (charge, hold) in within.items()])
    for op in beyond:
        _settle_beyond(work, op)
    _record(work, ops)
    for op in ops:
        if op.guards:
            _settle_guards(work, op)
    return [Settled(op.row.charge, op.row.leakage) for op in ops]


def _settle_beyond(work: Transaction, op: SettleOp) -> None:
    """Charge more than was held, as far as the wallet allows; the rest is leakage. Changes its row to the books'."""
    row = op.row
    balance, held = _balances(work, row.account_id)
    due = row.charge + row.leakage  # An attempt that was undone may have split it already.
    row.charge, _ = split_charge(min(due, op.ceiling_nano), row.hold, balance - held)
    row.leakage = due - row.charge
    work.run(_SETTLE, row.charge, row.charge, row.hold, row.account_id)


def _record(work: Transaction, ops: list[SettleOp]) -> None:
    work.run_many(_INSERT_REQUEST, [msgspec.structs.astuple(op.row) for op in ops])
    transfers = [
        (
            op.row.id,
            op.row.account_id,
            _CHARGE,
            wallet_of(op.row.account_id),
            REVENUE,
            op.row.charge,
            op.row.currency,
            None,
            op.settled_us,
        )
        for op in ops
        if op.row.charge
    ]
    if transfers:
        work.run_many(_INSERT_TRANSFER, transfers)


def _settle_alone(work: Transaction, op: SettleOp) -> Settled:
    """Settle a call whose hold is not there as its owner remembers it.

    An extension may have been booked without its caller learning of it. A repeat changes nothing. After a sweep the
    wallet is charged as far as it can pay.
    """
    row = op.row
    found = work.one("DELETE FROM holds WHERE id = ? RETURNING amount", row.id)
    if found is not None:
        row.hold = int(found[0] or 0)
    else:
        known = work.one(
            "SELECT error, charge, leakage FROM requests WHERE account_id = ? AND id = ?",
            row.account_id,
            row.id,
        )
        if known is None:
            raise HoldGoneError(row.id)
        if known[0] != _OWNER_DIED or not row.charge + row.leakage:
            return Settled(int(known[1] or 0), int(known[2] or 0))
        work.run("DELETE FROM requests WHERE account_id = ? AND id = ?", row.account_id, row.id)
        row.hold = 0
    _settle_beyond(work, op)
    _record(work, [op])
    _settle_guards(work, op)
    return Settled(row.charge, row.leakage)


def _settle_guards(work: Transaction, op: SettleOp) -> None:
    row = op.row
    settle_guards(work, row.key_id, op.guards, charge_nano=row.charge, held_nano=row.hold)


def _balances(work: Transaction, account_id: int) -> tuple[int, int]:
    row = work.one(_BALANCES, account_id)
    assert row is not None
    return int(row[0] or 0), int(row[1] or 0)


def sweep(work: Transaction, owner: str) -> int:
    """Void every hold of a dead owner; the number voided.

    What its calls may have cost at the provider is unknown, so the whole hold is shown as leakage: an upper bound.
    """
    holds = work.all(
        "SELECT h.id, h.account_id, h.key_id, h.model, h.amount, h.created, w.currency, h.guards"
        " FROM holds h JOIN wallets w ON w.account_id = h.account_id WHERE h.owner = ?",
        owner,
    )
    for hold in holds:
        row = _swept(*hold)
        work.run(_FREE, row.hold, row.account_id)
        free_guards(work, row.key_id, read_guards(row.guards), row.hold)
        work.run(_INSERT_REQUEST, *msgspec.structs.astuple(row))
    work.run("DELETE FROM holds WHERE owner = ?", owner)
    work.run("DELETE FROM owners WHERE id = ?", owner)
    return len(holds)


def _swept(*hold: Value) -> RequestRow:
    """The row of a call whose owner died."""
    id_, account_id, key_id, model, amount, created, currency, guards = hold
    return RequestRow(
        id=str(id_),
        account_id=int(account_id or 0),
        key_id=int(key_id or 0),
        profile="",
        model=str(model),
        provider="",
        upstream_model="",
        state="voided",
        status=500,
        streamed=False,
        partial=True,
        estimated=True,
        finish=None,
        error=_OWNER_DIED,
        usage="{}",
        input_tokens=0,
        output_tokens=0,
        charge=0,
        currency=str(currency),
        hold=int(amount or 0),
        leakage=int(amount or 0),
        cost=0,
        cost_currency=str(currency),
        price_version="",
        cost_version="",
        attempts="[]",
        first_byte_us=None,
        latency_us=0,
        created=int(created or 0),
        guards=None if guards is None else str(guards),
    )
