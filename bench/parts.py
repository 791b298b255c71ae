"""The processes of a measurement: stub upstream, nginx and Farebox, on free ports, ended by pid with their block."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from bench.meter import read_memory_kib

HERE = Path(__file__).resolve().parent
FAREBOX = str(Path(sys.executable).with_name("farebox"))  # Of the same environment as the rig.
SYSTEM_FOLDERS = (
    "/usr/sbin:/usr/local/sbin:/sbin"  # Where Debian keeps nginx, outside an ordinary user's PATH.
)
READY_S_MAX = 20.0
END_S_MAX = 10.0
POLL_S = 0.005
REST_S = 0.5  # What a start leaves to be done after the first answer.
COMMAND_S_MAX = 30.0
LOG_LINES_SHOWN = 15

NGINX_CONF = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  client_body_buffer_size 64k;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 10000000;
  upstream stub {{ server 127.0.0.1:{stub}; keepalive 512; keepalive_requests 10000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      proxy_pass http://stub;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 300s;
    }}
  }}
}}
"""

FAREBOX_TOML = """
[server]
host = "127.0.0.1"
port = {port}

[wallet]
currency = "USD"

[[providers]]
name = "openai"
dialect = "openai_chat"
base_url = "http://127.0.0.1:{stub}/v1"
api_key = "sk-stub"

[[models]]
id = "openai/gpt-4o-mini"
kind = "chat"
context_window = 128000
max_output = 16384
cost = {{ currency = "USD", input = "0.15", output = "0.60", cache_read = "0.075", cache_write = "0.15" }}
routes = [ {{ provider = "openai", model = "gpt-4o-mini", order = 1, weight = 1 }} ]

[[providers]]
name = "anthropic"
dialect = "anthropic"
base_url = "http://127.0.0.1:{stub}"
api_key = "sk-stub"

[[models]]
id = "anthropic/claude-stub"
kind = "chat"
context_window = 200000
max_output = 16384
cost = {{ currency = "USD", input = "3", output = "15", cache_read = "0.3", cache_write = "3.75" }}
routes = [ {{ provider = "anthropic", model = "claude-stub", order = 1, weight = 1 }} ]

[[plans]]
name = "enterprise"
chat_rpm = 100000000
image_rpm = 100000000
"""


class Broken(Exception):  # noqa: N818 -- it says what is broken: a part of the rig, and how its log ends
    """A part that did not start or did not do its work."""


class Target(msgspec.Struct, frozen=True):
    """A running gateway to be measured."""

    name: str
    base_url: str  # Ends in /v1.
    key: str = ""
    pids: tuple[int, ...] = ()
    ready_s: float = 0.0  # From spawn to the first answer that says ready.
    idle_kib: int = 0  # Resident before its first call.
    model: str = "gpt-4o-mini"

    @property
    def origin(self) -> str:
        """The URL without a path."""
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc}"


@contextlib.contextmanager
def started_stub(folder: Path, port: int | None = None) -> Iterator[Target]:
    """The upstream, which is also the target `direct`; on a given port if a peer must know it beforehand."""
    port = port or free_port()
    with _process("stub", [sys.executable, str(HERE / "stub.py"), "--port", str(port)], folder) as process:
        yield _ready("direct", process, port, "/_stub")


def find_nginx() -> str | None:
    """The nginx binary, if one is installed."""
    return shutil.which("nginx") or shutil.which("nginx", path=SYSTEM_FOLDERS)


@contextlib.contextmanager
def started_nginx(binary: str, folder: Path, stub: Target) -> Iterator[Target]:
    """A plain keep-alive proxy before the stub: one worker, no log, streams unbuffered."""
    port = free_port()
    conf = folder / "nginx.conf"
    conf.write_text(NGINX_CONF.format(folder=folder, port=port, stub=urlsplit(stub.base_url).port))
    command = [binary, "-c", str(conf), "-p", str(folder), "-e", str(folder / "nginx.log")]
    with _process("nginx", command, folder) as process:
        yield _ready("nginx", process, port, "/_stub")


@contextlib.contextmanager
def started_farebox(folder: Path, stub: Target) -> Iterator[Target]:
    """Farebox as an operator starts it, on an empty data folder, with the stub as its provider."""
    port = free_port()
    conf = folder / "farebox.toml"
    conf.write_text(FAREBOX_TOML.format(port=port, stub=urlsplit(stub.base_url).port))
    where = ["--data", str(folder / "data"), "--config", str(conf)]
    with _process("farebox", [FAREBOX, "up", *where], folder) as process:
        target = _ready("farebox", process, port, "/health/ready")
        grant = ["--account", "bench", "--plan", "enterprise", "--credit", "1000000", "--quiet"]
        yield msgspec.structs.replace(target, key=_output([FAREBOX, "keys", "create", *grant, *where]))


def fetch(url: str) -> str:
    """GET a small text; Broken if the answer is not a 200."""
    status, text = _get(url)
    if status != 200:
        raise Broken(f"{url} answered {status}: {text[:300]}")
    return text


def free_port() -> int:
    """A port on loopback that nobody listens on just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class _Process(msgspec.Struct):
    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    spawned_s: float

    @property
    def pid(self) -> int:
        return self.popen.pid

    def broken(self, what: str) -> Broken:
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:])
        return Broken(f"{self.name} {what}\n{tail}")


@contextlib.contextmanager
def _process(name: str, command: Sequence[str], folder: Path) -> Iterator[_Process]:
    log = folder / f"{name}.out"
    if shutil.which(command[0]) is None:
        raise Broken(f"{name} cannot be started: there is no {command[0]}")
    with log.open("wb") as output:
        spawned_s = time.perf_counter()
        # A session of its own: Ctrl-C is for the rig, which then ends its parts in order.
        popen = subprocess.Popen(
            command, stdout=output, stderr=output, env=_environment(), cwd=folder, start_new_session=True
        )
    try:
        yield _Process(name, popen, log, spawned_s)
    finally:
        _end(popen)


def _end(popen: subprocess.Popen[bytes]) -> None:
    popen.terminate()
    try:
        popen.wait(END_S_MAX)
    except subprocess.TimeoutExpired:
        popen.kill()
        popen.wait()
    try:
        os.killpg(popen.pid, signal.SIGKILL)  # Its group bears its pid: workers that outlived their parent.
    except ProcessLookupError:
        return


def _ready(name: str, process: _Process, port: int, path: str) -> Target:
    """The target, once it is ready and has come to rest."""
    origin = f"http://127.0.0.1:{port}"
    ready_s = _wait_ready(process, origin + path)
    time.sleep(REST_S)
    pids = (process.pid,)
    return Target(name, f"{origin}/v1", pids=pids, ready_s=ready_s, idle_kib=read_memory_kib(pids))


def _wait_ready(process: _Process, url: str) -> float:
    """Seconds from spawn until `url` answers 200."""
    while (passed_s := time.perf_counter() - process.spawned_s) < READY_S_MAX:
        if process.popen.poll() is not None:
            raise process.broken(f"ended with status {process.popen.returncode} instead of becoming ready:")
        with contextlib.suppress(OSError, HTTPException):  # Nobody listens yet.
            if _get(url)[0] == 200:
                return time.perf_counter() - process.spawned_s
        time.sleep(POLL_S)
    raise process.broken(f"was not ready after {passed_s:.0f} s:")


def _get(url: str) -> tuple[int, str]:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}" if parts.query else parts.path)
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    finally:
        connection.close()


def _output(command: Sequence[str]) -> str:
    """What a short command prints; Broken with its own words if it fails."""
    done = subprocess.run(
        command, capture_output=True, text=True, env=_environment(), timeout=COMMAND_S_MAX, check=False
    )
    if done.returncode:
        raise Broken(
            f"{' '.join(command[:3])} ended with status {done.returncode}: {done.stderr or done.stdout}"
        )
    return done.stdout.strip()


def _environment() -> dict[str, str]:
    """The environment without Farebox's own settings, which would change what is measured."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FAREBOX_")}
