from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from farebox.billing.wallet import SETTLE_WAIT_S, Hold, Wallets
from farebox.core.clock import ManualClock
from farebox.core.errors import Fault, Kind
from farebox.ledger.books import Op, Refused, RequestRow, Result, Settled, apply_batch
from farebox.ledger.rules import TransferKind
from farebox.store.database import Transaction
from farebox.store.writer import GroupCommit
from tests.ledger.ledger_file import Amounts, LedgerFile, settlement
from tests.support.stores import Store
from tests.unit.store.failing import FailingDatabase

MODEL = "acme/model"
FOREVER = 10**9


class Desk:
    """Wallets over a ledger whose database can be made to fail; account `a` has 100."""

    def __init__(self, store: Store) -> None:
        self.ledger = ledger = LedgerFile(store.database)
        self.database = FailingDatabase(ledger.database)
        self.locked = store.locked
        self.at_apply: list[asyncio.Task[object]] = []  # Cancelled the next time a batch is applied.
        self.commit: GroupCommit[Op, Result] = GroupCommit(self.database, self._apply)
        self.wallets = Wallets(self.commit, owner="w1", clock=ManualClock())
        self.account = ledger.open_wallet("a")
        ledger.enlist("w1")
        ledger.move("a", TransferKind.TOP_UP, 100)

    def hold(self, call: str, amount: int) -> Hold:
        return Hold(call, self.account, 1, amount)

    def row(self, hold: Hold, due: int) -> RequestRow:
        return settlement(hold.id, self.account, due=due, hold=hold.amount_nano).row

    async def held(self, call: str, amount: int) -> Hold:
        hold = self.hold(call, amount)
        assert await self.wallets.hold(hold, MODEL) is None
        return hold

    @property
    def amounts(self) -> Amounts:
        return self.ledger.amounts("a")

    def _apply(self, work: Transaction, operations: Sequence[Op]) -> list[Result]:
        # Their turn comes before that of whoever waits for these results.
        for task in self.at_apply:
            task.get_loop().call_soon_threadsafe(task.cancel)
        self.at_apply.clear()
        return apply_batch(work, operations)


@pytest.fixture
async def desk(store: Store) -> AsyncIterator[Desk]:
    desk = Desk(store)
    yield desk
    await desk.wallets.drain()
    desk.commit.close()
    report = desk.ledger.check()
    assert report.balanced, report.breaches


async def test_a_hold_is_durable_and_a_settlement_frees_the_rest(desk: Desk) -> None:
    hold = await desk.held("c1", 60)
    assert desk.amounts == Amounts(balance=100, held=60, spent=0)
    assert await desk.wallets.settle(desk.row(hold, 45)) == Settled(45, 0)
    assert desk.amounts == Amounts(balance=55, held=0, spent=45)
    counts = desk.wallets.counts
    assert (counts.holds, counts.posts, counts.voids, counts.refusals) == (1, 1, 0, 0)


async def test_what_the_wallet_cannot_cover_is_refused_with_what_it_has(desk: Desk) -> None:
    await desk.held("c1", 60)
    assert await desk.wallets.hold(desk.hold("c2", 41), MODEL) == Refused(balance_nano=100, held_nano=60)
    assert desk.wallets.counts.refusals == 1
    assert desk.amounts.held == 60


async def test_two_hundred_at_once_on_a_balance_for_three_are_three(desk: Desk) -> None:
    holds = [desk.hold(f"c{number}", 33) for number in range(200)]
    answers = await asyncio.gather(*(desk.wallets.hold(hold, MODEL) for hold in holds))
    assert answers.count(None) == 3
    assert desk.amounts == Amounts(balance=100, held=99, spent=0)


async def test_a_repeated_hold_stands_once(desk: Desk) -> None:
    for _ in range(3):
        await desk.held("c1", 60)
    assert desk.amounts.held == 60


async def test_an_extension_grows_the_hold_as_far_as_the_wallet_goes(desk: Desk) -> None:
    hold = await desk.held("c1", 60)
    assert await desk.wallets.extend(hold, 30) is None
    assert isinstance(await desk.wallets.extend(hold, 30), Refused)
    assert hold.amount_nano == 90
    assert await desk.wallets.settle(desk.row(hold, 85)) == Settled(85, 0)


async def test_a_void_and_a_shortfall_are_counted(desk: Desk) -> None:
    await desk.wallets.settle(desk.row(await desk.held("c1", 60), 0))
    assert await desk.wallets.settle(desk.row(await desk.held("c2", 60), 130)) == Settled(100, 30)
    counts = desk.wallets.counts
    assert (counts.voids, counts.posts, counts.leakage_nano) == (1, 1, 30)


async def test_a_hold_that_cannot_be_written_is_a_fault_at_once(desk: Desk) -> None:
    desk.database.refusals = FOREVER
    with pytest.raises(Fault) as caught:
        await desk.wallets.hold(desk.hold("c1", 60), MODEL)
    assert (caught.value.kind, caught.value.retry_after_s) == (Kind.LEDGER_UNAVAILABLE, 1)
    desk.database.refusals = 0
    assert desk.amounts.held == 0


async def test_a_settlement_is_tried_until_the_store_takes_it(desk: Desk) -> None:
    hold = await desk.held("c1", 60)
    desk.database.refusals = 3
    desk.database.undone = 1
    assert await desk.wallets.settle(desk.row(hold, 45)) == Settled(45, 0)
    assert (desk.database.refusals, desk.database.undone) == (0, 0)
    assert desk.amounts == Amounts(balance=55, held=0, spent=45)
    assert desk.wallets.counts.posts == 1


async def test_a_settlement_that_takes_too_long_is_a_fault_and_is_made_later(desk: Desk) -> None:
    hold = await desk.held("c1", 60)
    desk.database.refusals = FOREVER
    began_s = asyncio.get_running_loop().time()
    with pytest.raises(Fault) as caught:
        await desk.wallets.settle(desk.row(hold, 45))
    assert caught.value.kind is Kind.LEDGER_UNAVAILABLE
    assert SETTLE_WAIT_S - 0.1 < asyncio.get_running_loop().time() - began_s < SETTLE_WAIT_S + 0.5
    assert desk.amounts.spent == 0
    desk.database.refusals = 0
    await desk.wallets.drain()
    assert desk.amounts == Amounts(balance=55, held=0, spent=45)
    assert desk.wallets.counts.posts == 1


async def test_behind_a_lock_holds_and_settlements_are_faults_in_time_and_nothing_is_lost(desk: Desk) -> None:
    hold = await desk.held("c1", 60)
    loop = asyncio.get_running_loop()
    with desk.locked():
        began_s = loop.time()
        answers = await asyncio.gather(
            desk.wallets.hold(desk.hold("c2", 10), MODEL),
            desk.wallets.settle(desk.row(hold, 45)),
            return_exceptions=True,
        )
        assert [answer.kind for answer in answers if isinstance(answer, Fault)] == [
            Kind.LEDGER_UNAVAILABLE
        ] * 2
        assert loop.time() - began_s < SETTLE_WAIT_S + 0.5
    await desk.wallets.drain()
    # The hold may have been taken after its caller was told otherwise: it does not stay.
    assert desk.amounts == Amounts(balance=55, held=0, spent=45)
    assert desk.ledger.rows("SELECT id, charge FROM requests") == [("c1", 45)]
    assert desk.wallets.counts.posts == 1


async def test_the_hold_of_a_caller_who_left_is_released(desk: Desk) -> None:
    holding = asyncio.ensure_future(desk.wallets.hold(desk.hold("c1", 60), MODEL))
    await asyncio.sleep(0)
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding
    await desk.wallets.drain()
    assert desk.amounts == Amounts(balance=100, held=0, spent=0)
    assert desk.ledger.rows("SELECT id FROM requests") == []


async def test_the_hold_of_a_caller_who_left_as_it_was_taken_is_released(desk: Desk) -> None:
    holding = asyncio.ensure_future(desk.wallets.hold(desk.hold("c1", 60), MODEL))
    desk.at_apply.append(holding)
    with pytest.raises(asyncio.CancelledError):
        await holding
    await desk.commit.drain()
    assert desk.amounts.held == 60
    await desk.wallets.drain()
    assert desk.amounts.held == 0


async def test_a_hold_that_was_refused_to_a_caller_who_left_is_nothing(desk: Desk) -> None:
    await desk.held("c1", 60)
    holding = asyncio.ensure_future(desk.wallets.hold(desk.hold("c2", 60), MODEL))
    desk.at_apply.append(holding)
    with pytest.raises(asyncio.CancelledError):
        await holding
    await desk.wallets.drain()
    assert desk.amounts.held == 60


async def test_the_release_is_tried_until_the_store_takes_it(desk: Desk) -> None:
    holding = asyncio.ensure_future(desk.wallets.hold(desk.hold("c1", 60), MODEL))
    await asyncio.sleep(0)
    holding.cancel()
    await desk.commit.drain()
    desk.database.refusals = 4
    await desk.wallets.drain()
    assert desk.database.refusals == 0
    assert desk.amounts.held == 0


async def test_a_hold_that_may_have_been_kept_is_a_fault_and_is_released(desk: Desk) -> None:
    desk.database.refusals, desk.database.unsure = (
        int(desk.database.inline),
        1,
    )  # The loop's attempt tells for sure.
    with pytest.raises(Fault) as caught:
        await desk.wallets.hold(desk.hold("c1", 60), MODEL)
    assert caught.value.kind is Kind.LEDGER_UNAVAILABLE
    assert desk.amounts.held == 60
    await desk.wallets.drain()
    assert desk.amounts == Amounts(balance=100, held=0, spent=0)
    assert desk.ledger.rows("SELECT id FROM requests") == []


async def test_the_hold_of_a_caller_who_left_and_that_may_have_been_kept_is_released(desk: Desk) -> None:
    desk.database.refusals, desk.database.unsure = int(desk.database.inline), 1
    holding = asyncio.ensure_future(desk.wallets.hold(desk.hold("c1", 60), MODEL))
    await asyncio.sleep(0)
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding
    await desk.commit.drain()
    assert desk.amounts.held == 60
    await desk.wallets.drain()
    assert desk.amounts.held == 0


async def test_a_settlement_that_may_have_been_kept_is_made_once(desk: Desk) -> None:
    hold = await desk.held("c1", 60)
    desk.database.refusals, desk.database.unsure = int(desk.database.inline), 1
    assert await desk.wallets.settle(desk.row(hold, 45)) == Settled(45, 0)
    assert desk.amounts == Amounts(balance=55, held=0, spent=45)
    assert desk.ledger.rows("SELECT id, charge FROM requests") == [("c1", 45)]
    assert desk.wallets.counts.posts == 1


async def test_an_extension_that_may_have_been_kept_is_freed_by_the_settlement(desk: Desk) -> None:
    hold = await desk.held("c1", 60)
    desk.database.refusals, desk.database.unsure = int(desk.database.inline), 1
    with pytest.raises(Fault):
        await desk.wallets.extend(hold, 30)
    assert await desk.wallets.settle(desk.row(hold, 50)) == Settled(50, 0)
    assert desk.amounts == Amounts(balance=50, held=0, spent=50)


async def test_an_extension_whose_caller_left_is_freed_by_the_settlement(desk: Desk) -> None:
    hold = await desk.held("c1", 60)
    extending = asyncio.ensure_future(desk.wallets.extend(hold, 30))
    await asyncio.sleep(0)
    extending.cancel()
    assert await desk.wallets.settle(desk.row(hold, 50)) == Settled(50, 0)
    assert desk.amounts == Amounts(balance=50, held=0, spent=50)


@pytest.mark.parametrize("refusals", [0, 2, 5])
async def test_a_settlement_whose_caller_left_is_carried_through_once(desk: Desk, refusals: int) -> None:
    hold = await desk.held("c1", 60)
    settling = asyncio.ensure_future(desk.wallets.settle(desk.row(hold, 45)))
    await asyncio.sleep(0)
    desk.database.refusals = refusals
    settling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await settling
    await desk.wallets.drain()
    assert desk.database.refusals == 0
    assert desk.amounts == Amounts(balance=55, held=0, spent=45)
    assert desk.wallets.counts.posts == 1


async def test_a_settlement_whose_caller_left_while_it_was_tried_again_is_made(desk: Desk) -> None:
    hold = await desk.held("c1", 60)
    desk.database.refusals = 4
    settling = asyncio.ensure_future(desk.wallets.settle(desk.row(hold, 45)))
    await asyncio.sleep(0.02)
    settling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await settling
    await desk.wallets.drain()
    assert desk.amounts == Amounts(balance=55, held=0, spent=45)
