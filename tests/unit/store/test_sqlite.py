from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from farebox.store.database import StoreBusyError, StoreUnavailableError
from farebox.store.sqlite import SqliteDatabase


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "farebox.db")
    with database.transaction() as work:
        work.run("CREATE TABLE notes (id INTEGER PRIMARY KEY, note TEXT UNIQUE)")
    yield database
    database.close()


@contextmanager
def locked(database: SqliteDatabase) -> Iterator[None]:
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def count(database: SqliteDatabase) -> int:
    with database.read() as view:
        row = view.one("SELECT COUNT(*) FROM notes")
    assert row is not None
    assert isinstance(row[0], int)
    return row[0]


@pytest.mark.parametrize(("durability", "synchronous"), [("process", 1), ("power-loss", 2)])
def test_both_writers_are_as_durable_as_was_asked(tmp_path: Path, durability: str, synchronous: int) -> None:
    database = SqliteDatabase(tmp_path / "a.db", durability=durability)
    for transaction in (database.transaction, database.transaction_now):
        with transaction() as work:
            assert work.one("PRAGMA synchronous") == (synchronous,)
            assert work.one("PRAGMA journal_mode") == ("wal",)
            assert work.one("PRAGMA foreign_keys") == (1,)
            assert work.one("PRAGMA wal_autocheckpoint") == (0,)
    database.close()


def test_a_transaction_is_kept_whole_or_not_at_all(database: SqliteDatabase) -> None:
    for transaction in (database.transaction, database.transaction_now):
        with pytest.raises(sqlite3.IntegrityError), transaction() as work:
            work.run_many("INSERT INTO notes (note) VALUES (?)", [("a",), ("b",), ("a",)])
        assert count(database) == 0
    with database.transaction() as work:
        assert work.run_many("INSERT INTO notes (note) VALUES (?)", [("a",), ("b",)]) == 2
        assert work.run("UPDATE notes SET note = note || '!'") == 2
        assert work.all("DELETE FROM notes WHERE note = 'a!' RETURNING id") == [(1,)]
    assert count(database) == 1


def test_a_part_is_undone_alone(database: SqliteDatabase) -> None:
    with database.transaction() as work:
        work.run("INSERT INTO notes (note) VALUES ('a')")
        with pytest.raises(sqlite3.IntegrityError), work.savepoint():
            work.run_many("INSERT INTO notes (note) VALUES (?)", [("b",), ("a",)])
        with work.savepoint():
            work.run("INSERT INTO notes (note) VALUES ('c')")
    with database.read() as view:
        assert view.all("SELECT note FROM notes ORDER BY id") == [("a",), ("c",)]


def test_nobody_reads_what_is_not_committed(database: SqliteDatabase) -> None:
    with database.transaction() as work:
        work.run("INSERT INTO notes (note) VALUES ('a')")
        assert count(database) == 0
        assert list(database.rows("SELECT note FROM notes")) == []
    assert count(database) == 1


def test_a_view_stays_at_its_moment(database: SqliteDatabase) -> None:
    with database.read() as view:
        assert view.one("SELECT COUNT(*) FROM notes") == (0,)
        with database.transaction_now() as work:
            work.run("INSERT INTO notes (note) VALUES ('a')")
        assert view.one("SELECT COUNT(*) FROM notes") == (0,)
    assert count(database) == 1


def test_rows_stay_at_their_moment_and_may_be_left(database: SqliteDatabase) -> None:
    with database.transaction() as work:
        work.run_many("INSERT INTO notes (note) VALUES (?)", [(str(number),) for number in range(1000)])
    rows = iter(database.rows("SELECT id FROM notes ORDER BY id"))
    assert next(rows) == (1,)
    with database.transaction_now() as work:
        work.run("DELETE FROM notes")
    assert len(list(rows)) == 999
    left = iter(database.rows("SELECT 1 UNION SELECT 2"))
    assert next(left) == (1,)
    del left
    assert count(database) == 0


def test_every_thread_reads_what_is_committed(database: SqliteDatabase) -> None:
    with database.transaction() as work:
        work.run("INSERT INTO notes (note) VALUES ('a')")
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda _: count(database), range(20))) == [1] * 20


def test_a_view_refuses_writes_on_any_thread(database: SqliteDatabase) -> None:
    def write() -> None:
        with database.read() as view:
            view.run("INSERT INTO notes (note) VALUES ('a')")

    with pytest.raises(StoreUnavailableError, match="readonly"):
        write()
    with ThreadPoolExecutor(1) as threads, pytest.raises(StoreUnavailableError, match="readonly"):
        threads.submit(write).result()
    assert count(database) == 0


def test_transactions_of_many_threads_wait_their_turn(database: SqliteDatabase) -> None:
    with database.transaction() as work:
        work.run("INSERT INTO notes (id, note) VALUES (1, 0)")

    def add(_: int) -> None:
        with database.transaction() as work:
            row = work.one("SELECT CAST(note AS INTEGER) FROM notes")
            assert row is not None
            assert isinstance(row[0], int)
            work.run("UPDATE notes SET note = ?", row[0] + 1)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, range(200)))
    with database.read() as view:
        assert view.one("SELECT note FROM notes") == ("200",)


def test_a_locked_database_is_busy_for_who_cannot_wait(database: SqliteDatabase) -> None:
    with locked(database), pytest.raises(StoreBusyError), database.transaction_now():
        pass
    with database.transaction_now() as work:
        work.run("INSERT INTO notes (note) VALUES ('a')")


def test_a_locked_database_is_waited_for_by_who_can(database: SqliteDatabase) -> None:
    def write() -> None:
        with database.transaction() as work:
            work.run("INSERT INTO notes (note) VALUES ('a')")

    writing = threading.Thread(target=write)
    with locked(database):
        writing.start()
        writing.join(0.1)
        assert writing.is_alive()
    writing.join(10)
    assert count(database) == 1


def test_a_database_that_stays_locked_is_unavailable(database: SqliteDatabase) -> None:
    with database.transaction() as work:
        work.one("PRAGMA busy_timeout=50")
    with locked(database):
        with pytest.raises(StoreUnavailableError, match="locked"), database.transaction():
            pass
        assert count(database) == 0  # Reading goes on.
    with database.transaction() as work:
        work.run("INSERT INTO notes (note) VALUES ('a')")


def test_a_full_disk_changes_nothing_and_passes(database: SqliteDatabase) -> None:
    with database.transaction_now() as work:
        work.one("PRAGMA max_page_count=1")  # SQLite takes what is there already for the least.
    both = [("small",), ("large" * 10_000,)]
    with pytest.raises(StoreUnavailableError, match="full"), database.transaction_now() as work:
        work.run_many("INSERT INTO notes (note) VALUES (?)", both)
    assert count(database) == 0
    with database.transaction_now() as work:
        work.one("PRAGMA max_page_count=1000000")
        work.run_many("INSERT INTO notes (note) VALUES (?)", both)
    assert count(database) == 2


def test_a_statement_of_ours_that_is_wrong_is_no_outage(database: SqliteDatabase) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"), database.transaction_now() as work:
        work.run("DELETE FROM nowhere")
    with database.transaction_now() as work:
        work.run("INSERT INTO notes (note) VALUES ('a')")


def test_a_checkpoint_copies_the_log_into_the_file(database: SqliteDatabase, tmp_path: Path) -> None:
    with database.transaction() as work:
        work.run("INSERT INTO notes (note) VALUES ('a')")
    assert database.checkpoint() == 0
    copy = tmp_path / "copy.db"
    shutil.copy(database.path, copy)
    alone = sqlite3.connect(copy)
    assert alone.execute("SELECT note FROM notes").fetchall() == [("a",)]
    alone.close()


def test_a_checkpoint_leaves_what_a_reader_still_needs(database: SqliteDatabase) -> None:
    with database.read() as view:
        assert view.one("SELECT COUNT(*) FROM notes") == (0,)
        with database.transaction() as work:
            work.run("INSERT INTO notes (note) VALUES ('a')")
        assert database.checkpoint() > 0
    assert database.checkpoint() == 0


def test_what_was_committed_is_there_after_a_close(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    database = SqliteDatabase(path)
    with database.transaction_now() as work:
        work.run("CREATE TABLE notes (note)")
    database.close()
    assert not path.with_name("a.db-wal").exists()
    database = SqliteDatabase(path)
    with database.read() as view:
        assert view.all("SELECT * FROM notes") == []
    database.close()


def test_a_ping_tells_whether_there_are_books(database: SqliteDatabase) -> None:
    with pytest.raises(StoreUnavailableError):
        database.ping()
    with database.transaction() as work:
        work.run("CREATE TABLE migrations (n)")
    database.ping()


@pytest.mark.parametrize("damage", ["no folder", "no database"])
def test_a_file_that_cannot_be_opened_is_unavailable(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.db" if damage == "no database" else tmp_path / "nowhere" / "a.db"
    if damage == "no database":
        path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreUnavailableError, match=str(path)):
        SqliteDatabase(path)
