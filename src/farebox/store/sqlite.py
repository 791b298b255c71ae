"""SQLite behind the database port: one file, WAL, one writer at a time, readers never in its way.

Three connections: `_now` writes on the event loop's thread and never waits; `_patient` waits its turn in a helper
thread; `_reader` reads. A few more are kept for threads that read. Checkpoints never run inside a commit
(`wal_autocheckpoint=0`): a duty does them, so that no caller waits for a copy of the log. (Measured by the prototype:
commit on the loop 86 µs a request in all, through a writer thread 118.)
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType

from farebox.store.database import Record, StoreBusyError, StoreUnavailableError, Transaction, Value

BUSY_WAIT_MS = 5_000  # How long a patient writer waits for another process before it reports the store gone.
POLL_MS = 10
SPARE_MOST = 2
# A commit writes every page it touches: with half of SQLite's usual page it writes half as much, and a commit for one
# call costs 12 % less; a page of 1,024 costs more again, for rows no longer fit.
PAGE_BYTES = 2048
_SYNCHRONOUS = {"process": "NORMAL", "power-loss": "FULL"}
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
# What says that the store is gone, by SQLite's primary codes; anything else is the statement's own fault.
_GONE = (
    *(sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_INTERRUPT),
    *(sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN),
    *(sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOTADB),
)


class _Transaction:
    """A Transaction on one connection."""

    shared = False  # There is one writer at a time.

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def all(self, sql: str, *values: Value) -> list[Record]:
        return self._connection.execute(sql, values).fetchall()

    def one(self, sql: str, *values: Value) -> Record | None:
        row: Record | None = self._connection.execute(sql, values).fetchone()
        return row

    def run(self, sql: str, *values: Value) -> int:
        return self._connection.execute(sql, values).rowcount

    def run_many(self, sql: str, rows: Sequence[Sequence[Value]]) -> int:
        return self._connection.executemany(sql, rows).rowcount

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        self._connection.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK TO part")
            raise
        finally:
            self._connection.execute("RELEASE part")

    def lock(self, table: str, column: str, ids: Iterable[int]) -> None:
        """Whoever writes has the whole file."""


class SqliteDatabase:
    """One SQLite file. `transaction_now` belongs to one thread (the loop's), `transaction` to any."""

    inline = True
    locks = None

    def __init__(self, path: Path, *, durability: str = "process") -> None:
        self.path = path
        self._synchronous = _SYNCHRONOUS[durability]
        self._patient = self._connect(BUSY_WAIT_MS)
        self._turn = threading.Lock()  # A connection has one transaction at a time, whichever thread asks.
        self._use_log()
        self._now = self._connect(0)
        self._home = threading.get_ident()
        self._reader = self._connect(BUSY_WAIT_MS)
        self._reader.execute("PRAGMA query_only=ON")
        self._spare: list[
            sqlite3.Connection
        ] = []  # Readers for other threads: opening one costs more than most reads.

    def _connect(self, busy_ms: int) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(
                self.path,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=256,
                timeout=busy_ms / 1000,
            )
            connection.execute(f"PRAGMA page_size={PAGE_BYTES}")  # Of a new file; an old one keeps its own.
            connection.execute(f"PRAGMA synchronous={self._synchronous}")
            connection.execute("PRAGMA wal_autocheckpoint=0")
            connection.execute("PRAGMA foreign_keys=ON")
        except sqlite3.Error as error:
            raise StoreUnavailableError(f"the database {self.path} cannot be opened: {error}") from error
        return connection

    def _use_log(self) -> None:
        """Write ahead. The mode is the file's; for the lock that changing it takes SQLite does not wait by itself."""
        for left in reversed(range(BUSY_WAIT_MS // POLL_MS)):
            try:
                if self._patient.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                    self._patient.execute("PRAGMA journal_mode=WAL")
            except sqlite3.Error as error:
                if not left or not isinstance(_translated(error), StoreBusyError):
                    raise StoreUnavailableError(
                        f"the database {self.path} cannot be used: {error}"
                    ) from error
                time.sleep(POLL_MS / 1000)
            else:
                return

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A write transaction that waits its turn."""
        try:
            with self._turn, _Begun(self._patient, "BEGIN IMMEDIATE") as work:
                yield work
        except StoreBusyError as error:
            raise StoreUnavailableError("the database stayed locked by another process") from error

    batch = migration = transaction

    @property
    def upkeep(self) -> Callable[[], object]:
        """The log must be copied into the file from time to time."""
        return self.checkpoint

    def transaction_now(self) -> AbstractContextManager[Transaction]:
        """A write transaction at once, or StoreBusyError."""
        return _Begun(self._now, "BEGIN IMMEDIATE")

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A consistent view of what is committed; on a connection of its own for any thread but the first."""
        if threading.get_ident() == self._home:
            with _Begun(self._reader, "BEGIN") as view:
                yield view
            return
        connection = self._spare_reader()
        try:
            with _Begun(connection, "BEGIN") as view:
                yield view
        except BaseException:
            connection.close()
            raise
        if len(self._spare) < SPARE_MOST:
            self._spare.append(connection)
        else:
            connection.close()

    def _spare_reader(self) -> sqlite3.Connection:
        try:
            return self._spare.pop()
        except IndexError:  # Threads may take the last one from each other.
            connection = self._connect(BUSY_WAIT_MS)
            connection.execute("PRAGMA query_only=ON")
            return connection

    def rows(self, sql: str, *values: Value) -> Iterator[Record]:
        """Rows one by one, on a connection of their own, so that a long export holds nothing up."""
        connection = self._connect(BUSY_WAIT_MS)
        try:
            with _Begun(connection, "BEGIN"):
                yield from connection.execute(sql, values)
        finally:
            connection.close()

    def checkpoint(self) -> int:
        """Copy the log into the file, as far as readers allow, on a connection of its own; pages left in the log."""
        connection = self._connect(0)
        try:
            _, log, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            return int(log) - int(copied)
        finally:
            connection.close()

    def ping(self) -> None:
        """Raise StoreUnavailableError if the store does not answer."""
        try:
            self._reader.execute("SELECT n FROM migrations LIMIT 1").fetchone()
        except sqlite3.Error as error:
            raise StoreUnavailableError(str(error)) from error

    def close(self) -> None:
        """Close every connection; the last one out copies the log into the file."""
        with (
            self._turn
        ):  # Whoever is at work in a thread finishes first: to close beneath it ends the process.
            for connection in (self._now, self._reader, self._patient, *self._spare):
                connection.close()


class _Begun:
    """Runs a block between BEGIN and COMMIT, and undoes it whole if anything in it raises.

    A class, not a generator: it is on the path of every commit.
    """

    def __init__(self, connection: sqlite3.Connection, begin: str) -> None:
        self._connection = connection
        self._begin = begin

    def __enter__(self) -> Transaction:
        try:
            self._connection.execute(self._begin)
        except sqlite3.Error as error:
            self._undo(error)
            raise
        return _Transaction(self._connection)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._undo(error)
            return
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as failed:
            self._undo(failed)
            raise

    def _undo(self, error: BaseException) -> None:
        """Roll back, and raise the port's word for an error of SQLite's; what has none is raised as it is."""
        _roll_back(self._connection)
        known = _translated(error) if isinstance(error, sqlite3.Error) else None
        if known is not None:
            raise known from error


def _roll_back(connection: sqlite3.Connection) -> None:
    # A full disk or an I/O error may have rolled the transaction back by itself already.
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _translated(error: sqlite3.Error) -> Exception | None:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in _BUSY:
        return StoreBusyError(str(error))
    return StoreUnavailableError(str(error)) if code in _GONE else None
