"""A database that fails on purpose: the real one, whose transactions are refused or undone as often as told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

from farebox.store.database import (
    Database,
    Record,
    SessionLocks,
    StoreUnavailableError,
    StoreUnsureError,
    Transaction,
    Value,
)


class FailingDatabase:
    """A Database. While one of its numbers is above zero, a write transaction fails and counts it down."""

    def __init__(self, database: Database) -> None:
        self.refusals = 0  # Transactions that are not even begun.
        self.undone = 0  # Transactions that fail when they would commit.
        self.unsure = 0  # Transactions that are kept, but nobody is told.
        self._database = database

    @property
    def inline(self) -> bool:
        return self._database.inline

    @property
    def locks(self) -> SessionLocks | None:
        return self._database.locks

    @property
    def upkeep(self) -> Callable[[], object] | None:
        return self._database.upkeep

    def batch(self) -> AbstractContextManager[Transaction]:
        return self._failing(self._database.batch)

    def migration(self) -> AbstractContextManager[Transaction]:
        return self._failing(self._database.migration)

    def transaction(self) -> AbstractContextManager[Transaction]:
        return self._failing(self._database.transaction)

    def transaction_now(self) -> AbstractContextManager[Transaction]:
        return self._failing(self._database.transaction_now)

    def read(self) -> AbstractContextManager[Transaction]:
        return self._database.read()

    def rows(self, sql: str, *values: Value) -> Iterable[Record]:
        return self._database.rows(sql, *values)

    def ping(self) -> None:
        self._database.ping()

    def close(self) -> None:
        self._database.close()

    @contextmanager
    def _failing(self, begin: Callable[[], AbstractContextManager[Transaction]]) -> Iterator[Transaction]:
        if self.refusals > 0:
            self.refusals -= 1
            raise StoreUnavailableError("the disk is gone")
        with begin() as work:
            yield work
            if self.undone > 0:
                self.undone -= 1
                raise StoreUnavailableError("the disk is full")
        if self.unsure > 0:
            self.unsure -= 1
            raise StoreUnsureError("the connection broke")
