"""PostgreSQL behind the database port: for more workers than one machine holds.

Writers come in two kinds, told apart by one advisory lock. `transaction` takes it alone, so that whoever writes
outside the group commit finds SQLite's world: one writer, and numbers of changes in the order they were committed.
`batch`, the group commit's, shares it: the batches of all nodes run side by side, each locking its wallets' rows in
the order of their ids.

Nothing here runs on the event loop but short reads, on a line of their own that is given up after LOOP_WAIT_S; while
it is opened again, by a thread, such reads are refused at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import NoReturn

import psycopg

from farebox.store.database import (
    Record,
    SessionLock,
    StoreBusyError,
    StoreUnavailableError,
    StoreUnsureError,
    Transaction,
    Value,
)
from farebox.store.postgres_line import Line, LineLostError

TURN_S = 5.0  # As long as a patient writer waits for SQLite's lock.
LOOP_WAIT_S = 1.5
REVIVE_S = 1.0  # So long the loop is left alone after a read on it has failed.
BATCH_WAIT_S = 4.0
WRITE_WAIT_S = 30.0
READ_WAIT_S = 600.0  # A check of all books reads every row.
MIGRATION_WAIT_S = 3_600.0
BATCHES_MAX = 2  # A worker has two group commits, of the ledger and of stored responses.
READERS_MAX = 6
PAGE_ROWS = 500
WRITERS = 0x6661_7265_626F_78  # The advisory lock of all who write: "farebox".
_ALONE = f"BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock({WRITERS})"
_BESIDE = f"BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock_shared({WRITERS})"
_VIEW = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class _Transaction:
    """A Transaction on one line."""

    def __init__(self, line: Line, *, shared: bool = False) -> None:
        self.shared = shared
        self._line = line

    def all(self, sql: str, *values: Value) -> list[Record]:
        return self._line.ask(sql, values).rows

    def one(self, sql: str, *values: Value) -> Record | None:
        rows = self._line.ask(sql, values).rows
        return rows[0] if rows else None

    def run(self, sql: str, *values: Value) -> int:
        return self._line.ask(sql, values).changed

    def run_many(self, sql: str, rows: Sequence[Sequence[Value]]) -> int:
        return self._line.ask_many(sql, rows)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        self._line.say("SAVEPOINT part")
        try:
            yield
        except BaseException:
            self._line.say("ROLLBACK TO part; RELEASE part")
            raise
        self._line.say("RELEASE part")

    def lock(self, table: str, column: str, ids: Iterable[int]) -> None:
        if self.shared:  # A writer alone needs none.
            listed = ",".join(map(str, sorted(ids)))
            self._line.ask(
                f"SELECT {column} FROM {table} WHERE {column} = ANY(CAST(? AS BIGINT[]))"  # noqa: S608 -- our own names
                f" ORDER BY {column} FOR NO KEY UPDATE",
                (f"{{{listed}}}",),
            )


class _Lines:
    """Lines of one kind, opened when they are needed, kept, and bounded in number."""

    def __init__(self, url: str, most: int, wait_s: float) -> None:
        self._url = url
        self._wait_s = wait_s
        self._room = threading.BoundedSemaphore(most)
        self._free: list[Line] = []

    @contextmanager
    def begun(self, begin: str) -> Iterator[Line]:
        """A line with a transaction open on it, from here to whatever end it has come to when the block ends."""
        if not self._room.acquire(timeout=TURN_S):
            raise StoreUnavailableError("the database stayed busy with other work of this process")
        line = None
        try:
            line = self._begin(begin)
            yield line
        finally:
            if line is not None:
                self._give(line)
            self._room.release()

    def close(self) -> None:
        """Hang up all that are free."""
        while self._free:
            self._free.pop().close()

    def _begin(self, begin: str) -> Line:
        with suppress(IndexError):  # Threads may take the last one from each other.
            line = self._free.pop()
            try:
                line.say(begin)
            except (
                LineLostError
            ):  # It broke while nobody used it; nothing has been done yet, so a new one will do.
                pass
            except BaseException:
                self._give(line)
                raise
            else:
                return line
        line = Line(self._url, wait_s=self._wait_s)
        try:
            line.say(begin)
        except BaseException:
            self._give(line)
            raise
        return line

    def _give(self, line: Line) -> None:
        if line.whole and not line.idle:  # Left in the middle, by an error.
            with suppress(StoreUnavailableError, StoreBusyError):
                line.say("ROLLBACK")
        if line.whole and line.idle:
            self._free.append(line)
        else:
            line.close()


class _LoopLine:
    """The line of the event loop's reads. Once it was open, it is only ever opened again by a thread."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._line: Line | None = None
        self._reviving = False
        self._closed = threading.Event()

    @property
    def free(self) -> bool:
        """Whether no view is open on it: a second one within the first needs a line of its own."""
        return self._line is None or self._line.idle or not self._line.whole

    @contextmanager
    def begun(self, begin: str) -> Iterator[Line]:
        """The line with a transaction open on it; StoreUnavailableError at once while there is none."""
        if self._line is None and not self._reviving:
            self._line = Line(self._url, wait_s=LOOP_WAIT_S)
        line = self._line
        if line is None:
            raise StoreUnavailableError("the database is away; its line is being opened again")
        try:
            line.say(begin)
            yield line
        finally:
            if line.whole and not line.idle:
                with suppress(StoreUnavailableError, StoreBusyError):
                    line.say("ROLLBACK")
            if not line.whole:
                self._revive()

    def close(self) -> None:
        """Hang up."""
        self._closed.set()
        if self._line is not None:
            self._line.close()

    def _revive(self) -> None:
        self._line, self._reviving = None, True
        threading.Thread(target=self._open_again, name="farebox-line", daemon=True).start()

    def _open_again(self) -> None:
        while not self._closed.wait(REVIVE_S):
            with suppress(StoreUnavailableError):
                line = Line(self._url, wait_s=LOOP_WAIT_S)
                self._line, self._reviving = line, False
                if self._closed.is_set():
                    line.close()
                return


class _SessionLock:
    """An advisory lock held by a connection of its own."""

    def __init__(self, url: str, key: int) -> None:
        self._url = url
        self._key = key
        self._line: Line | None = None

    def take(self) -> None:
        if self._line is not None:
            self._line.close()
        # Where the server has not noticed yet that our former session is gone, that one has the lock and this waits.
        self._line = Line(self._url, wait_s=WRITE_WAIT_S)
        try:
            self._line.say(f"SELECT pg_advisory_lock({self._key})")
        except StoreBusyError as error:
            raise StoreUnavailableError("another session has the lock of this process") from error

    def stands(self) -> bool:
        if self._line is None:
            return False
        try:
            self._line.say("SELECT 1")
        except StoreUnavailableError:
            return False
        return True

    def release(self) -> None:
        if self._line is not None:
            self._line.close()


class PostgresDatabase:
    """One database on a PostgreSQL server. Any thread may use it; only short reads belong on the event loop's."""

    inline = False
    upkeep = None

    def __init__(self, url: str) -> None:
        """Connect. StoreUnavailableError says why that cannot be; never with a password in it."""
        self._url = url
        self._alone = _Lines(url, 1, WRITE_WAIT_S)
        self._batches = _Lines(url, BATCHES_MAX, BATCH_WAIT_S)
        self._readers = _Lines(url, READERS_MAX, READ_WAIT_S)
        self._loop_line = _LoopLine(url)
        with self.read():
            pass

    @property
    def locks(self) -> PostgresDatabase:
        """Advisory locks."""
        return self

    def transaction(self) -> AbstractContextManager[Transaction]:
        """A write transaction that waits its turn, alone."""
        return self._writing(self._alone, _ALONE)

    @contextmanager
    def batch(self) -> Iterator[Transaction]:
        """A write transaction beside those of other nodes; StoreBusyError if they collided."""
        with self._batches.begun(_BESIDE) as line:
            yield _Transaction(line, shared=True)
            _commit(line)

    @contextmanager
    def migration(self) -> Iterator[Transaction]:
        """A write transaction alone, however long it or another's takes."""
        lines = _Lines(self._url, 1, MIGRATION_WAIT_S)
        try:
            with self._writing(lines, f"SET lock_timeout = 0; {_ALONE}") as work:
                yield work
        finally:
            lines.close()

    def transaction_now(self) -> NoReturn:
        """Never: no commit here is quick enough for whoever cannot wait."""
        raise StoreBusyError("a commit of PostgreSQL is waited for by a thread")

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A consistent view of what is committed."""
        with self._view() as line:
            yield _Transaction(line)

    def rows(self, sql: str, *values: Value) -> Iterator[Record]:
        """Rows by the page, from one consistent view."""
        with self._readers.begun(_VIEW) as line:
            line.ask(f"DECLARE page NO SCROLL CURSOR FOR {sql}", values)
            while page := line.ask(f"FETCH {PAGE_ROWS} FROM page", ()).rows:
                yield from page
                if len(page) < PAGE_ROWS:
                    break

    def lock(self, name: str) -> SessionLock:
        """A lock of a session, not taken yet."""
        return _SessionLock(self._url, _key_of(name))

    def is_free(self, name: str) -> bool:
        """Whether no session has a lock."""
        with self.read() as view:
            # Shared, so that those who look are not in each other's way.
            return view.one("SELECT pg_try_advisory_xact_lock_shared(?)", _key_of(name)) == (1,)

    def ping(self) -> None:
        """Raise StoreUnavailableError if the store does not answer."""
        try:
            with self.read() as view:
                view.one("SELECT n FROM migrations LIMIT 1")
        except psycopg.Error as error:
            raise StoreUnavailableError(str(error)) from error

    def close(self) -> None:
        """Close every connection that is not in use."""
        for lines in (self._alone, self._batches, self._readers, self._loop_line):
            lines.close()

    def _view(self) -> AbstractContextManager[Line]:
        here = _on_a_loop() and self._loop_line.free
        return (self._loop_line if here else self._readers).begun(_VIEW)

    @contextmanager
    def _writing(self, lines: _Lines, begin: str) -> Iterator[Transaction]:
        try:
            with lines.begun(begin) as line:
                yield _Transaction(line)
                _commit(line)
        except StoreBusyError as error:
            raise StoreUnavailableError("the database stayed locked by other work") from error


def _commit(line: Line) -> None:
    try:
        word = line.say("COMMIT")
    except LineLostError as error:
        raise StoreUnsureError(f"the database went away while it was committing: {error}") from error
    if word != b"COMMIT":  # A statement had failed, and whoever ran it went on all the same.
        raise psycopg.errors.InFailedSqlTransaction("a transaction with a failed statement was rolled back")


def _key_of(name: str) -> int:
    """A lock's number: 64 bits of the name's digest, signed as PostgreSQL wants it."""
    digest = hashlib.blake2b(name.encode(), digest_size=8, person=b"farebox")
    return int.from_bytes(digest.digest(), signed=True)


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
