"""A new database of either engine for a test, and what a test does to it behind its back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import psycopg

from farebox.store.database import Database
from farebox.store.engines import Place
from farebox.store.postgres import WRITERS, PostgresDatabase
from farebox.store.sqlite import SqliteDatabase
from tests.support.postgres import PostgresServer

ENGINES = ("sqlite", "postgresql")


class Store(Protocol):
    """One database."""

    place: Place
    database: Database

    def open(self) -> Database:
        """The same database, opened as another process does."""

    def locked(self) -> AbstractContextManager[None]:
        """Somebody else keeps everybody from writing until the block ends."""

    def break_in(self, *statements: str) -> None:
        """Change rows past everything that the schema checks."""


class SqliteStore:
    """One file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "farebox.db"
        self.place = Place("", self.path)
        self.database: Database = self.open()

    def open(self) -> Database:
        return SqliteDatabase(self.path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        other = sqlite3.connect(self.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("COMMIT")
            other.close()

    def break_in(self, *statements: str) -> None:
        with sqlite3.connect(self.path) as connection:
            connection.execute("PRAGMA ignore_check_constraints=ON")
            for statement in statements:
                connection.execute(statement)
        connection.close()

    def close(self) -> None:
        self.database.close()


class PostgresStore:
    """One database of the session's server."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self.url = server.new_database()
        self.place = Place(self.url)
        self.database: Database = self.open()

    def open(self) -> Database:
        return PostgresDatabase(self.url)

    @contextmanager
    def locked(self) -> Iterator[None]:
        with psycopg.connect(self.url) as other:
            other.execute("SELECT pg_advisory_xact_lock(%s)", (WRITERS,))
            yield

    def break_in(self, *statements: str) -> None:
        with psycopg.connect(self.url) as other:
            checks = other.execute(
                "SELECT conrelid::regclass, conname FROM pg_constraint"
                " WHERE contype = 'c' AND conrelid >= 16384"  # Below are the server's own.
            )
            for table, name in checks.fetchall():
                other.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}".encode())
            for statement in statements:
                other.execute(statement.encode())

    def close(self) -> None:
        self.database.close()
        self._server.drop(self.url)


@contextmanager
def opened_store(engine: str, folder: Path, server: PostgresServer | None) -> Iterator[Store]:
    """A new database of an engine; `server` is PostgreSQL's."""
    if server is None:
        assert engine == "sqlite"
    store = SqliteStore(folder) if server is None else PostgresStore(server)
    try:
        yield store
    finally:
        store.close()
