"""Run: one worker in this process, or several in children of it.

With several, the parent binds the port, forks, and does nothing but watch: a worker that dies is replaced, a signal is
passed on. Its children each listen on the port by themselves (SO_REUSEPORT), so the kernel shares connections out.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import msgspec
import uvloop

from farebox.app.office import open_office
from farebox.app.paying import build_processors
from farebox.app.prices import imported_listings
from farebox.app.stock import Found, Stock, take_stock
from farebox.app.worker import Worker, run_worker
from farebox.config.settings import Settings

log = logging.getLogger("farebox")
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
RESTART_S = 0.5  # A worker that cannot live is tried again at this pace, not in a spin.
_FILES_WANTED = 65_536
GC_OBJECTS = 20_000


class Bind(msgspec.Struct):
    """The address we listen on, held from the start so that the port is known and ours."""

    host: str
    port: int
    _socket: socket.socket

    @classmethod
    def open(cls, host: str, port: int) -> Bind:
        """Bind the address. ValueError if something else listens there."""
        # A try without SO_REUSEPORT tells whether the port is taken: with it, a second server would share it silently.
        for shared in (False, True):
            bound = _bound(host, port, shared=shared)
            port = bound.getsockname()[1]
            if not shared:
                bound.close()
        return cls(host, port, bound)

    @property
    def url(self) -> str:
        """The address for a person on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host and '[' not in host else host}:{self.port}"

    def listener(self) -> socket.socket:
        """A socket of this process's own on the same address."""
        return _bound(self.host, self.port, shared=True)

    def close(self) -> None:
        """Let the address go."""
        self._socket.close()


def _bound(host: str, port: int, *, shared: bool) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ValueError(f"cannot listen on {host}: {error.strerror or error}") from error
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise ValueError(f"cannot listen on {host} port {port}: {error.strerror}; say --port") from error
    bound.setblocking(False)
    return bound


def run(bind: Bind, data: Path, settings: Settings, found: Found, ready: Callable[[Stock], None]) -> int:
    """Answer calls until told to stop; the exit code. `ready` is told once, with what there is to sell."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    _raise_file_limit()
    stock = take_stock(settings, found, os.environ, imported_listings(data, settings, os.environ))
    build_processors(settings)  # What is missing is told here, before there are workers.

    def work(listening: Callable[[], None], lifeline: int | None = None) -> None:
        # What the start leaves behind stays for good: no collection needs to look at it again, and a call makes few
        # cycles, so collections may be rarer than Python's default of every 700 objects.
        gc.freeze()
        gc.set_threshold(GC_OBJECTS, 20, 50)
        office = open_office(data, settings, os.environ)
        top_up_url = f"{settings.server.base_url or bind.url}/console/wallet"

        async def answer() -> None:
            worker = Worker(office, stock, top_up_url=top_up_url)
            await run_worker(worker, bind.listener(), listening, lifeline)

        uvloop.run(answer())

    if settings.server.workers == 1:
        work(lambda: ready(stock))
        return 0
    ready(stock)
    return _Supervisor(work, settings.server.workers).run()


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_WANTED if hard == resource.RLIM_INFINITY else min(_FILES_WANTED, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Supervisor:
    """Keeps a number of workers alive.

    They end with it, even if it is killed: each holds one end of a pipe that says so when the other end is gone.
    """

    def __init__(self, work: Callable[[Callable[[], None], int], None], workers: int) -> None:
        self._work = work
        self._workers = workers
        self._children: set[int] = set()
        self._stopping = False
        self._lifeline, self._ours = os.pipe()

    def run(self) -> int:
        """Watch until told to stop and every worker has gone."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._pass_on)
        for _ in range(self._workers):
            self._fork()
        while self._children:
            try:
                pid, status = os.wait()
            except ChildProcessError:
                break
            self._children.discard(pid)
            if not self._stopping:
                log.error(
                    "worker %d ended (%s); another takes its place", pid, os.waitstatus_to_exitcode(status)
                )
                time.sleep(RESTART_S)
                self._fork()
        return 0

    def _pass_on(self, number: int, frame: object) -> None:  # noqa: ARG002 -- signal's signature
        self._stopping = True
        for child in list(self._children):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)

    def _fork(self) -> None:
        # A signal between the fork and the child's own handlers would make the child signal its siblings.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        pid = 0 if self._stopping else os.fork()
        if not pid and not self._stopping:
            self._live()
        if pid:
            self._children.add(pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def _live(self) -> NoReturn:
        """The whole life of a child."""
        os.close(self._ours)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # Ctrl-C reaches the whole family at once, and twice would mean "now": the parent passes it on.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        code = 1
        try:
            self._work(lambda: None, self._lifeline)
            code = 0
        except BaseException:
            log.exception("a worker could not go on")
            raise
        finally:
            os._exit(code)  # A fork must not unwind into what its parent was doing.
