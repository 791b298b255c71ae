"""The database port: what the layers above may ask of a store, whichever engine keeps it.

A `Transaction` is synchronous and short. The hot path never opens one by itself: it submits operations to the group
commit (`store.writer`), which applies a whole batch in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

Value = str | int | bytes | None
Record = tuple[Value, ...]


class StoreBusyError(Exception):
    """Another process holds the database; the same work may be done again at once, waiting its turn."""


class StoreUnavailableError(Exception):
    """The database cannot be written now (disk full, file gone); nothing was changed."""


class StoreUnsureError(StoreUnavailableError):
    """The database went away while it was committing: the work may have been kept, or not. It may be done again."""


class Transaction(Protocol):
    """One unit of work: everything in it is kept, or nothing."""

    @property
    def shared(self) -> bool:
        """Others may write at the same time: lock rows in one order before changing them."""

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

    def lock(self, table: str, column: str, ids: Iterable[int]) -> None:
        """Keep others from changing these rows until the end, where `shared`; table and column are our own names."""


class SessionLock(Protocol):
    """A lock that the database keeps for us as long as our session lasts, and frees when our process is gone."""

    def take(self) -> None:
        """Take it, if need be by a new session. StoreUnavailableError if that cannot be."""

    def stands(self) -> bool:
        """Whether we still have it."""

    def release(self) -> None:
        """Give it up."""


class SessionLocks(Protocol):
    """Locks by name, as one database keeps them."""

    def lock(self, name: str) -> SessionLock:
        """A lock, not taken yet."""

    def is_free(self, name: str) -> bool:
        """Whether nobody has it. StoreUnavailableError if that cannot be told."""


class Database(Protocol):
    """One store."""

    @property
    def inline(self) -> bool:
        """A commit is quick enough for the event loop; else it belongs in a thread."""

    @property
    def locks(self) -> SessionLocks | None:
        """Locks of sessions, where the engine has them."""

    @property
    def upkeep(self) -> Callable[[], object] | None:
        """What must be done from time to time, in a thread, if anything."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """A write transaction that waits its turn, alone. StoreUnavailableError when it cannot be had or kept.

        StoreUnsureError when nobody knows whether it was kept.
        """

    def batch(self) -> AbstractContextManager[Transaction]:
        """A write transaction beside others of its kind, where the engine can; StoreBusyError if they collided."""

    def migration(self) -> AbstractContextManager[Transaction]:
        """A write transaction for a change of the schema: it may take long, and others wait for it."""

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
