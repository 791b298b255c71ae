from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import psycopg
import pytest

from farebox.store.database import Database
from farebox.store.migrate import Migration, SchemaError, load_migrations, migrate
from tests.support.stores import Store

FIRST = Migration(
    1, "0001_first.sql", "CREATE TABLE a (n INTEGER);\n-- A word.\nCREATE TABLE b (n INTEGER);\n"
)
SECOND = Migration(2, "0002_second.sql", "-- Another.\n\nINSERT INTO a (n) VALUES (1);\n")
BROKEN = Migration(
    2, "0002_broken.sql", "INSERT INTO a (n) VALUES (1);\nINSERT INTO nowhere (n) VALUES (1);\n"
)
START = """
import sys
from pathlib import Path
from farebox.store.migrate import load_migrations, migrate
from farebox.store.engines import Place, open_database
steps = load_migrations()
print("ready", flush=True)
sys.stdin.readline()
database = open_database(Place(sys.argv[1], Path(sys.argv[2])))
print(migrate(database, steps))
database.close()
"""


@pytest.fixture
def database(store: Store) -> Database:
    return store.database


def has_table(database: Database, name: str) -> bool:
    """Whether a table is there, asked in the one way that every engine understands."""
    try:
        list(database.rows(f"SELECT COUNT(*) FROM {name}"))
    except (sqlite3.OperationalError, psycopg.errors.UndefinedTable):
        return False
    return True


def test_a_step_is_applied_once(database: Database) -> None:
    assert migrate(database, [FIRST]) == 1
    assert migrate(database, [FIRST, SECOND]) == 1
    assert migrate(database, [FIRST, SECOND]) == 0
    assert list(database.rows("SELECT n FROM a")) == [(1,)]
    assert all(has_table(database, name) for name in ("a", "b", "migrations"))


def test_an_edited_step_is_refused_and_named(database: Database) -> None:
    migrate(database, [FIRST])
    edited = msgspec.structs.replace(FIRST, sql=FIRST.sql + " ")
    with pytest.raises(SchemaError, match=r"0001_first\.sql"):
        migrate(database, [edited, SECOND])
    assert list(database.rows("SELECT n FROM a")) == []


def test_a_newer_schema_is_refused_and_left_alone(database: Database) -> None:
    migrate(database, [FIRST, SECOND])
    with pytest.raises(SchemaError, match=r"newer Farebox \(schema 2\)"):
        migrate(database, [FIRST])
    assert migrate(database, [FIRST, SECOND]) == 0


def test_a_step_that_fails_leaves_nothing_behind(database: Database) -> None:
    with pytest.raises(Exception, match="nowhere"):
        migrate(database, [FIRST, BROKEN])
    assert not any(has_table(database, name) for name in ("a", "b", "migrations"))
    assert migrate(database, [FIRST, SECOND]) == 2


def test_the_steps_of_this_release_count_without_a_gap() -> None:
    steps = load_migrations()
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    assert len({step.name for step in steps}) == len(steps)


def test_the_steps_of_this_release_make_its_tables(database: Database) -> None:
    migrate(database, load_migrations())
    names = ("accounts", "keys", "wallets", "owners", "holds", "transfers", "requests")
    assert all(has_table(database, name) for name in names)


@pytest.mark.parametrize("attempt", range(3))
def test_processes_that_start_together_migrate_once(store: Store, tmp_path: Path, attempt: int) -> None:
    command = [sys.executable, "-c", START, store.place.address, str(tmp_path / "books.db")]
    processes = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    told = [process.communicate(timeout=20) for process in processes]
    assert [error for _, error in told] == ["", "", ""]
    assert sorted(int(applied) for applied, _ in told) == [0, 0, len(load_migrations())]
