"""Group commit: operations of many calls, one transaction.

An operation is queued and its future given back. The flush runs when the loop has handled what was ready, so everything
that arrived meanwhile shares one commit, and an idle gateway commits at once: no linger. It runs on the loop itself
while the database is free (a commit takes tens of microseconds without a sync to disk); if another process holds the
lock, that batch is committed by a helper thread that waits, and later operations queue behind it, in order.

A batch that raises is replayed one by one, so that a poisoned operation fails alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from farebox.store.database import Database, StoreUnavailableError, Transaction

Op = TypeVar("Op")
Result = TypeVar("Result")

BATCH_MAX = 256  # Bounds how long one flush may keep the loop.
QUEUE_MAX = 10_000  # Beyond it the store is as good as gone: refuse rather than grow.


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
        self, database: Database, apply: Callable[[Transaction, Sequence[Op]], Sequence[Result]]
    ) -> None:
        self.counts = Counts()
        self._database = database
        self._apply = apply
        self._queue: list[tuple[Op, asyncio.Future[Result]]] = []
        self._flushing = False  # A flush is scheduled, or a batch is with the helper thread.
        self._thread: ThreadPoolExecutor | None = None

    def submit(self, operation: Op) -> asyncio.Future[Result]:
        """Queue one operation. Its future has the result once it is durable, or StoreUnavailableError."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        if len(self._queue) >= QUEUE_MAX:
            future.set_exception(StoreUnavailableError("the ledger's queue is full"))
            return future
        self._queue.append((operation, future))
        if not self._flushing:
            self._flushing = True
            loop.call_soon(self._flush)
        return future

    async def drain(self) -> None:
        """Wait until nothing is queued."""
        while self._queue or self._flushing:
            await asyncio.sleep(0.005)

    def close(self) -> None:
        """Stop the helper thread. Call `drain` first."""
        if self._thread is not None:
            self._thread.shutdown(wait=True)

    def _flush(self) -> None:
        batch = self._queue[:BATCH_MAX]
        operations = [operation for operation, _ in batch]
        try:
            with self._database.transaction_now() as work:
                results = self._apply(work, operations)
        except Exception:  # Another process has the lock, or one operation is poisoned: the thread waits, or tells them apart.
            self._flush_patiently(batch, operations)
        else:
            self._finish(batch, results)

    def _flush_patiently(self, batch: list[tuple[Op, asyncio.Future[Result]]], operations: list[Op]) -> None:
        self.counts.patient += 1
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="farebox-ledger")
        waiting = asyncio.get_running_loop().run_in_executor(self._thread, self._commit_patiently, operations)
        waiting.add_done_callback(lambda done: self._finish(batch, done.result()))

    def _commit_patiently(self, operations: list[Op]) -> Sequence[Result | Exception]:
        try:
            with self._database.transaction() as work:
                return self._apply(work, operations)
        except Exception:  # As in _flush.
            return self._replay(operations)

    def _replay(self, operations: list[Op]) -> list[Result | Exception]:
        """Apply each operation in a transaction of its own."""
        self.counts.replayed += 1
        results: list[Result | Exception] = []
        for operation in operations:
            try:
                with self._database.transaction() as work:
                    results.extend(self._apply(work, [operation]))
            except Exception as error:  # The operation's own: its future carries it to whoever asked.
                results.append(error)
        return results

    def _finish(
        self, batch: list[tuple[Op, asyncio.Future[Result]]], results: Sequence[Result | Exception]
    ) -> None:
        assert len(batch) == len(results)
        self.counts.batches += 1
        self.counts.operations += len(batch)
        del self._queue[: len(batch)]
        if self._queue:
            asyncio.get_running_loop().call_soon(self._flush)
        else:
            self._flushing = False
        for (_, future), result in zip(batch, results, strict=True):
            if future.cancelled():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
