"""PostgreSQL behind the port: what it keeps, whom it lets wait for whom, and what it does when its server goes."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from farebox.core.money import MAX_NANO
from farebox.store.database import Database, StoreBusyError, StoreUnavailableError, StoreUnsureError
from farebox.store.engines import Place, open_database
from farebox.store.migrate import load_migrations, migrate
from farebox.store.postgres import READERS_MAX, PostgresDatabase
from farebox.store.postgres_line import STATEMENTS_MAX, Line, LineLostError
from tests.support.postgres import PASSWORD, PostgresServer, started_postgres
from tests.support.stores import PostgresStore, opened_store


@pytest.fixture
def store(tmp_path: Path, postgres: PostgresServer) -> Iterator[PostgresStore]:
    with opened_store("postgresql", tmp_path, postgres) as store:
        assert isinstance(store, PostgresStore)
        with store.database.transaction() as work:
            work.run("CREATE TABLE notes (id INTEGER PRIMARY KEY, note TEXT UNIQUE, size INTEGER, data BLOB)")
        yield store


@pytest.fixture
def database(store: PostgresStore) -> Database:
    return store.database


def count(database: Database) -> int:
    with database.read() as view:
        row = view.one("SELECT COUNT(*) FROM notes")
    assert row is not None
    assert isinstance(row[0], int)
    return row[0]


def add(database: Database, *notes: str) -> None:
    with database.transaction() as work:
        work.run_many("INSERT INTO notes (note) VALUES (?)", [(note,) for note in notes])


def end_sessions(store: PostgresStore) -> None:
    """Every connection to the database breaks."""
    with psycopg.connect(store.url) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_values_come_back_as_they_were_given(database: Database) -> None:
    blobs = [b"", b"\0\xff\\x", None]
    with database.transaction() as work:
        for size in (MAX_NANO, -MAX_NANO, 0):
            assert work.one("SELECT CAST(? AS INTEGER)", size) == (size,)
        for note in ("", "naïve ✓ 'quoted' ? $1 %s", "\\x00"):
            assert work.one("SELECT CAST(? AS TEXT)", note) == (note,)
        for data in blobs:
            work.run("INSERT INTO notes (data) VALUES (?)", data)
        assert work.all("SELECT data FROM notes ORDER BY id") == [(data,) for data in blobs]
        assert work.one("SELECT SUM(n), COUNT(*) FROM (SELECT ? AS n UNION ALL SELECT ?) AS t", 2, 3) == (
            5,
            2,
        )
        assert work.one("SELECT 1 = 1, 1 = 2") == (1, 0)


def test_a_nul_in_a_text_ends_nothing(database: Database) -> None:
    add(database, "a")
    with database.transaction() as work:
        assert work.one("SELECT id FROM notes WHERE note = ?", "a\0b") is None
        work.run("INSERT INTO notes (note) VALUES (?)", "x\0y")
        assert work.one("SELECT note FROM notes WHERE id = 2") == ("x\ufffdy",)


def test_text_sorts_by_its_bytes_whatever_the_server_speaks(database: Database) -> None:
    add(database, "b", "B", "~", "a", "é")
    with database.read() as view:
        assert [note for (note,) in view.all("SELECT note FROM notes ORDER BY note")] == [
            "B",
            "a",
            "b",
            "~",
            "é",
        ]
        assert view.one("SELECT COUNT(*) FROM notes WHERE note < '~'") == (3,)


def test_a_transaction_is_kept_whole_or_not_at_all(database: Database) -> None:
    for transaction in (database.transaction, database.batch, database.migration):
        with pytest.raises(psycopg.errors.UniqueViolation), transaction() as work:
            work.run_many("INSERT INTO notes (note) VALUES (?)", [("a",), ("b",), ("a",)])
        assert count(database) == 0
    with database.transaction() as work:
        assert work.run_many("INSERT INTO notes (note) VALUES (?)", [("a",), ("b",)]) == 2
        assert work.run_many("INSERT INTO notes (note) VALUES (?)", []) == 0
        assert work.run("UPDATE notes SET note = note || '!'") == 2
        assert work.all("DELETE FROM notes WHERE note = 'a!' RETURNING note") == [("a!",)]
    assert count(database) == 1


def test_a_part_is_undone_alone(database: Database) -> None:
    with database.transaction() as work:
        work.run("INSERT INTO notes (note) VALUES ('a')")
        with pytest.raises(psycopg.IntegrityError), work.savepoint():
            work.run_many("INSERT INTO notes (note) VALUES (?)", [("b",), ("a",)])
        with work.savepoint():
            work.run("INSERT INTO notes (note) VALUES ('c')")
    with database.read() as view:
        assert view.all("SELECT note FROM notes ORDER BY id") == [("a",), ("c",)]


def test_whoever_goes_on_behind_a_failed_statement_is_told_that_nothing_was_kept(database: Database) -> None:
    def careless() -> None:
        with database.transaction() as work:
            work.run("INSERT INTO notes (note) VALUES ('a')")
            with pytest.raises(psycopg.Error):
                work.run("DELETE FROM nowhere")

    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        careless()
    assert count(database) == 0


def test_a_view_stays_at_its_moment_and_refuses_writes(database: Database) -> None:
    with database.read() as view:
        assert view.one("SELECT COUNT(*) FROM notes") == (0,)
        add(database, "a")
        assert view.one("SELECT COUNT(*) FROM notes") == (0,)
    with pytest.raises(StoreUnavailableError, match="read-only"), database.read() as view:
        view.run("INSERT INTO notes (note) VALUES ('b')")
    assert count(database) == 1


def test_rows_come_by_the_page_from_one_moment_and_may_be_left(database: Database) -> None:
    add(database, *map(str, range(1200)))
    rows = iter(database.rows("SELECT id FROM notes WHERE id > ? ORDER BY id", 0))
    assert next(rows) == (1,)
    with database.transaction() as work:
        work.run("DELETE FROM notes")
    assert len(list(rows)) == 1199
    for _ in range(2 * READERS_MAX):  # One that is left gives its line back.
        left = iter(database.rows("SELECT 1 UNION SELECT 2"))
        next(left)
        del left
    assert count(database) == 0


def test_more_statements_than_are_prepared_still_run(database: Database) -> None:
    with database.read() as view:
        for number in range(STATEMENTS_MAX + 50):
            for _ in range(3):
                assert view.one(f"SELECT {number} + ?", 1) == (number + 1,)


def test_transactions_of_many_threads_and_nodes_wait_their_turn(store: PostgresStore) -> None:
    nodes = [store.database, store.open()]
    with nodes[0].transaction() as work:
        work.run("INSERT INTO notes (id, size) VALUES (1, 0)")

    def add_one(number: int) -> None:
        with nodes[number % 2].transaction() as work:
            row = work.one("SELECT size FROM notes")
            assert row is not None
            work.run("UPDATE notes SET size = ?", int(row[0] or 0) + 1)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(add_one, range(120)))
    with nodes[1].read() as view:
        assert view.one("SELECT size FROM notes") == (120,)
    nodes[1].close()


def test_batches_run_beside_each_other_but_never_beside_a_writer_alone(store: PostgresStore) -> None:
    other = store.open()
    with ThreadPoolExecutor(1) as threads:
        with store.database.batch() as one, other.batch() as two:
            one.run("INSERT INTO notes (note) VALUES ('a')")
            two.run("INSERT INTO notes (note) VALUES ('b')")
            alone = threads.submit(add, other, "c")
            time.sleep(0.2)
            assert not alone.done()
        alone.result(5)
    assert count(other) == 3
    other.close()


def test_batches_that_lock_in_one_order_never_deadlock_and_others_are_told_to_try_again(
    store: PostgresStore,
) -> None:
    other = store.open()
    with store.database.transaction() as work:
        work.run_many("INSERT INTO notes (id, size) VALUES (?, 0)", [(number,) for number in range(8)])

    def change(number: int) -> None:
        ids = [number % 8, (number * 5 + 3) % 8, (number * 3 + 1) % 8]
        with (store.database, other)[number % 2].batch() as work:
            assert work.shared
            work.lock("notes", "id", set(ids))
            for id_ in ids:
                work.run("UPDATE notes SET size = size + 1 WHERE id = ?", id_)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(change, range(200)))
    with store.database.read() as view:
        assert view.one("SELECT SUM(size) FROM notes") == (600,)
    meeting = threading.Barrier(2, timeout=10)

    def collide(database: Database, first: int, second: int) -> str:
        try:
            with database.batch() as work:
                work.run("UPDATE notes SET size = 0 WHERE id = ?", first)
                meeting.wait()
                work.run("UPDATE notes SET size = 0 WHERE id = ?", second)
        except StoreBusyError:
            return "busy"
        return "kept"

    with ThreadPoolExecutor(2) as threads:
        ends = [threads.submit(collide, store.database, 1, 2), threads.submit(collide, other, 2, 1)]
        assert sorted(end.result() for end in ends) == ["busy", "kept"]
    other.close()


def test_nobody_commits_without_waiting(database: Database) -> None:
    assert not database.inline
    with pytest.raises(StoreBusyError), database.transaction_now():
        pass


def test_a_broken_connection_is_replaced_at_its_next_use(store: PostgresStore) -> None:
    database = store.database
    add(database, "a")
    with database.batch() as work:
        work.run("INSERT INTO notes (note) VALUES ('b')")
    assert count(database) == 2
    end_sessions(store)
    assert count(database) == 2
    add(database, "c")
    with database.batch() as work:
        work.run("INSERT INTO notes (note) VALUES ('d')")
    assert [note for (note,) in database.rows("SELECT note FROM notes ORDER BY id")] == ["a", "b", "c", "d"]


def test_a_connection_that_breaks_before_the_commit_has_kept_nothing_for_sure(store: PostgresStore) -> None:
    def broken() -> None:
        with store.database.batch() as work:
            work.run("INSERT INTO notes (note) VALUES ('a')")
            end_sessions(store)
            work.run("INSERT INTO notes (note) VALUES ('b')")

    with pytest.raises(StoreUnavailableError) as caught:
        broken()
    assert not isinstance(caught.value, StoreUnsureError)
    assert count(store.database) == 0


@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_a_connection_that_breaks_in_the_commit_leaves_it_unsure(store: PostgresStore, kind: str) -> None:
    def unsure() -> None:
        with getattr(store.database, kind)() as work:
            work.run("INSERT INTO notes (note) VALUES ('a')")
            end_sessions(store)

    with pytest.raises(StoreUnsureError):
        unsure()
    assert count(store.database) == 0


async def test_reads_on_the_loop_fail_fast_and_come_back(store: PostgresStore) -> None:
    database = store.database
    loop = asyncio.get_running_loop()
    assert count(database) == 0
    with database.read() as view:  # A second view within the first has a line of its own.
        assert count(database) == 0
        assert view.one("SELECT COUNT(*) FROM notes") == (0,)
    end_sessions(store)
    began_s = loop.time()
    refusals = 0
    async with asyncio.timeout(5):
        while True:
            try:
                assert count(database) == 0
                break
            except StoreUnavailableError:
                refusals += 1
                await asyncio.sleep(0.01)
    assert refusals > 1
    assert loop.time() - began_s < 3
    with pytest.raises(StoreUnavailableError, match="timeout"), database.read() as view:
        view.one("SELECT 1 FROM pg_sleep(10)")
    assert await asyncio.to_thread(count, database) == 0


def test_a_server_that_hangs_costs_a_line_its_patience_and_no_more() -> None:
    with started_postgres() as server:
        line = Line(server.new_database(), wait_s=0.5)
        server.freeze()
        try:
            began_s = time.monotonic()
            with pytest.raises(LineLostError, match="did not answer"):
                line.say("SELECT 1")
            assert time.monotonic() - began_s < 2
        finally:
            server.thaw()
        assert not line.whole


def test_what_was_committed_outlives_a_crash_of_a_server_that_is_not_asked_to_by_itself() -> None:
    with started_postgres() as server:  # It runs with synchronous_commit = off.
        database = PostgresDatabase(server.new_database())
        with database.transaction() as work:
            work.run("CREATE TABLE notes (note TEXT)")
        for number in range(20):
            with database.batch() as work:
                work.run("INSERT INTO notes (note) VALUES (?)", str(number))
        server.stop(signal.SIGQUIT)
        with pytest.raises(StoreUnavailableError):
            database.ping()
        server.start()
        assert len(list(database.rows("SELECT note FROM notes"))) == 20
        database.close()


def test_a_lock_of_a_session_is_anothers_until_it_is_given_up(store: PostgresStore) -> None:
    other = store.open()
    assert store.database.locks is not None
    assert other.locks is not None
    lock = store.database.locks.lock("w1")
    assert (lock.stands(), other.locks.is_free("w1")) == (False, True)
    lock.take()
    assert lock.stands()
    assert not other.locks.is_free("w1")
    assert other.locks.is_free("w2")
    end_sessions(store)
    assert not lock.stands()
    assert other.locks.is_free("w1")
    lock.take()
    assert not other.locks.is_free("w1")
    lock.release()
    with other.read() as view:
        view.one("SELECT 1 FROM pg_sleep(0.2)")  # Until the server has noticed.
    assert other.locks.is_free("w1")
    other.close()


def test_nodes_that_start_together_migrate_once(store: PostgresStore) -> None:
    steps = load_migrations()

    def start(_: int) -> int:
        node = store.open()
        try:
            return migrate(node, steps)
        finally:
            node.close()

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(start, range(4))) == [0, 0, 0, len(steps)]
    store.database.ping()


def test_money_has_sixty_four_bits_and_text_the_order_of_bytes_in_every_column(store: PostgresStore) -> None:
    migrate(store.database, load_migrations())
    columns = (
        "SELECT table_name, column_name, data_type, collation_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name <> 'notes'"
    )
    for _, column, kind, collation in store.database.rows(columns):
        assert (kind, collation) in (("bigint", None), ("text", "C"), ("bytea", None)), column


def test_a_ping_tells_whether_there_are_books(store: PostgresStore) -> None:
    with pytest.raises(StoreUnavailableError):
        store.database.ping()
    migrate(store.database, load_migrations())
    store.database.ping()


def test_an_address_that_cannot_be_used_is_told_without_its_password(tmp_path: Path) -> None:
    for address in (
        f"postgresql://u:{PASSWORD}@127.0.0.1:1/books",
        f"postgresql://u:{PASSWORD}@/books?host={tmp_path}",
        f"postgresql://u:{PASSWORD}@h:{PASSWORD}/books",
        f"postgresql://u:{PASSWORD}@h/books?{PASSWORD}=1",
    ):
        with pytest.raises(StoreUnavailableError) as caught:
            open_database(Place(address))
        assert PASSWORD not in str(caught.value)
        assert "\n" not in str(caught.value)


WITHOUT = """
import sys
sys.modules["psycopg"] = None
from pathlib import Path
from farebox.cli.main import main
main(["books", "check", "--data", sys.argv[1], "--config", sys.argv[2]])
"""


def test_without_its_driver_postgresql_is_one_line_that_says_what_to_install(tmp_path: Path) -> None:
    config = tmp_path / "farebox.toml"
    config.write_text('[store]\ndatabase = "postgresql://u:p@h/books"\n')
    command = [sys.executable, "-c", WITHOUT, str(tmp_path), str(config)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert told.returncode == 2
    assert told.stderr.count("\n") == 1
    assert 'pip install "farebox[postgres]"' in told.stderr


def test_a_sqlite_file_needs_no_other_driver(tmp_path: Path) -> None:
    config = tmp_path / "farebox.toml"
    config.write_text("")
    command = [
        sys.executable,
        "-c",
        WITHOUT.replace('"books", "check"', '"accounts", "list"'),
        str(tmp_path),
        str(config),
    ]
    told = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (told.returncode, told.stderr) == (0, "")
