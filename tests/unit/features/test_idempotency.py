"""Idempotency on rows: who may do what is asked, who gets the reply, and what becomes of it when a process dies."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from farebox.accounts.accounts import create_account
from farebox.core.clock import ManualClock
from farebox.core.errors import Fault, Kind
from farebox.features.idempotency import feature
from farebox.features.idempotency.feature import CALLS, Ask, Claim, Idempotency, Scope
from farebox.features.idempotency.reply import REPLY_BYTES_MAX, Reply
from farebox.features.idempotency.rows import State
from farebox.features.idempotency.verdict import Verdict, judge
from farebox.ledger.books import Held, HoldOp, RequestRow, SettleOp, apply_batch, sweep
from farebox.ledger.fate import Fate
from farebox.ledger.moves import Move, move
from farebox.ledger.rules import TransferKind
from farebox.store.migrate import load_migrations, migrate
from farebox.store.vault import Vault
from tests.support.stores import Store
from tests.unit.store.failing import FailingDatabase

REPLY = Reply(200, b"content-type: application/json\r\n", b'{"id":"chatcmpl-1"}')
WRITES = Scope("administrator 7")
HOUR_S = 3_600


class Bench:
    """One database, and the features of the workers on it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = ManualClock()
        self.database = store.database
        migrate(self.database, load_migrations())
        self.features: list[Idempotency] = []
        with self.database.transaction() as work:
            for name in ("acme", "globex"):
                owner = create_account(work, name, plan="free", currency="USD", now_us=self.clock.now_us())
                move(work, Move(name, owner.id, TransferKind.GRANT, 10**9, "USD", None, self.clock.now_us()))

    def worker(self, owner: str, secrets: tuple[bytes, ...] = (b"secret",)) -> Idempotency:
        """A worker that has proved its life."""
        with self.database.transaction() as work:
            work.run("INSERT INTO owners (id, started) VALUES (?, 0) ON CONFLICT (id) DO NOTHING", owner)
        self.failing = FailingDatabase(self.database)
        safe = Vault(secrets).safe(feature.PURPOSE)
        made = Idempotency(self.failing, self.clock, safe, hours=24, owner=owner)
        self.features.append(made)
        return made

    def die(self, owner: str) -> None:
        """Its process is gone, and the sweep has found out."""
        with self.database.transaction() as work:
            sweep(work, owner)

    def hold(self, call_id: str, owner: str, account_id: int = 1) -> None:
        with self.database.transaction() as work:
            assert apply_batch(work, [HoldOp(call_id, account_id, 1, owner, "m", 100, 0)]) == [Held()]

    def settle(self, call_id: str, charge: int, error: str | None = None) -> None:
        row = RequestRow(
            call_id, 1, 1, "standard", "m", "p", "m", "posted" if charge else "voided", 200,
            streamed=False, partial=False, estimated=False, finish="stop", error=error, usage="{}",
            input_tokens=1, output_tokens=1, charge=charge, currency="USD", hold=100, leakage=0, cost=0,
            cost_currency="USD", price_version="", cost_version="", attempts="[]", first_byte_us=None,
            latency_us=0, created=0,
        )  # fmt: skip
        with self.database.transaction() as work:
            apply_batch(work, [SettleOp(row, 0)])

    def count(self, where: str = "1 = 1") -> int:
        ((count,),) = self.database.rows(f"SELECT COUNT(*) FROM idempotency WHERE {where}")
        return int(str(count))


@pytest_asyncio.fixture
async def bench(store: Store) -> AsyncIterator[Bench]:
    bench = Bench(store)
    yield bench
    for made in bench.features:
        await made.drain()
        made.close()


async def asked(by: Idempotency, body: bytes = b"body", *, key: bytes = b"key", account: int = 1) -> Ask:
    return await by.ask(account, CALLS, key, b"POST", b"/v1/chat/completions", body)


async def claimed(by: Idempotency, call_id: str, body: bytes = b"body", *, key: bytes = b"key") -> Claim:
    claim = await by.claim(await asked(by, body, key=key), call_id)
    assert isinstance(claim, Claim), claim
    return claim


async def refused(by: Idempotency, body: bytes = b"body") -> str:
    with pytest.raises(Fault) as raised:
        await by.claim(await asked(by, body), "call-x")
    assert raised.value.kind is Kind.CONFLICT
    return raised.value.code


async def test_the_first_gets_the_right_and_the_next_the_reply(bench: Bench) -> None:
    here = bench.worker("a")
    claim = await claimed(here, "call-1")
    bench.hold("call-1", "a")
    assert await here.keep(claim, REPLY)
    bench.settle("call-1", 50)
    here.over(claim, None)
    assert await here.claim(await asked(here), "call-2") == REPLY
    assert await bench.worker("b").claim(await asked(here), "call-3") == REPLY
    assert await refused(here, b"other body") == "idempotency_key_reused"


async def test_who_comes_while_it_runs_waits_here_and_looks_again_elsewhere(bench: Bench) -> None:
    here, there = bench.worker("a"), bench.worker("b")
    claim = await claimed(here, "call-1")
    running = here.running(await asked(here))
    assert running is not None
    assert await there.claim(await asked(there), "call-2") is None
    with pytest.raises(Fault) as raised:
        here.running(await asked(here, b"other body"))
    assert raised.value.kind is Kind.CONFLICT
    fault = Fault(Kind.NO_CREDIT, "Top up.")
    await here.release(claim, fault)
    here.over(claim, fault)
    assert await running is fault
    await claimed(there, "call-2")


async def test_accounts_and_scopes_have_keys_of_their_own(bench: Bench) -> None:
    here = bench.worker("a")
    asks = [
        await asked(here),
        await asked(here, account=2),
        await asked(here, key=b"key2"),
        await here.ask(1, WRITES, b"key", b"POST", b"/v1/chat/completions", b"body"),
    ]
    assert len({ask.place for ask in asks}) == 4
    for at, ask in enumerate(asks):
        assert isinstance(await here.claim(ask, f"call-{at}"), Claim)


async def test_parts_of_a_request_never_run_into_each_other(bench: Bench) -> None:
    here = bench.worker("a")
    one = await here.ask(1, CALLS, b"key", b"POST", b"/v1/a", b"b")
    other = await here.ask(1, CALLS, b"key", b"POST", b"/v1/ab", b"")
    assert one.mark != other.mark


async def test_a_call_whose_process_died_uncharged_is_made_anew(bench: Bench) -> None:
    here, there = bench.worker("a"), bench.worker("b")
    claim = await claimed(here, "call-1")
    bench.hold("call-1", "a")
    assert await here.keep(claim, REPLY)  # Written down, but the charge never came.
    assert await there.claim(await asked(there), "call-2") is None
    bench.die("a")
    assert (await claimed(there, "call-2", b"even another body")).call_id == "call-2"
    assert bench.count("reply IS NOT NULL") == 0


async def test_a_call_that_was_charged_and_whose_reply_is_there_is_replayed_after_its_process_died(
    bench: Bench,
) -> None:
    here = bench.worker("a")
    claim = await claimed(here, "call-1")
    bench.hold("call-1", "a")
    await here.keep(claim, REPLY)
    bench.settle("call-1", 50)
    bench.die("a")
    there = bench.worker("b")
    assert await there.claim(await asked(there), "call-2") == REPLY


async def test_a_call_that_was_charged_without_a_reply_is_never_made_again(bench: Bench) -> None:
    here = bench.worker("a")
    claim = await claimed(here, "call-1")
    bench.hold("call-1", "a")
    bench.settle("call-1", 50, error="caller_gone")
    await here.release(claim, None)
    here.over(claim, None)
    assert await refused(here) == "idempotency_reply_lost"
    assert await refused(here, b"other body") == "idempotency_key_reused"


async def test_a_key_is_not_free_while_its_settlement_is_still_tried(bench: Bench) -> None:
    here = bench.worker("a")
    claim = await claimed(here, "call-1")
    bench.hold("call-1", "a")
    await here.keep(claim, REPLY)
    await here.release(claim, Fault(Kind.LEDGER_UNAVAILABLE, "Later."))
    here.over(claim, None)
    assert await here.claim(await asked(here), "call-2") is None
    bench.settle("call-1", 50)
    assert await here.claim(await asked(here), "call-2") == REPLY


async def test_a_release_that_does_not_reach_the_database_blocks_nobody_here(bench: Bench) -> None:
    here = bench.worker("a")
    claim = await claimed(here, "call-1")
    bench.failing.refusals = 2
    await here.release(claim, None)
    here.over(claim, None)
    bench.failing.refusals = 0
    await claimed(here, "call-2")


async def test_a_reply_that_the_database_does_not_take_is_told_so(bench: Bench) -> None:
    here = bench.worker("a")
    claim = await claimed(here, "call-1")
    bench.failing.refusals = 2
    assert not await here.keep(claim, REPLY)
    bench.failing.refusals = 0
    assert await here.keep(claim, REPLY)


async def test_work_outside_the_books_is_done_again_under_its_first_id(bench: Bench) -> None:
    here = bench.worker("a")
    ask = await here.ask(0, WRITES, b"key", b"POST", b"/admin/v1/accounts", b"body")
    assert isinstance(await here.claim(ask, "call-1"), Claim)
    bench.die("a")
    there = bench.worker("b")
    claim = await there.claim(ask, "call-2")
    assert isinstance(claim, Claim)
    assert claim.call_id == "call-1"
    await there.keep(claim, REPLY)
    there.over(claim, None)
    assert await there.claim(ask, "call-3") == REPLY


async def test_work_outside_the_books_that_was_refused_frees_its_key_and_that_broke_does_not(
    bench: Bench,
) -> None:
    here = bench.worker("a")
    other = await here.ask(0, WRITES, b"key", b"POST", b"/admin/v1/accounts", b"other body")
    for fault, verdict in ((Fault(Kind.BAD_REQUEST, "No."), "taken"), (None, "refused")):
        ask = await here.ask(0, WRITES, b"key", b"POST", b"/admin/v1/accounts", b"body")
        claim = await here.claim(ask, "call-1")
        assert isinstance(claim, Claim)
        await here.release(claim, fault)
        here.over(claim, None)
        if verdict == "taken":
            assert bench.count() == 0
        else:
            with pytest.raises(Fault):
                await here.claim(other, "call-2")


async def test_a_reply_sealed_with_a_secret_that_is_gone_is_lost_and_not_charged_again(bench: Bench) -> None:
    here = bench.worker("a", (b"old",))
    claim = await claimed(here, "call-1")
    bench.hold("call-1", "a")
    await here.keep(claim, REPLY)
    bench.settle("call-1", 50)
    here.over(claim, None)
    both = bench.worker("b", (b"new", b"old"))
    assert await both.claim(await asked(both), "call-2") == REPLY
    # A mark under another secret cannot be compared, so this says what it can: the key was used.
    assert await refused(bench.worker("c", (b"new",))) == "idempotency_key_reused"


@pytest.mark.parametrize("size", [feature.INLINE_BYTES + 1, REPLY_BYTES_MAX])
async def test_large_replies_are_kept_whole(bench: Bench, size: int) -> None:
    here = bench.worker("a")
    claim = await claimed(here, "call-1")
    bench.hold("call-1", "a")
    large = Reply(200, b"", b"x" * size)
    assert await here.keep(claim, large)
    bench.settle("call-1", 50)
    here.over(claim, None)
    assert await here.claim(await asked(here), "call-2") == large


async def test_replies_beyond_the_limit_are_not_kept(bench: Bench) -> None:
    here = bench.worker("a")
    claim = await claimed(here, "call-1")
    bench.hold("call-1", "a")
    await here.keep(claim, Reply(200, b"", b"x" * (REPLY_BYTES_MAX + 1)))
    bench.settle("call-1", 50)
    here.over(claim, None)
    assert await refused(here) == "idempotency_reply_too_large"


async def test_after_its_hours_a_key_is_new_whether_its_row_is_gone_or_not(bench: Bench) -> None:
    here = bench.worker("a")
    for call_id, forgets in (("call-1", False), ("call-2", True)):
        claim = await claimed(here, call_id, call_id.encode())
        bench.hold(call_id, "a")
        await here.keep(claim, REPLY)
        bench.settle(call_id, 50)
        here.over(claim, None)
        bench.clock.forward(24 * HOUR_S - 1)
        assert await here.claim(await asked(here, call_id.encode()), "call-x") == REPLY
        assert here.forget_old() == 0
        bench.clock.forward(1)
        if forgets:
            assert await asyncio.to_thread(here.forget_old) == 1
            assert bench.count() == 0


async def test_an_account_with_too_many_loses_its_oldest_that_have_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = bench.worker("a")
    for at in range(6):
        claim = await claimed(here, f"call-{at}", key=b"key %d" % at)
        if at:  # The oldest still runs.
            await here.keep(claim, REPLY)
        here.over(claim, None)
        bench.clock.forward(1)
    monkeypatch.setattr(feature, "ROWS_MAX", 4)
    await asyncio.to_thread(here.forget_old)
    assert [row[0] for row in bench.database.rows("SELECT call_id FROM idempotency ORDER BY created")] == [
        "call-0", "call-3", "call-4", "call-5",
    ]  # fmt: skip


async def test_an_account_with_too_much_loses_its_oldest_replies_but_no_row(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = bench.worker("a")
    for at in range(4):
        claim = await claimed(here, f"call-{at}", key=b"key %d" % at)
        bench.hold(f"call-{at}", "a")
        await here.keep(claim, REPLY)
        bench.settle(f"call-{at}", 50)
        here.over(claim, None)
        bench.clock.forward(1)
    ((size,),) = bench.database.rows("SELECT MAX(size) FROM idempotency")
    monkeypatch.setattr(feature, "KEPT_BYTES_MAX", 2 * int(str(size)))
    await asyncio.to_thread(here.forget_old)
    assert (bench.count(), bench.count("state = 'kept'")) == (4, 2)
    with pytest.raises(Fault) as raised:
        await here.claim(await asked(here, key=b"key 0"), "call-x")
    assert raised.value.code == "idempotency_reply_lost"
    assert await here.claim(await asked(here, key=b"key 3"), "call-x") == REPLY


async def test_a_row_moved_to_another_account_does_not_open_there(bench: Bench) -> None:
    here = bench.worker("a")
    claim = await claimed(here, "call-1")
    bench.hold("call-1", "a")
    await here.keep(claim, REPLY)
    bench.settle("call-1", 50)
    here.over(claim, None)
    with bench.database.transaction() as work:
        work.run("UPDATE idempotency SET account_id = 2")
        work.run("UPDATE requests SET account_id = 2")
    with pytest.raises(Fault) as raised:
        await here.claim(await asked(here, account=2), "call-x")
    assert raised.value.code == "idempotency_reply_lost"


def test_no_verdict_makes_a_charged_call_anew_or_replays_one_that_may_not_be_charged() -> None:
    everything = itertools.product(State, Fate, (True, False), (True, False))
    for state, fate, run, same in everything:
        verdict = judge(state, fate, run=run, same=same)
        if fate in (Fate.CHARGED, Fate.OPEN) or run:
            assert verdict is not Verdict.TAKE
        if verdict is Verdict.REPLAY:
            assert state is State.KEPT
            assert fate in (Fate.CHARGED, Fate.EMPTY)
        if not same:
            assert verdict in (Verdict.TAKE, Verdict.CONFLICT)
        if not run and fate is not Fate.OPEN:
            assert verdict is not Verdict.WAIT  # Nobody waits for what nobody does.


def test_what_the_books_do_not_know_is_taken_again_only_for_the_same_request() -> None:
    for state, run in itertools.product(State, (True, False)):
        assert judge(state, None, run=run, same=False) is Verdict.CONFLICT
    assert judge(State.OPEN, None, run=False, same=True) is Verdict.TAKE
    assert judge(State.OPEN, None, run=True, same=True) is Verdict.WAIT
    assert judge(State.KEPT, None, run=False, same=True) is Verdict.REPLAY


async def test_two_workers_who_claim_at_once_are_told_apart(bench: Bench) -> None:
    here, there = bench.worker("a"), bench.worker("b")
    got = await asyncio.gather(
        here.claim(await asked(here), "call-1"), there.claim(await asked(there), "call-2")
    )
    assert sum(isinstance(one, Claim) for one in got) == 1
    assert None in got


async def test_two_who_take_over_at_once_are_told_apart(bench: Bench) -> None:
    await claimed(bench.worker("dead"), "call-0")
    bench.die("dead")
    here, there = bench.worker("a"), bench.worker("b")
    got = await asyncio.gather(
        here.claim(await asked(here), "call-1"), there.claim(await asked(there), "call-2")
    )
    assert sum(isinstance(one, Claim) for one in got) == 1
    assert None in got


def test_the_scope_of_calls_is_what_replies_in_the_database_were_claimed_under() -> None:
    # Their names are part of digests: changing one forgets every key.
    assert (CALLS.name, feature.PURPOSE) == ("call", "idempotency")
