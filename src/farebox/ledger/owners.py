"""Owners: who holds money. An owner is alive exactly as long as its process keeps the lock on its file.

Time plays no part: a process that is stopped for a minute keeps its lock and so its holds, and one that was killed
loses it at once, whatever it was doing. The file stands beside the database, so that every worker on it sees it.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from farebox.ledger.books import sweep
from farebox.store.database import Database


class OwnerLock:
    """This process's proof of life."""

    def __init__(self, folder: Path, owner: str) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.owner = owner
        self._path = _path(folder, owner)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def release(self) -> None:
        """Give the proof up; call it when nothing is held any more."""
        self._path.unlink(missing_ok=True)
        os.close(self._file)


def register(database: Database, owner: str, now_us: int) -> None:
    """Write the owner down, so that its holds have a name behind them."""
    with database.transaction() as work:
        work.run("INSERT INTO owners (id, started) VALUES (?, ?)", owner, now_us)


def retire(database: Database, owner: str) -> None:
    """Strike an owner that goes in peace; anything it still holds is voided."""
    with database.transaction() as work:
        sweep(work, owner)


def sweep_dead(database: Database, folder: Path, *, living: str | None) -> int:
    """Void the holds of every owner whose lock is free; how many were voided. `living` is the caller itself."""
    with database.read() as view:
        owners = [str(row[0]) for row in view.all("SELECT id FROM owners")]
    voided = 0
    for owner in owners:
        if owner != living and is_dead(folder, owner):
            with database.transaction() as work:
                voided += sweep(work, owner)
            _path(folder, owner).unlink(missing_ok=True)
    return voided


def is_dead(folder: Path, owner: str) -> bool:
    """Whether nobody holds an owner's lock."""
    try:
        file = os.open(_path(folder, owner), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(file)


def _path(folder: Path, owner: str) -> Path:
    return folder / f"{owner}.lock"
