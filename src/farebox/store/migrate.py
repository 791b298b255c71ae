"""Numbered SQL files applied once each, in order, with their checksums kept.

Migrations only expand the schema. A database that knows a migration this release does not was written by a newer one:
the older refuses to touch it.
"""

from __future__ import annotations

import hashlib
from importlib import resources

import msgspec

from farebox.store.database import Database, Transaction


class Migration(msgspec.Struct, frozen=True):
    """One numbered step."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, so that an edited step is noticed."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


class SchemaError(Exception):
    """The database was made by another release than this one can work with."""


def load_migrations() -> list[Migration]:
    """Every migration of this release, in order."""
    folder = resources.files("farebox.store") / "migrations"
    steps = [
        Migration(int(file.name[:4]), file.name, file.read_text(encoding="utf-8"))
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    ]
    return sorted(steps, key=lambda step: step.number)


def migrate(database: Database, steps: list[Migration]) -> int:
    """Bring the schema up to this release in one transaction; the number of steps applied. SchemaError if newer."""
    with database.migration() as work:
        work.run("CREATE TABLE IF NOT EXISTS migrations (n INTEGER PRIMARY KEY, checksum TEXT NOT NULL)")
        applied = {
            int(str(n)): str(checksum) for n, checksum in work.all("SELECT n, checksum FROM migrations")
        }
        _check(applied, steps)
        pending = [step for step in steps if step.number not in applied]
        for step in pending:
            _apply(work, step)
        return len(pending)


def _check(applied: dict[int, str], steps: list[Migration]) -> None:
    known = {step.number: step for step in steps}
    newer = max(applied, default=0)
    if newer > max(known, default=0):
        raise SchemaError(
            f"this database was written by a newer Farebox (schema {newer}); update this one first"
        )
    for number, checksum in applied.items():
        if known[number].checksum != checksum:
            raise SchemaError(f"migration {known[number].name} is not the one this database was made with")


def _apply(work: Transaction, step: Migration) -> None:
    for statement in step.sql.split(";\n"):
        if _has_sql(statement):
            work.run(statement)
    work.run("INSERT INTO migrations (n, checksum) VALUES (?, ?)", step.number, step.checksum)


def _has_sql(statement: str) -> bool:
    return any(line.strip() and not line.startswith("--") for line in statement.splitlines())
