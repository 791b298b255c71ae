"""`farebox up` as an operator runs it: a process of its own, on a free port, ended by pid."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

READY_S = 15.0
STOP_S = 45.0
COMMAND = (sys.executable, "-m", "farebox")
UP = (*COMMAND, "up")


def clean_environment(**extra: str) -> dict[str, str]:
    """This environment without any provider's key or setting of Farebox's in it."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.endswith("_API_KEY") and "FAREBOX" not in name
    }
    return {**kept, **extra}


def cli(*arguments: str | Path, data: Path, config: Path | None = None) -> subprocess.CompletedProcess[str]:
    """One command on a data folder, with what it printed."""
    extra = ["--data", str(data), *(["--config", str(config)] if config else [])]
    return subprocess.run(
        [*COMMAND, *map(str, arguments), *extra],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=clean_environment(),
    )


def new_key(data: Path, account: str, *arguments: str, config: Path | None = None) -> str:
    """A key, made by the command line."""
    made = cli("keys", "create", "--account", account, "--quiet", *arguments, data=data, config=config)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def statement(data: Path, account: str, config: Path | None = None) -> list[dict[str, object]]:
    """An account's statement, oldest entry first."""
    told = cli("wallet", "statement", account, "--json", data=data, config=config)
    assert told.returncode == 0, told.stderr
    return [json.loads(line) for line in told.stdout.splitlines()]


class Up:
    """A running `farebox up`."""

    def __init__(
        self,
        data: Path,
        config: Path | None,
        arguments: tuple[str, ...],
        environment: Mapping[str, str],
        verb: tuple[str, ...] = UP,
    ) -> None:
        self.data = data
        self.config = config
        self.log = data.with_suffix(".log")
        port = () if "--port" in arguments else ("--port", "0")
        command = [*verb, "--data", str(data), *port, *arguments]
        if config:
            command += ["--config", str(config)]
        with self.log.open("ab") as log:
            at = log.tell()
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=clean_environment(**environment), start_new_session=True
            )
        self.url = self._wait_for_url(at)
        self._wait_until_ready()

    @property
    def pid(self) -> int:
        return self.process.pid

    def workers(self) -> list[int]:
        """The pids of its children."""
        text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in text.split()]

    def kill(self) -> None:
        """kill -9, the whole family."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(STOP_S)

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        self.process.terminate()
        return self.process.wait(STOP_S)

    def _wait_for_url(self, at: int) -> str:
        end = time.monotonic() + READY_S
        while time.monotonic() < end:
            text = self.log.read_bytes()[at:].decode()
            for line in text.splitlines():
                if line.startswith("Farebox is ready on "):
                    return line.removeprefix("Farebox is ready on ").strip()
            assert self.process.poll() is None, text
            time.sleep(0.01)
        raise AssertionError(f"not ready in {READY_S} s:\n{self.log.read_text()}")

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + READY_S
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/health/ready", timeout=2) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                assert time.monotonic() < end, self.log.read_text()
                time.sleep(0.01)


@contextmanager
def up(
    data: Path,
    *arguments: str,
    config: Path | None = None,
    environment: Mapping[str, str] | None = None,
    verb: tuple[str, ...] = UP,
) -> Iterator[Up]:
    """`farebox up`, or the `verb` in its place, on a free port until the block ends; killed if it does not stop."""
    running = Up(data, config, arguments, environment or {}, verb)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.terminate()
            try:
                running.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                running.kill()
