"""Group commit: operations of many calls, one transaction.

An operation is queued and its future given back. The flush runs as soon as a turn of the loop brings nothing new, so
everything that arrives together shares one commit, and an idle gateway commits at once: no linger. It runs on the
loop itself while the database is free (a commit takes tens of microseconds without a sync to disk); if another
process holds the lock, that batch is committed by a helper thread that waits, and later operations queue behind it,
in order. Callers wait for that PATIENCE_S; then they are told that the store is unavailable, though the thread's
batch may still be kept. Where the engine's commit is never quick enough for the loop (`inline`), every batch is the
thread's: while it commits one, what arrives makes up the next.

A batch that raises is replayed one by one, so that a poisoned operation fails alone. An operation whose caller has
left is applied all the same, and `abandoned` is told what became of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from farebox.store.database import Database, StoreBusyError, StoreUnavailableError, Transaction

Op = TypeVar("Op")
Result = TypeVar("Result")
Done = TypeVar("Done")

log = logging.getLogger("farebox")

BATCH_MAX = 256  # Bounds how long one flush may keep the loop.
# After so many operations the queue waits a moment for `upkeep`. A write-ahead log starts over only when it was copied
# whole with no write in between, so under steady load it would grow without end.
UPKEEP_OPERATIONS = 4_000
TURNS_MAX = 8  # Of the loop, while operations keep coming.
QUEUE_MAX = 10_000  # Beyond it the store is as good as gone: refuse rather than grow.
PATIENCE_S = 2.0  # The longest that the end of an answer may be withheld.


class Counts:
    """How the group commit has done so far, for metrics."""

    def __init__(self) -> None:
        self.batches = 0
        self.operations = 0
        self.patient = 0  # Batches that had to wait for another process.
        self.replayed = 0  # Batches that were replayed one by one.


class GroupCommit(Generic[Op, Result]):
    """Applies operations in batches. `apply` gets a transaction and the batch, and gives one result an operation."""

    def __init__(
        self,
        database: Database,
        apply: Callable[[Transaction, Sequence[Op]], Sequence[Result]],
        upkeep: Callable[[], object] | None = None,
    ) -> None:
        self.counts = Counts()
        # Called with an operation whose caller no longer waits, and its result; set by whoever must clean up after it.
        self.abandoned: Callable[[Op, Result | Exception], None] = lambda _operation, _result: None
        self._database = database
        self._apply = apply
        self._queue: list[tuple[Op, asyncio.Future[Result]]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._flushing = False  # A flush is scheduled, or the helper thread is at work.
        self._upkeep = upkeep
        self._kept = 0  # How many operations there had been at the last upkeep.
        self._stuck = False  # The helper thread has waited too long, and still waits.
        self._thread: ThreadPoolExecutor | None = None

    def submit(self, operation: Op) -> asyncio.Future[Result]:
        """Queue one operation. Its future has the result once it is durable, or StoreUnavailableError."""
        # Asking for the running loop is a system call before Python 3.12: once is enough.
        loop = self._loop = self._loop or asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        if self._stuck or len(self._queue) >= QUEUE_MAX:
            future.set_exception(_unavailable())
            return future
        self._queue.append((operation, future))
        if not self._flushing:
            self._flushing = True
            loop.call_soon(self._gather, 0, 0)
        return future

    async def drain(self) -> None:
        """Wait until nothing is queued."""
        while self._queue or self._flushing:  # noqa: ASYNC110 -- once a process, at its end
            await asyncio.sleep(0.005)

    def close(self) -> None:
        """Stop the helper thread. Call `drain` first."""
        if self._thread is not None:
            self._thread.shutdown(wait=True)

    def _gather(self, turns: int, before: int) -> None:
        """Flush as soon as a turn of the loop brings nothing new: what the sockets have ready shares the commit.

        An idle loop turns at once, so nobody lingers; a busy one commits half as often for it.
        """
        queued = len(self._queue)
        if queued > before and turns < TURNS_MAX:
            assert self._loop is not None
            self._loop.call_soon(self._gather, turns + 1, queued)
        else:
            self._flush()

    def _flush(self) -> None:
        batch = self._queue[:BATCH_MAX]
        operations = [operation for operation, _ in batch]
        if not self._database.inline:
            self._flush_patiently(batch, operations)
            return
        try:
            with self._database.transaction_now() as work:
                results = self._apply(work, operations)
        except Exception as error:  # The database is locked, or one operation is poisoned: the thread tells.
            self.counts.patient += isinstance(error, StoreBusyError)
            self._flush_patiently(batch, operations)
        else:
            self._finish(batch, results)

    def _flush_patiently(self, batch: list[tuple[Op, asyncio.Future[Result]]], operations: list[Op]) -> None:
        patience = asyncio.get_running_loop().call_later(PATIENCE_S, self._lose_patience, len(batch))

        def finish(done: asyncio.Future[Sequence[Result | Exception]]) -> None:
            patience.cancel()
            self._stuck = False
            self._finish(batch, done.result())

        self._in_thread(lambda: self._commit_patiently(operations)).add_done_callback(finish)

    def _in_thread(self, work: Callable[[], Done]) -> asyncio.Future[Done]:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="farebox-ledger")
        return asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _lose_patience(self, taken: int) -> None:
        """Let nobody wait any longer: what the thread has not taken is dropped, what it has taken may still be kept."""
        self._stuck = True
        for _, future in self._queue[:taken]:
            if not future.done():
                future.set_exception(_unavailable())
        dropped = self._queue[taken:]
        del self._queue[taken:]
        for operation, future in dropped:
            self._tell(operation, future, _unavailable())

    def _commit_patiently(self, operations: list[Op]) -> Sequence[Result | Exception]:
        try:
            with self._database.batch() as work:
                return self._apply(work, operations)
        except StoreUnavailableError as error:  # Nobody's fault: no operation alone would fare better.
            return [error] * len(operations)
        except Exception:  # As in _flush.
            return self._replay(operations)

    def _replay(self, operations: list[Op]) -> list[Result | Exception]:
        """Apply each operation in a transaction of its own."""
        self.counts.replayed += 1
        results: list[Result | Exception] = []
        for operation in operations:
            results.append(self._apply_alone(operation))
            if isinstance(results[-1], StoreUnavailableError):
                break  # The rest would each wait as long, for nothing.
        return results + [results[-1]] * (len(operations) - len(results))

    def _apply_alone(self, operation: Op) -> Result | Exception:
        try:
            with self._database.batch() as work:
                (result,) = self._apply(work, [operation])
        except (
            StoreBusyError
        ) as error:  # It collided with another node's a second time: the store is too busy.
            return StoreUnavailableError(str(error))
        except Exception as error:  # The operation's own: its future carries it to whoever asked.
            return error
        return result

    def _finish(
        self, batch: list[tuple[Op, asyncio.Future[Result]]], results: Sequence[Result | Exception]
    ) -> None:
        assert len(batch) == len(results)
        self.counts.batches += 1
        self.counts.operations += len(batch)
        del self._queue[: len(batch)]
        if self._upkeep is not None and self.counts.operations - self._kept >= UPKEEP_OPERATIONS:
            self._kept = self.counts.operations
            self._in_thread(self._upkeep).add_done_callback(self._kept_up)
        else:
            self._go_on()
        for (operation, future), result in zip(batch, results, strict=True):
            self._tell(operation, future, result)

    def _kept_up(self, done: asyncio.Future[object]) -> None:
        error = done.exception()
        if error is not None:
            log.error("the database's upkeep failed; it is tried again later", exc_info=error)
        self._go_on()

    def _go_on(self) -> None:
        if self._queue:
            asyncio.get_running_loop().call_soon(self._flush)
        else:
            self._flushing = False

    def _tell(self, operation: Op, future: asyncio.Future[Result], result: Result | Exception) -> None:
        if future.done():  # Its caller has left, or has been told that the store is unavailable.
            self.abandoned(operation, result)
        elif isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)


def _unavailable() -> StoreUnavailableError:
    return StoreUnavailableError("the ledger's database takes no writes at the moment")
