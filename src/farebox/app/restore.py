"""Restoring: a backup into an empty folder, checked before anything is in its place.

What was held when the backup was made belongs to processes that are no more, so it is voided, as after any crash.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

import msgspec

from farebox.app.backup import (
    DATABASE,
    FILES,
    FORMAT,
    MANIFEST,
    MANIFEST_BYTES_MAX,
    SECRET,
    Manifest,
    Member,
    Told,
    tell_nobody,
)
from farebox.app.bookkeeping import check_all_books
from farebox.core.clock import Clock
from farebox.ledger.check import BooksReport
from farebox.ledger.owners import lives_on, sweep_dead
from farebox.store.engines import Place, open_database
from farebox.store.migrate import SchemaError, load_migrations, migrate

_PIECE_BYTES = 1 << 20
_BROKEN = (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error)


class Restored(msgspec.Struct, frozen=True):
    """What came of it."""

    manifest: Manifest
    voided: int
    report: BooksReport


def restore_backup(
    backup: Path, data: Path, database: Path, clock: Clock, *, told: Told = tell_nobody
) -> Restored:
    """Put a backup in place. ValueError if there is something already, or it is damaged; SchemaError if it is newer.

    Until all of it is read and every sum is right nothing is where a server would look.
    """
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise ValueError(f"{data} is not empty: name another folder with --data, or move what is there away")
    if database.exists():
        raise ValueError(f"there is a database {database} already: move it away first")
    with _new_folder(data) as folder:
        manifest = _unpack(backup, folder, told)
        (folder / DATABASE).rename(folder / database.name)
        restored = _settle(manifest, folder / database.name, clock)
        if database.parent.absolute() == data.absolute():
            _put(folder, data)
        else:
            database.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(folder / database.name, database)
            _put(folder, data)
    return restored


def read_manifest(backup: Path) -> Manifest:
    """What a backup says of itself. ValueError if it is none."""
    with _reading(backup) as archive:
        return _manifest(archive)


def _settle(manifest: Manifest, path: Path, clock: Clock) -> Restored:
    database = open_database(Place("", path))
    try:
        migrate(database, load_migrations())
        lives = lives_on(database, path.with_name(f"{path.name}.owners"), clock)
        voided = sweep_dead(database, lives, living=None)
        return Restored(manifest, voided, check_all_books(database))
    finally:
        database.close()


@contextmanager
def _new_folder(data: Path) -> Iterator[Path]:
    folder = data.absolute().with_name(f".{data.absolute().name}.{os.getpid()}.restoring")
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _put(folder: Path, data: Path) -> None:
    if data.exists():
        data.rmdir()  # Empty, as was looked; whoever wrote to it since keeps it, and we stop.
    folder.rename(data)


@contextmanager
def _reading(backup: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(backup, "r|*") as archive:
            yield archive
    except _BROKEN as error:
        raise ValueError(f"{backup} is no backup, or a damaged one: {error}") from error


def _unpack(backup: Path, folder: Path, told: Told) -> Manifest:
    with _reading(backup) as archive:
        manifest = _manifest(archive)
        wanted = dict(manifest.files)
        every, done = sum(member.size for member in wanted.values()), 0
        while entry := archive.next():
            member = wanted.pop(entry.name, None)
            source = archive.extractfile(entry) if entry.isfile() else None
            if member is None or source is None or entry.size != member.size:
                raise ValueError(
                    f"{backup} is damaged: its manifest knows nothing of {entry.name!r} as it is"
                )
            _extract(source, folder / _safe(entry.name), member, backup)
            done += member.size
            told("Restoring", done, every)
    if wanted:
        raise ValueError(f"{backup} is damaged: {', '.join(sorted(wanted))} is missing")
    return manifest


def _manifest(archive: tarfile.TarFile) -> Manifest:
    first = archive.next()
    source = archive.extractfile(first) if first is not None and first.name == MANIFEST else None
    if source is None or first is None or first.size > MANIFEST_BYTES_MAX:
        raise ValueError("this is no backup of Farebox: it does not begin with a manifest")
    try:
        manifest = msgspec.json.decode(source.read(), type=Manifest)
    except msgspec.MsgspecError as error:
        raise ValueError(f"the manifest of this backup cannot be read: {error}") from error
    newest = max(step.number for step in load_migrations())
    if manifest.format > FORMAT or manifest.schema > newest:
        raise SchemaError(
            f"this backup was made by a newer Farebox ({manifest.farebox}, schema {manifest.schema}): update first"
        )
    if DATABASE not in manifest.files:
        raise ValueError("this backup holds no database")
    return manifest


def _extract(source: IO[bytes], target: Path, member: Member, backup: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with os.fdopen(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        while piece := source.read(_PIECE_BYTES):
            digest.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != member.sha256:
        raise ValueError(f"{backup} is damaged: {target.name} is not what was backed up")


def _safe(name: str) -> PurePosixPath:
    """A member's place; only what a backup of ours can have."""
    path = PurePosixPath(name)
    inside = len(path.parts) > 1 and path.parts[0] == FILES
    if path.is_absolute() or ".." in path.parts or not (inside or name in {DATABASE, SECRET}):
        raise ValueError(f"this is no backup of Farebox: it holds {name!r}")
    return path
