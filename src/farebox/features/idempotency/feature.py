"""Idempotency: a caller names what it asks by a key of its own, and however often it asks, it is done once.

The first to come with a key claims its row, durably, before any money is held. A model call's reply is written down
before its charge is: so whenever the process is killed, either the call was not charged, and a repeat is a new call; or
it was, and the reply is there (`verdict.py` has every case). Other work that can be repeated safely under one id is
done again under its first id.

Who runs a row is told by the ledger's owners: a process that is gone runs nothing. Repeats on the same worker wait for
the one that runs; those on others look again from time to time.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from functools import partial

import msgspec

from farebox.core.clock import Clock
from farebox.core.errors import Fault, Kind
from farebox.features.idempotency import rows
from farebox.features.idempotency.reply import REPLY_BYTES_MAX, Reply, open_reply, seal_reply
from farebox.features.idempotency.rows import (
    Claimed,
    ClaimOp,
    Found,
    KeepOp,
    Op,
    Place,
    ReleaseOp,
    Result,
    Row,
    State,
)
from farebox.features.idempotency.verdict import Verdict, judge
from farebox.store.database import Database, StoreUnavailableError, Transaction
from farebox.store.vault import Safe, SealBrokenError
from farebox.store.writer import GroupCommit

log = logging.getLogger("farebox")

PURPOSE = "idempotency"
INLINE_BYTES = (
    128 << 10
)  # Digesting, sealing or writing more takes the loop's time, and goes through a thread.
ROWS_MAX = 100_000  # Of one account within the hours; then its oldest that have ended go.
KEPT_BYTES_MAX = 256 << 20  # Of one account's replies; then its oldest are dropped.
AT_ONCE = 100  # Rows deleted in one transaction, which other writers wait for.
BATCHES = 20  # At one turn: what is left then waits for the next.
KEEP_WAIT_S = 2.0  # How long an answer waits to be kept, as long as it waits for its charge.
PAUSE_S = 0.02  # Between two batches, in which the others may write.
_HOUR_US = 3_600_000_000


class Scope(msgspec.Struct, frozen=True):
    """A kind of work whose keys are apart from those of any other kind."""

    name: str
    in_books: bool = (
        False  # The ledger knows its calls by their ids; else it is safe to do again under its first id.
    )


CALLS = Scope("call", in_books=True)


class Ask(msgspec.Struct, frozen=True):
    """One request with a key: where its row is, and the marks of what it asks, under every secret."""

    place: Place
    scope: Scope
    mark: bytes
    marks: frozenset[bytes]


class Claim(msgspec.Struct, frozen=True):
    """The right to do what is asked, under this id."""

    ask: Ask
    call_id: str


class _Running(msgspec.Struct):
    mark: bytes
    over: asyncio.Future[Fault | None]  # What it failed of; None: look again.


class Idempotency:
    """Remembers for `hours` what was asked under which key, and what was answered."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        safe: Safe,
        *,
        hours: int,
        owner: str,
    ) -> None:
        self._database = database
        self._clock = clock
        self._safe = safe
        self._hours = hours
        self._owner = owner
        self._commit: GroupCommit[Op, Result] = GroupCommit(database, rows.apply)
        self._commit.abandoned = self._abandoned
        self._running: dict[Place, _Running] = {}
        self._keeping: set[asyncio.Task[None]] = set()
        self._ready = False

    async def ask(self, account_id: int, scope: Scope, key: bytes, *parts: bytes) -> Ask:
        """Name a request; `parts` are what makes it what it is."""
        if not self._ready:
            await asyncio.to_thread(self._safe.prepare)
            self._ready = True
        place = Place(account_id, hashlib.sha256(b"%b\n%b" % (scope.name.encode(), key)).digest())
        large = sum(map(len, parts)) > INLINE_BYTES
        digest = await asyncio.to_thread(_digest, parts) if large else _digest(parts)
        return Ask(place, scope, self._safe.mark(digest), self._safe.marks(digest))

    def running(self, ask: Ask) -> asyncio.Future[Fault | None] | None:
        """What to wait for if this worker runs it already; Fault CONFLICT if that is something else."""
        running = self._running.get(ask.place)
        if running is None:
            return None
        if running.mark != ask.mark:
            raise _conflict()
        return running.over

    async def claim(self, ask: Ask, call_id: str) -> Claim | Reply | None:
        """The right to do it, the reply if it was done, or None: it is under way elsewhere, so look again later.

        Fault CONFLICT if the key was used for something else, or its reply cannot be had any more;
        StoreUnavailableError if the database cannot tell. Nobody of this worker may be running it.
        """
        over: asyncio.Future[Fault | None] = asyncio.get_running_loop().create_future()
        self._running[ask.place] = _Running(ask.mark, over)
        claim: Claim | Reply | None = None
        try:
            claim = await self._claim(ask, call_id)
        finally:
            if not isinstance(claim, Claim):
                self._over(ask.place, None)
        return claim

    async def keep(self, claim: Claim, reply: Reply | None) -> bool:
        """Keep the reply, None for one that is too large; False if the database has not taken it in time.

        Whatever it fails of is a line in the log, and holds no answer back: hence a task of its own.
        """
        task = asyncio.create_task(self._keep(claim, reply))
        self._keeping.add(task)
        task.add_done_callback(partial(self._kept, claim.call_id))
        done, _ = await asyncio.wait({task}, timeout=KEEP_WAIT_S)
        return bool(done) and task.exception() is None

    async def release(self, claim: Claim, fault: Fault | None) -> None:
        """It ended without a reply to keep: a repeat may do it again, unless it was charged or may have had effect."""
        undone = None if claim.ask.scope.in_books else fault is not None and fault.kind is not Kind.BROKEN
        try:
            await self._commit.submit(ReleaseOp(claim.ask.place, claim.call_id, undone))
        except StoreUnavailableError:
            # Its row says that we run it, and we know that we do not: a repeat on this worker is judged rightly.
            log.warning("the key of call %s is not free yet: the database is busy", claim.call_id)

    def over(self, claim: Claim, fault: Fault | None) -> None:
        """Let those who wait for it look again, or tell them what it failed of."""
        self._over(claim.ask.place, fault)

    def forget_old(self) -> int:
        """Forget what is past its hours, and what an account has too much of; how many. Not for the loop's thread."""
        until_us = self._until_us()
        forgotten = self._in_batches(lambda work: rows.delete_old(work, until_us, AT_ONCE))
        with self._database.read() as view:
            beyond = rows.find_beyond(view, ROWS_MAX, KEPT_BYTES_MAX)
        for account_id, too_many, bytes_ in beyond:
            self._trim(account_id, too_many, bytes_)
            forgotten += too_many
        return forgotten

    async def drain(self) -> None:
        """Wait until nothing is on its way into the database."""
        await asyncio.gather(*self._keeping, return_exceptions=True)
        await self._commit.drain()

    def close(self) -> None:
        """Let go of what writes. Call `drain` first."""
        self._commit.close()

    async def _claim(self, ask: Ask, call_id: str) -> Claim | Reply | None:
        instead: Row | None = None
        while True:
            row = Row(ask.mark, call_id, self._owner, State.OPEN, 0, self._clock.now_us())
            op = ClaimOp(ask.place, row, self._until_us(), ask.scope.in_books, instead)
            found = await self._commit.submit(op)
            if isinstance(found, Claimed):
                return Claim(ask, call_id)
            assert isinstance(found, Found)
            verdict = self._judge(ask, found)
            if verdict is Verdict.WAIT:
                return None
            if verdict is Verdict.REPLAY:
                return await self._open(ask.place, found.row)
            if verdict is not Verdict.TAKE:
                raise _FAULTS[verdict](found.row.call_id)
            instead = found.row
            if not ask.scope.in_books:
                call_id = instead.call_id

    def _judge(self, ask: Ask, found: Found) -> Verdict:
        row = found.row
        # A row of ours whose call we do not run is nobody's: its release did not reach the database.
        run = found.lives and row.owner != self._owner
        return judge(row.state, found.fate, run=run, same=row.request in ask.marks)

    async def _open(self, place: Place, row: Row) -> Reply | None:
        """The reply of a row; None if it has changed meanwhile."""

        def read() -> Reply | None:
            with self._database.read() as view:
                sealed = rows.find_reply(view, place, row.call_id)
            return None if sealed is None else open_reply(self._safe, sealed, place, row.call_id)

        try:
            inline = self._database.inline and row.size <= INLINE_BYTES
            return read() if inline else await asyncio.to_thread(read)
        except SealBrokenError:
            log.warning("the reply of call %s was sealed with a secret that is not here", row.call_id)
            raise _lost(row.call_id) from None

    async def _keep(self, claim: Claim, reply: Reply | None) -> None:
        place, call_id = claim.ask.place, claim.call_id
        if reply is not None and len(reply.body) > REPLY_BYTES_MAX:
            reply = None
        if reply is None or len(reply.body) <= INLINE_BYTES:
            sealed = None if reply is None else seal_reply(self._safe, reply, place, call_id)
            await self._commit.submit(KeepOp(place, call_id, sealed))
        else:
            await asyncio.to_thread(self._keep_large, claim, reply)

    def _kept(self, call_id: str, task: asyncio.Task[None]) -> None:
        self._keeping.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            known = isinstance(error, StoreUnavailableError)
            log.error(
                "the reply of call %s is not kept for a repeat", call_id, exc_info=None if known else error
            )

    def _keep_large(self, claim: Claim, reply: Reply) -> None:
        place = claim.ask.place
        sealed = seal_reply(self._safe, reply, place, claim.call_id)
        with self._database.transaction() as work:
            rows.apply(work, [KeepOp(place, claim.call_id, sealed)])

    def _over(self, place: Place, fault: Fault | None) -> None:
        running = self._running.pop(place, None)
        if running is not None:
            running.over.set_result(fault)

    def _abandoned(self, op: Op, result: Result | Exception) -> None:
        """A claim that its caller was told to be impossible stands after all: nobody runs it."""
        if isinstance(op, ClaimOp) and isinstance(result, Claimed):
            self._commit.submit(ReleaseOp(op.place, op.row.call_id, None if op.in_books else False))

    def _trim(self, account_id: int, too_many: int, bytes_: int) -> None:
        left = min(too_many, BATCHES * AT_ONCE)
        while left > 0:
            most = min(left, AT_ONCE)
            with self._database.transaction() as work:
                rows.delete_finished(work, account_id, most)
            left -= most
            time.sleep(PAUSE_S)
        for _ in range(BATCHES):
            if bytes_ <= 0:
                break
            with self._database.transaction() as work:
                dropped = rows.drop_replies(work, account_id, bytes_, AT_ONCE)
            if not dropped:
                break
            bytes_ -= dropped
            time.sleep(PAUSE_S)

    def _in_batches(self, delete: Callable[[Transaction], int]) -> int:
        deleted = 0
        for _ in range(BATCHES):
            with self._database.transaction() as work:
                count = delete(work)
            deleted += count
            if count < AT_ONCE:
                break
            time.sleep(PAUSE_S)
        return deleted

    def _until_us(self) -> int:
        """Whatever was asked until then is past its hours."""
        return self._clock.now_us() - self._hours * _HOUR_US


def _digest(parts: tuple[bytes, ...]) -> bytes:
    """One digest of all parts, none of which can run into its neighbour."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(b"%d\n" % len(part))
        digest.update(part)
    return digest.digest()


def in_progress() -> Fault:
    """What a repeat is told that has waited long enough."""
    return Fault(
        Kind.IN_PROGRESS,
        "A request with this idempotency-key is still running. Send the same again later to get its reply.",
        param="idempotency-key",
        retry_after_s=1,
    )


def _conflict(call_id: str = "") -> Fault:
    return Fault(
        Kind.CONFLICT,
        "This idempotency-key was used for another request. Send the same method, path and body again to get its"
        " reply, or a new key for a new request.",
        param="idempotency-key",
        fields=_named(call_id) if call_id else (),
    )


def _lost(call_id: str) -> Fault:
    return Fault(
        Kind.CONFLICT,
        "The request with this idempotency-key was charged, but its reply was cut short or is not kept any more."
        f" It is not done again. Its receipt is at /v1/requests/{call_id}; send a new key for a new request.",
        code="idempotency_reply_lost",
        param="idempotency-key",
        fields=_named(call_id),
    )


def _too_large(call_id: str) -> Fault:
    return Fault(
        Kind.CONFLICT,
        f"The reply to this idempotency-key was larger than the {REPLY_BYTES_MAX:,} bytes that are kept. It is not"
        f" done again. Its receipt is at /v1/requests/{call_id}; send a new key for a new request.",
        code="idempotency_reply_too_large",
        param="idempotency-key",
        fields=_named(call_id),
    )


def _named(call_id: str) -> tuple[tuple[str, str], ...]:
    return (("request_id", msgspec.json.encode(call_id).decode()),)


_FAULTS: dict[Verdict, Callable[[str], Fault]] = {
    Verdict.CONFLICT: _conflict,
    Verdict.LOST: _lost,
    Verdict.TOO_LARGE: _too_large,
}
