"""Backups: one file with the database as it is at one moment, and a manifest by which a restore knows it is whole.

A backup is a tar. `manifest.json` comes first and names every other member with its size and SHA-256; then the
database, the folder of files if there is one, and the master secret if that was asked for. What stands beside the
database and speaks of processes (owners' locks, windows) is not in it: those processes do not come back.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import IO

import msgspec

from farebox import __version__
from farebox.core.clock import Clock
from farebox.store.copying import copy_database, migrations_in
from farebox.store.migrate import load_migrations

FORMAT = 1
MANIFEST, DATABASE, SECRET, FILES = "manifest.json", "farebox.db", "secret.key", "files"
MANIFEST_BYTES_MAX = 64 << 20
COUNTED = ("accounts", "keys", "wallets", "transfers", "requests", "holds", "administrators")
KEPT_BEFORE = 3  # Copies made before migrations; older ones are deleted.
_PIECE_BYTES = 1 << 20
_GZIP_LEVEL = 6

Told = Callable[[str, int, int], None]  # What is being done, how far it is, and how far it goes.


def tell_nobody(what: str, done: int, every: int) -> None:
    """For whoever does not watch."""


class Member(msgspec.Struct, frozen=True):
    """A file in a backup."""

    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """What a backup holds."""

    format: int
    farebox: str
    made: str
    schema: int
    currency: str | None
    counts: dict[str, int]
    files: dict[str, Member]

    @property
    def has_secret(self) -> bool:
        """Whether the master secret is in it."""
        return SECRET in self.files


class Source(msgspec.Struct, frozen=True):
    """What is backed up."""

    data: Path
    database: Path
    with_secret: bool


def make_backup(
    source: Source, target: Path, clock: Clock, *, force: bool = False, told: Told = tell_nobody
) -> Manifest:
    """Write a backup under a name of its own, then rename it. ValueError if it may not be; OSError as it comes."""
    if target.exists() and not force:
        raise ValueError(f"{target} is there already; say --force to replace it")
    secret = source.data / SECRET
    if source.with_secret and not secret.exists():
        raise ValueError(
            f"there is no {secret}: the master secret is in the environment, so keep it from there"
        )
    with _beside(target, "db") as copy, _beside(target, "new") as bundle:
        copy_database(source.database, copy, lambda done, every: told("Copying the database", done, every))
        files = [(DATABASE, copy), *_files(source.data / FILES)]
        if source.with_secret:
            files.append((SECRET, secret))
        manifest = _describe(copy, files, clock, told)
        _bundle(bundle, manifest, files, packed=target.suffix in {".gz", ".tgz"}, told=told)
        bundle.replace(target)
    return manifest


def backup_before_migration(path: Path, data: Path) -> Path | None:
    """Copy a database that this release is about to migrate; where to, or None if there is nothing to migrate.

    The copies are in the data folder's `backups`, the latest few alone.
    """
    if not path.exists():
        return None
    applied = migrations_in(path)
    if not applied or all(step.number in applied for step in load_migrations()):
        return None
    folder = data / "backups"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    count = len(applied)
    target = folder / f"{path.stem}-before-{count:04d}-{max(applied):04d}.db"
    with _beside(target, "new") as copy:
        copy_database(path, copy)
        copy.replace(target)
    for old in sorted(folder.glob(f"{path.stem}-before-*.db"))[:-KEPT_BEFORE]:
        old.unlink()
    return target


def sum_of(path: Path, told: Callable[[int], None] = lambda _done: None) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
            told(len(piece))
    return digest.hexdigest()


@contextmanager
def _beside(target: Path, what: str) -> Iterator[Path]:
    """A name beside a file for what is not whole yet; gone afterwards, whatever happens."""
    path = target.with_name(f".{target.name}.{os.getpid()}.{what}")
    path.unlink(missing_ok=True)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
        path.with_name(f"{path.name}-journal").unlink(missing_ok=True)


def _files(folder: Path) -> list[tuple[str, Path]]:
    """Every file below a folder, by the name it has in the backup."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [(f"{FILES}/{path.relative_to(folder).as_posix()}", path) for path in found]


def _describe(copy: Path, files: list[tuple[str, Path]], clock: Clock, told: Told) -> Manifest:
    every, done = sum(path.stat().st_size for _, path in files), 0

    def tell(size: int) -> None:
        nonlocal done
        done += size
        told("Adding it up", done, every)

    members = {name: Member(path.stat().st_size, sum_of(path, tell)) for name, path in files}
    with closing(sqlite3.connect(copy)) as database:
        counts = {
            table: int(database.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])  # noqa: S608 -- our own words
            for table in COUNTED
        }
        currency = database.execute("SELECT value FROM settings WHERE name = 'currency'").fetchone()
        (schema,) = database.execute("SELECT MAX(n) FROM migrations").fetchone()
    return Manifest(
        format=FORMAT,
        farebox=__version__,
        made=datetime.fromtimestamp(clock.now_us() // 1_000_000, UTC).isoformat().replace("+00:00", "Z"),
        schema=int(schema),
        currency=None if currency is None else str(currency[0]),
        counts=counts,
        files=members,
    )


def _bundle(
    bundle: Path, manifest: Manifest, files: list[tuple[str, Path]], *, packed: bool, told: Told
) -> None:
    handle = os.fdopen(os.open(bundle, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")
    every, done = sum(member.size for member in manifest.files.values()), 0
    with handle, _opened_tar(handle, packed=packed) as archive:
        text = msgspec.json.format(msgspec.json.encode(manifest))
        archive.addfile(_entry(MANIFEST, len(text)), BytesIO(text))
        for name, path in files:
            size = manifest.files[name].size
            with path.open("rb") as file:
                archive.addfile(_entry(name, size), file)
            done += size
            told("Writing the backup", done, every)
    with bundle.open("rb") as written:
        os.fsync(written.fileno())


def _opened_tar(handle: IO[bytes], *, packed: bool) -> tarfile.TarFile:
    if packed:
        return tarfile.open(fileobj=handle, mode="w:gz", compresslevel=_GZIP_LEVEL)
    return tarfile.open(fileobj=handle, mode="w")


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o600
    return entry
