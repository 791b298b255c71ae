"""Copying a SQLite database while others write to it: one moment of it, whole, in a file of its own."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from farebox.store.database import StoreUnavailableError

PAGES = 4_096  # Between two reports of how far it is: 8 MiB of ours.
BUSY_WAIT_S = 5.0

Told = Callable[[int, int], None]  # Pages copied, pages in all.


def copy_database(source: Path, target: Path, told: Told = lambda _done, _all: None) -> None:
    """Copy a database to a new file that only we may read. StoreUnavailableError says why it cannot be.

    A view is held for as long as it takes: a copy that let go of it between two steps would begin anew whenever
    somebody wrote, and under load never end. Writers wait for nothing; their log grows meanwhile.
    """
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    address = f"file:{quote(str(source.absolute()))}?mode=rw"
    try:
        with (
            closing(sqlite3.connect(address, uri=True, isolation_level=None, timeout=BUSY_WAIT_S)) as held,
            closing(sqlite3.connect(target, isolation_level=None)) as copy,
        ):
            held.execute("PRAGMA query_only=ON")
            held.execute("BEGIN")
            held.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
            held.backup(copy, pages=PAGES, progress=lambda _, left, every: told(every - left, every))
            held.execute("COMMIT")
            copy.execute("PRAGMA journal_mode=DELETE")  # One file, without a log beside it.
    except sqlite3.Error as error:
        raise StoreUnavailableError(f"the database {source} cannot be copied: {error}") from error


def migrations_in(path: Path) -> dict[int, str]:
    """The migrations a database file has had, by number, with their checksums; empty for one that is new."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=rw", uri=True)) as database:
            database.execute("PRAGMA query_only=ON")
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'migrations'").fetchone():
                return {}
            return dict(database.execute("SELECT n, checksum FROM migrations"))
    except sqlite3.Error as error:
        raise StoreUnavailableError(f"the database {path} cannot be read: {error}") from error
