"""Owners: who holds money. An owner is alive exactly as long as its process keeps its proof of life.

The proof is a lock that the system takes back when the process is gone, however it went: on SQLite the lock on a file
beside the database, on PostgreSQL a lock of a session. Time plays no part: a process that is stopped for a minute
keeps its lock and so its holds, and one that was killed loses it, whatever it was doing.

A session may also end with its network, or with the server, and its process will be back. So where locks are a
session's, an owner is dead only once it was found without its lock, and found so again RETURN_S later.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Protocol

from farebox.core.clock import Clock
from farebox.ledger.books import sweep
from farebox.store.database import Database, SessionLock, SessionLocks

RETURN_S = 4  # Within these seconds an owner whose session has ended takes its lock again.


class Proof(Protocol):
    """One owner's proof of life, kept by its own process."""

    owner: str

    def keep(self) -> None:
        """Take the lock again if it was lost. StoreUnavailableError if that cannot be now."""

    def release(self) -> None:
        """Give the proof up; call it when nothing is held any more."""


class Lives(Protocol):
    """Every owner's proof of life, as anybody sees it."""

    def begin(self, owner: str) -> Proof:
        """Prove this process's life from now on."""

    def is_dead(self, owner: str) -> bool:
        """Whether nobody proves an owner's life any more."""

    def forget(self, owner: str) -> None:
        """Clear away what a dead owner has left."""


def lives_on(database: Database, folder: Path, clock: Clock) -> Lives:
    """How owners of this database prove their lives; `folder` is for the locks of a database that keeps none."""
    return FileLives(folder) if database.locks is None else SessionLives(database.locks, clock)


class OwnerFile:
    """A Proof by the lock on a file."""

    def __init__(self, path: Path, owner: str) -> None:
        self.owner = owner
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def keep(self) -> None:
        """It cannot be lost."""

    def release(self) -> None:
        """Give the proof up."""
        self._path.unlink(missing_ok=True)
        os.close(self._file)


class FileLives:
    """Lives proved by files that stand beside the database, so that every worker on it sees them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, owner: str) -> Proof:
        """Lock a file of one's own."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        return OwnerFile(self._path(owner), owner)

    def is_dead(self, owner: str) -> bool:
        """Whether nobody holds the lock."""
        try:
            file = os.open(self._path(owner), os.O_RDWR | os.O_CLOEXEC)
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

    def forget(self, owner: str) -> None:
        """Remove the file."""
        self._path(owner).unlink(missing_ok=True)

    def _path(self, owner: str) -> Path:
        return self._folder / f"{owner}.lock"


class OwnerSession:
    """A Proof by the lock of a session."""

    def __init__(self, lock: SessionLock, owner: str) -> None:
        self.owner = owner
        self._lock = lock
        lock.take()

    def keep(self) -> None:
        """Take the lock again if the session has ended."""
        if not self._lock.stands():
            self._lock.take()

    def release(self) -> None:
        """End the session."""
        self._lock.release()


class SessionLives:
    """Lives proved by sessions that the database keeps, so that every node on it sees them."""

    def __init__(self, locks: SessionLocks, clock: Clock) -> None:
        self._locks = locks
        self._clock = clock
        self._missed_ms: dict[str, int] = {}  # Since when an owner's lock is free at every look.

    def begin(self, owner: str) -> Proof:
        """Open a session of one's own."""
        return OwnerSession(self._locks.lock(_lock_name(owner)), owner)

    def is_dead(self, owner: str) -> bool:
        """Whether the lock is free, and was already when somebody looked RETURN_S ago."""
        if not self._locks.is_free(_lock_name(owner)):
            self._missed_ms.pop(owner, None)
            return False
        now_ms = round(self._clock.monotonic_s() * 1000)
        return now_ms - self._missed_ms.setdefault(owner, now_ms) >= RETURN_S * 1000

    def forget(self, owner: str) -> None:
        """Look no more."""
        self._missed_ms.pop(owner, None)


def _lock_name(owner: str) -> str:
    return f"owner:{owner}"


def register(database: Database, owner: str, now_us: int) -> None:
    """Write the owner down, so that its holds have a name behind them."""
    with database.transaction() as work:
        work.run("INSERT INTO owners (id, started) VALUES (?, ?)", owner, now_us)


def keep(database: Database, proof: Proof, now_us: int) -> bool:
    """Keep a proof of life, and its owner written down; whether it had been swept. StoreUnavailableError as it goes."""
    proof.keep()
    with database.read() as view:
        if view.one("SELECT 1 FROM owners WHERE id = ?", proof.owner) is not None:
            return False
    register(database, proof.owner, now_us)
    return True


def retire(database: Database, owner: str) -> None:
    """Strike an owner that goes in peace; anything it still holds is voided."""
    with database.transaction() as work:
        sweep(work, owner)


def sweep_dead(database: Database, lives: Lives, *, living: str | None) -> int:
    """Void the holds of every dead owner; how many were voided. `living` is the caller itself.

    A hold may have an owner that is not written down: it was taken just when its owner was swept by mistake.
    """
    with database.read() as view:
        owners = [str(row[0]) for row in view.all("SELECT id FROM owners UNION SELECT owner FROM holds")]
    voided = 0
    for owner in owners:
        if owner != living and lives.is_dead(owner):
            with database.transaction() as work:
                voided += sweep(work, owner)
            lives.forget(owner)
    return voided
