"""The ledger as it should be, in memory and one operation at a time: small enough to be checked by reading.

A batch is worth its operations in this order: settlements within their holds, dearer settlements, holds, the rest;
each kind first come first served. If one of them needs a closer look (`Alone`), or two are on the same call, the batch
never was, and its operations follow each other as they came.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import msgspec

from farebox.ledger.books import ExtendOp, Held, HoldOp, Op, Refused, ReleaseOp, Result, Settled, SettleOp
from tests.ledger.ledger_file import Amounts


class Alone(Exception):  # noqa: N818 -- a signal within this module, no error
    """This operation does not fit the fast path."""


class Unknown(msgspec.Struct, frozen=True):
    """The answer to an operation on a hold that nobody has heard of."""


class Standing(msgspec.Struct):
    """A hold that stands."""

    account: int
    amount: int
    owner: str


class Done(msgspec.Struct):
    """A call that is settled, or that a sweep took for dead."""

    charge: int
    leakage: int
    swept: bool


class Model:
    """Every wallet, hold and settled call."""

    def __init__(self) -> None:
        self.wallets: dict[int, Amounts] = {}
        self.holds: dict[str, Standing] = {}
        self.calls: dict[str, Done] = {}
        self.due: dict[str, int] = {}  # What each settlement was first submitted with.

    def apply(self, operations: Sequence[Op]) -> list[Result | Unknown]:
        calls = {op.row.id if isinstance(op, SettleOp) else op.id for op in operations}
        if len(operations) > 1 and len(calls) == len(operations):  # Else each keeps its turn.
            ghost = copy.deepcopy(self)
            try:
                results = ghost.apply_together(operations)
            except Alone:
                return [self.apply_one(op, alone=True) for op in operations]
            self.__dict__ = ghost.__dict__
            return results
        return [self.apply_one(op, alone=True) for op in operations]

    def apply_together(self, operations: Sequence[Op]) -> list[Result | Unknown]:
        if len({_call_of(op) for op in operations}) < len(operations):
            raise Alone
        order = sorted(range(len(operations)), key=lambda at: self._rank(operations[at]))
        # The only settlement of a batch is looked at closely where it stands.
        single = sum(isinstance(op, SettleOp) for op in operations) == 1
        results = {
            at: self.apply_one(operations[at], alone=single and isinstance(operations[at], SettleOp))
            for at in order
        }
        if Unknown() in results.values():
            raise Alone
        return [results[at] for at in range(len(operations))]

    def apply_one(self, op: Op, *, alone: bool) -> Result | Unknown:
        match op:
            case HoldOp():
                return self._hold(op, alone=alone)
            case ExtendOp():
                return self._extend(op, alone=alone)
            case ReleaseOp():
                hold = self.holds.pop(op.id, None)
                if hold is not None:
                    self.wallets[op.account_id].held -= hold.amount
                return Settled(0, 0)
            case SettleOp():
                return self._settle(op, alone=alone)

    def move(self, account: int, change: int) -> bool:
        wallet = self.wallets[account]
        if wallet.balance - wallet.held + change < 0:
            return False
        wallet.balance += change
        return True

    def sweep(self, owner: str) -> int:
        dead = [id_ for id_, hold in self.holds.items() if hold.owner == owner]
        for id_ in dead:
            hold = self.holds.pop(id_)
            self.wallets[hold.account].held -= hold.amount
            self.calls[id_] = Done(0, hold.amount, swept=True)
        return len(dead)

    def _rank(self, op: Op) -> int:
        if isinstance(op, SettleOp):
            return 0 if self.due[op.row.id] <= op.row.hold else 1
        return 2 if isinstance(op, HoldOp) else 3

    def _free(self, account: int) -> int:
        return self.wallets[account].balance - self.wallets[account].held

    def _hold(self, op: HoldOp, *, alone: bool) -> Held | Refused:
        fits = op.amount_nano <= self._free(op.account_id)
        if op.id in self.holds:
            if fits and not alone:
                raise Alone
            return Held()
        if not fits:
            wallet = self.wallets[op.account_id]
            return Refused(wallet.balance, wallet.held)
        self.wallets[op.account_id].held += op.amount_nano
        self.holds[op.id] = Standing(op.account_id, op.amount_nano, op.owner)
        return Held()

    def _extend(self, op: ExtendOp, *, alone: bool) -> Held | Refused | Unknown:
        if op.amount_nano > self._free(op.account_id):
            wallet = self.wallets[op.account_id]
            return Refused(wallet.balance, wallet.held)
        if op.id not in self.holds:
            if not alone:
                raise Alone
            return Unknown()
        self.wallets[op.account_id].held += op.amount_nano
        self.holds[op.id].amount += op.amount_nano
        return Held()

    def _settle(self, op: SettleOp, *, alone: bool) -> Settled | Unknown:
        id_, account, due = op.row.id, op.row.account_id, self.due[op.row.id]
        hold = self.holds.get(id_)
        if not alone and (hold is None or hold.amount != op.row.hold):
            raise Alone
        if hold is None:
            done = self.calls.get(id_)
            if done is None:
                return Unknown()
            if not done.swept or not due:
                return Settled(done.charge, done.leakage)
        else:
            del self.holds[id_]
            self.wallets[account].held -= hold.amount
        charge = min(due, self._free(account))
        self.wallets[account].balance -= charge
        self.wallets[account].spent += charge
        self.calls[id_] = Done(charge, due - charge, swept=False)
        return Settled(charge, due - charge)


def _call_of(op: Op) -> str:
    return op.row.id if isinstance(op, SettleOp) else op.id
