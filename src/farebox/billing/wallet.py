"""Hold and settle: the only way a call touches money.

A hold is durable before any byte leaves for a provider; a settlement is durable before the end of an answer leaves.
Both are keyed by the call's id, so a repeat changes nothing. A settlement that the database will not take is kept and
tried again until it does; its caller waits for it at most SETTLE_WAIT_S. Nor does it matter when a caller leaves: a
hold that was taken for nobody is released, a settlement is carried through.
"""

from __future__ import annotations

import asyncio

import msgspec

from farebox.core.clock import Clock
from farebox.core.errors import Fault, Kind
from farebox.ledger.books import (
    ExtendOp,
    Held,
    HoldOp,
    Op,
    Refused,
    ReleaseOp,
    RequestRow,
    Result,
    Settled,
    SettleOp,
)
from farebox.ledger.budgets import HOUR, Guard, Overspent
from farebox.store.database import StoreUnavailableError, StoreUnsureError
from farebox.store.writer import GroupCommit

SETTLE_WAIT_S = 2.0
RETRY_FIRST_S = 0.05
RETRY_MOST_S = 2.0


class Counts:
    """What the wallets have done, for metrics."""

    def __init__(self) -> None:
        self.holds = 0
        self.posts = 0
        self.voids = 0
        self.refusals = 0
        self.leakage_nano = 0
        self.doubted = (
            0  # Calls whose provider counted more than twice what was seen, or what cannot be true.
        )


class Hold(msgspec.Struct):
    """A hold that stands; `amount_nano` grows when it is extended."""

    id: str
    account_id: int
    key_id: int
    amount_nano: int
    guards: tuple[Guard, ...] = ()  # The windows of its key's budgets, which it was held in as well.


class Wallets:
    """Takes holds and settles them, through the group commit."""

    def __init__(self, commit: GroupCommit[Op, Result], *, owner: str, clock: Clock) -> None:
        self.counts = Counts()
        self._commit = commit
        self._commit.abandoned = self._abandoned
        self._owner = owner
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._carried: dict[str, asyncio.Task[Settled]] = {}  # By the call's id.
        self.short: set[int] = (
            set()
        )  # Accounts whose whole balance was less than a hold, until somebody looks.
        self.tripped: set[int] = set()  # Keys whose breaker refused a hold, until somebody has paused them.

    async def hold(self, hold: Hold, model: str) -> Refused | Overspent | None:
        """Take a hold, or say why not. Fault LEDGER_UNAVAILABLE if the books cannot be written."""
        op = HoldOp(
            hold.id,
            hold.account_id,
            hold.key_id,
            self._owner,
            model,
            hold.amount_nano,
            self._clock.now_us(),
            hold.guards,
        )
        result = await self._ask_or_fault(op)
        if isinstance(result, Held):
            self.counts.holds += 1
            return None
        return self._refusal(hold, result)

    async def extend(self, hold: Hold, amount_nano: int) -> Refused | Overspent | None:
        """Hold more for a stream that goes on, or say why not."""
        result = await self._ask_or_fault(
            ExtendOp(hold.id, hold.account_id, amount_nano, hold.key_id, hold.guards)
        )
        if isinstance(result, Held):
            hold.amount_nano += amount_nano
            return None
        return self._refusal(hold, result)

    def _refusal(self, hold: Hold, result: Result) -> Refused | Overspent:
        assert isinstance(result, Refused | Overspent)
        self.counts.refusals += 1
        if isinstance(result, Refused) and result.balance_nano < hold.amount_nano:
            self.short.add(hold.account_id)
        if isinstance(result, Overspent) and result.guard.period == HOUR:
            self.tripped.add(hold.key_id)
        return result

    async def settle(self, row: RequestRow, guards: tuple[Guard, ...] = ()) -> Settled:
        """Post what is due and free the rest. Fault LEDGER_UNAVAILABLE after SETTLE_WAIT_S; settled it is even then."""
        op = SettleOp(row, self._clock.now_us(), guards, row.charge)
        loop = self._loop = self._loop or asyncio.get_running_loop()  # A system call before Python 3.12.
        end_s = loop.time() + SETTLE_WAIT_S
        try:
            settled = await self._ask(op)
        except StoreUnavailableError as error:
            carried = self._carry(op)
            try:
                return await asyncio.wait_for(asyncio.shield(carried), end_s - loop.time())
            except TimeoutError:
                raise _unavailable() from error
        assert isinstance(settled, Settled)
        self._count(op)
        return settled

    async def drain(self) -> None:
        """Wait for the queue, and for settlements that are still being tried."""
        await self._commit.drain()
        while self._carried:
            await asyncio.gather(*self._carried.values(), return_exceptions=True)
            await self._commit.drain()

    async def _ask_or_fault(self, op: HoldOp | ExtendOp) -> Result:
        try:
            return await self._ask(op)
        except StoreUnavailableError as error:
            self._abandoned(op, error)
            raise _unavailable() from error

    async def _ask(self, op: Op) -> Result:
        """Wait for one operation; what became of it after its caller left is seen to by `_abandoned`."""
        future = self._commit.submit(op)
        try:
            return await future
        except asyncio.CancelledError:
            if not future.cancelled():  # It was done already, and the caller left before it could look.
                self._abandoned(op, future.result())
            raise

    def _abandoned(self, op: Op, result: Result | Exception) -> None:
        """See to an operation whose caller has left, or cannot be told whether it was kept."""
        if isinstance(op, SettleOp):
            self._carry(op)
        elif isinstance(op, HoldOp) and isinstance(result, Held | StoreUnsureError):
            self._carry(ReleaseOp(op.id, op.account_id))
        # An extension stands: the settlement frees what the hold really is.

    def _carry(self, op: SettleOp | ReleaseOp) -> asyncio.Task[Settled]:
        """Try until the books have it. A repeat of what they have already changes nothing."""
        id_ = op.row.id if isinstance(op, SettleOp) else op.id
        task = self._carried.get(id_)
        if task is None:
            task = self._carried[id_] = asyncio.create_task(self._carry_through(op))
            task.add_done_callback(lambda _: self._carried.pop(id_))
        return task

    async def _carry_through(self, op: SettleOp | ReleaseOp) -> Settled:
        wait_s = RETRY_FIRST_S
        while True:
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, RETRY_MOST_S)
            try:
                settled = await self._commit.submit(op)
            except StoreUnavailableError:
                continue
            assert isinstance(settled, Settled)
            if isinstance(op, SettleOp):
                self._count(op)
            return settled

    def _count(self, op: SettleOp) -> None:
        if op.row.state == "posted":
            self.counts.posts += 1
        else:
            self.counts.voids += 1
        self.counts.leakage_nano += op.row.leakage


def _unavailable() -> Fault:
    return Fault(
        Kind.LEDGER_UNAVAILABLE, "The ledger cannot be written right now. Try again shortly.", retry_after_s=1
    )
