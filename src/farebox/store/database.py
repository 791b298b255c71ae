"""The database port: what the layers above may ask of a store, whichever engine keeps it.

A `Transaction` is synchronous and short. The hot path never opens one by itself: it submits operations to the group
commit (`store.writer`), which applies a whole batch in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

Value = str | int | bytes | None
Record = tuple[Value, ...]


class StoreBusyError(Exception):
    """Another process holds the database; the same work may be done again at once, waiting its turn."""


class StoreUnavailableError(Exception):
    """The database cannot be written now (disk full, file gone); nothing was changed."""


class Transaction(Protocol):
    """One unit of work: everything in it is kept, or nothing."""

    def all(self, sql: str, *values: Value) -> list[Record]:
        """Every row of a query, or of a statement with RETURNING."""

    def one(self, sql: str, *values: Value) -> Record | None:
        """The first row, if any."""

    def run(self, sql: str, *values: Value) -> int:
        """Run a statement; the number of rows it changed."""

    def run_many(self, sql: str, rows: Sequence[Sequence[Value]]) -> int:
        """Run a statement for each row; the number of rows changed in all."""

    def savepoint(self) -> AbstractContextManager[None]:
        """A part that is undone alone when it raises."""


class Database(Protocol):
    """One store."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """A write transaction that waits its turn. StoreUnavailableError when it cannot be had or kept."""

    def transaction_now(self) -> AbstractContextManager[Transaction]:
        """A write transaction at once, or StoreBusyError."""

    def read(self) -> AbstractContextManager[Transaction]:
        """A consistent view of what is committed; writes are refused."""

    def rows(self, sql: str, *values: Value) -> Iterable[Record]:
        """The rows of a query one by one, from one consistent view: for exports of any length."""

    def ping(self) -> None:
        """Raise StoreUnavailableError if the store does not answer."""

    def close(self) -> None:
        """Let go of the store."""
