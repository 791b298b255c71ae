"""Hold and settle: the only way a call touches money.

A hold is durable before any byte leaves for a provider; a settlement is durable before the end of an answer leaves.
Both are keyed by the call's id, so a repeat changes nothing. A settlement that the database will not take is kept and
tried again until it does; its caller waits for it at most SETTLE_WAIT_S.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import msgspec

from farebox.core.clock import Clock
from farebox.core.errors import Fault, Kind
from farebox.ledger.books import ExtendOp, Held, HoldOp, Op, Refused, RequestRow, Result, Settled, SettleOp
from farebox.store.database import StoreUnavailableError
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


class Hold(msgspec.Struct):
    """A hold that stands; `amount_nano` grows when it is extended."""

    id: str
    account_id: int
    key_id: int
    amount_nano: int


class Wallets:
    """Takes holds and settles them, through the group commit."""

    def __init__(self, commit: GroupCommit[Op, Result], *, owner: str, clock: Clock) -> None:
        self.counts = Counts()
        self._commit = commit
        self._owner = owner
        self._clock = clock
        self._unsettled: set[asyncio.Task[Settled]] = set()

    async def hold(self, hold: Hold, model: str) -> Refused | None:
        """Take a hold, or say why not. Fault LEDGER_UNAVAILABLE if the books cannot be written."""
        op = HoldOp(
            hold.id, hold.account_id, hold.key_id, self._owner, model, hold.amount_nano, self._clock.now_us()
        )
        result = await self._ask(op)
        if isinstance(result, Refused):
            self.counts.refusals += 1
            return result
        self.counts.holds += 1
        return None

    async def extend(self, hold: Hold, amount_nano: int) -> bool:
        """Hold more for a stream that goes on; False if the wallet cannot."""
        result = await self._ask(ExtendOp(hold.id, hold.account_id, amount_nano))
        if isinstance(result, Held):
            hold.amount_nano += amount_nano
            return True
        return False

    async def settle(self, row: RequestRow) -> Settled:
        """Post what is due and free the rest. Fault LEDGER_UNAVAILABLE after SETTLE_WAIT_S; it is still settled then."""
        op = SettleOp(row, self._clock.now_us())
        try:
            settled = await self._commit.submit(op)
        except StoreUnavailableError:
            task = self._keep(self._settle_later(op))
            try:
                settled = await asyncio.wait_for(asyncio.shield(task), SETTLE_WAIT_S)
            except TimeoutError as error:
                raise _unavailable() from error
        assert isinstance(settled, Settled)
        self._count(op)
        return settled

    async def drain(self) -> None:
        """Wait for settlements that are still being tried, and for the queue."""
        await asyncio.gather(*self._unsettled, return_exceptions=True)
        await self._commit.drain()

    async def _ask(self, op: HoldOp | ExtendOp) -> Result:
        try:
            return await self._commit.submit(op)
        except StoreUnavailableError as error:
            raise _unavailable() from error

    async def _settle_later(self, op: SettleOp) -> Settled:
        wait_s = RETRY_FIRST_S
        while True:
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, RETRY_MOST_S)
            try:
                settled = await self._commit.submit(op)
            except StoreUnavailableError:
                continue
            assert isinstance(settled, Settled)
            return settled

    def _keep(self, settling: Coroutine[None, None, Settled]) -> asyncio.Task[Settled]:
        task = asyncio.create_task(settling)
        self._unsettled.add(task)
        task.add_done_callback(self._unsettled.discard)
        return task

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
