"""The engines, by the scheme of a database's address. PostgreSQL's is loaded only where it is named."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from farebox.store.database import Database, StoreUnavailableError
from farebox.store.sqlite import SqliteDatabase


class Place(msgspec.Struct, frozen=True):
    """Where a database is and how it is kept; each engine takes of it what it knows."""

    address: str  # As in the settings; empty for a file.
    file: Path | None = None
    durability: str = "process"


def open_database(place: Place) -> Database:
    """Open a database, made if it is a file that is not there yet. StoreUnavailableError says why it cannot be."""
    return ENGINES[place.address.partition(":")[0]](place)


def _open_file(place: Place) -> Database:
    path = place.file
    assert path is not None
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    return SqliteDatabase(path, durability=place.durability)


def _open_postgres(place: Place) -> Database:
    try:
        module = importlib.import_module("farebox.store.postgres")
    except ImportError as missing:
        raise StoreUnavailableError(
            f'PostgreSQL needs a driver that is not installed ({missing}): pip install "farebox[postgres]"'
        ) from missing
    database: Database = module.PostgresDatabase(place.address)
    return database


ENGINES: dict[str, Callable[[Place], Database]] = {
    "": _open_file,
    "sqlite": _open_file,
    "postgresql": _open_postgres,
    "postgres": _open_postgres,
}
