"""A closed-loop load generator for chat completions: exactly N requests over C connections, every answer checked.

    python load.py --url http://127.0.0.1:3273/v1/chat/completions --key sk-… -n 6000 -c 16 [--stream]

A plain answer counts if it is a 200 with `choices`; a stream, if it also has at least 98 content events and ends in
`[DONE]`. One line of JSON goes to standard output. `--hold SECONDS` opens C streams, says how many have said
something, keeps them open until the time is over or standard input ends, and hangs up: for weighing idle streams.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import cast
from urllib.parse import urlsplit

import httptools
import msgspec
import uvloop

CONTENT_EVENTS_MIN = (
    98  # Of the stub's hundred: a gateway may merge the first or the last with its neighbour.
)
CONNECT_S_MAX = 10.0
CONTENT = b'"content":'
SYSTEM = "You are a helpful assistant that answers briefly."
QUESTION = "Say what an AI gateway does, in about one hundred words, and mention metering."


class Report(msgspec.Struct):
    """What one run found; times in milliseconds."""

    ok: int = 0
    failed: int = 0
    why: dict[str, int] = {}
    seconds: float = 0
    rps: float = 0
    events: int = 0
    p50_ms: float = 0
    p99_ms: float = 0
    first_p50_ms: float = 0
    open: int = 0  # With --hold: streams that said something and stay open.


class Job(msgspec.Struct, frozen=True):
    """What to send, how often and over how many connections."""

    host: str
    port: int
    request: bytes
    stream: bool
    requests: int
    connections: int
    limit_s: float  # The whole run stops after this long, and what is missing has failed.


class Tally:
    """Takes requests from what is left, and gathers what became of them."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.left = job.requests
        self.whole_s: list[float] = []
        self.first_s: list[float] = []
        self.events = 0
        self.why: Counter[str] = Counter()
        self.open = 0
        self.all_open = asyncio.Event()

    def take(self) -> bool:
        """Whether one more request may be sent."""
        self.left -= 1
        return self.left >= 0

    def report(self, seconds: float) -> Report:
        """Sum up; a request that was never answered has failed."""
        ok, failed = len(self.whole_s), self.why.total()
        missing = self.job.requests - ok - failed
        if missing:
            self.why["no answer in time"] += missing
        return Report(
            ok=ok,
            failed=failed + missing,
            why=dict(self.why),
            seconds=round(seconds, 3),
            rps=round(ok / seconds, 1),
            events=self.events,
            p50_ms=quantile_ms(self.whole_s, 50),
            p99_ms=quantile_ms(self.whole_s, 99),
            first_p50_ms=quantile_ms(self.first_s, 50),
            open=self.open,
        )


def quantile_ms(seconds: Sequence[float], percent: int) -> float:
    """The value that `percent` of all do not exceed, in milliseconds; 0 of nothing."""
    ordered = sorted(seconds)
    return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] * 1000, 4) if ordered else 0


class Caller(asyncio.Protocol):
    """One connection that asks, checks the answer, and asks again.

    Times are the system's own: uvloop's `loop.time()` moves in milliseconds.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, tally: Tally) -> None:
        self._tally = tally
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: list[bytes] = []
        self._sent_s = 0.0
        self._first_s = 0.0
        self._asking = False
        self._transport: asyncio.Transport
        self.ended: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass of it.
        self._ask()

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._asking:
            self._tally.why["the connection was closed before the answer was whole"] += 1
        if not self.ended.done():
            self.ended.set_result(None)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._asking = False
            self._tally.why[f"not HTTP: {error}"] += 1
            self._transport.close()

    def on_body(self, body: bytes) -> None:
        if not self._pieces:
            self._first_s = time.perf_counter()
            self._tally.open += 1
            if self._tally.open == self._tally.job.connections:
                self._tally.all_open.set()
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        now_s = time.perf_counter()
        body = b"".join(self._pieces)
        self._pieces.clear()
        self._asking = False
        self._tally.open -= 1
        if wrong := self._wrong(body):
            self._tally.why[wrong] += 1
        else:
            self._tally.whole_s.append(now_s - self._sent_s)
            self._tally.first_s.append(self._first_s - self._sent_s)
        if self._parser.should_keep_alive():
            self._ask()
        else:
            self._transport.close()

    def hang_up(self) -> None:
        """Close at once; whatever was being answered does not count as failed."""
        self._asking = False
        self._transport.abort()

    def _ask(self) -> None:
        if not self._tally.take():
            self._transport.close()
            return
        self._asking = True
        self._sent_s = time.perf_counter()
        self._transport.write(self._tally.job.request)

    def _wrong(self, body: bytes) -> str | None:
        status = self._parser.get_status_code()
        if status != 200:
            return f"status {status}: {body[:160].decode(errors='replace')}"
        if not self._tally.job.stream:
            return None if b'"choices"' in body else "no choices in the answer"
        self._tally.events += body.count(b"data:")
        said = body.count(CONTENT)
        if said < CONTENT_EVENTS_MIN or b"[DONE]" not in body[-32:]:
            return f"the stream was cut: {said} content events, {body[-32:]!r} at its end"
        return None


async def _work(loop: asyncio.AbstractEventLoop, tally: Tally) -> None:
    """One worker: a connection, and another one whenever it is closed, while requests are left."""
    while tally.left > 0:
        try:
            async with asyncio.timeout(CONNECT_S_MAX):
                _, caller = await loop.create_connection(
                    lambda: Caller(loop, tally), tally.job.host, tally.job.port
                )
        except OSError as error:  # TimeoutError is one as well.
            if tally.take():
                tally.why[f"no connection: {error}"] += 1
            continue
        try:
            await caller.ended
        finally:
            caller.hang_up()


async def run(job: Job) -> Report:
    """Send everything and sum up."""
    loop = asyncio.get_running_loop()
    tally = Tally(job)
    started_s = time.perf_counter()
    with contextlib.suppress(TimeoutError):  # The report says how many are missing.
        async with asyncio.timeout(job.limit_s), asyncio.TaskGroup() as workers:
            for _ in range(job.connections):
                workers.create_task(_work(loop, tally))
    return tally.report(time.perf_counter() - started_s)


async def hold(job: Job, seconds: float) -> None:
    """Open one stream a connection, report when all have spoken, and keep them until told or timed out."""
    loop = asyncio.get_running_loop()
    tally = Tally(job)
    told = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), told.set)
    callers: list[Caller] = []
    for _ in range(job.connections):
        _, caller = await loop.create_connection(lambda: Caller(loop, tally), job.host, job.port)
        callers.append(caller)
    await _wait(tally.all_open, job.limit_s)
    print(msgspec.json.encode(Report(open=tally.open, why=dict(tally.why))).decode(), flush=True)
    await _wait(told, seconds)
    for caller in callers:
        caller.hang_up()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _request(url: str, given: argparse.Namespace) -> bytes:
    parts = urlsplit(url)
    members: dict[str, object] = {
        "model": given.model,
        "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}],
        "temperature": 0.7,
        "max_tokens": 256,
    }
    if given.stream or given.hold:
        members |= {"stream": True, "stream_options": {"include_usage": True}}
    body = msgspec.json.encode(members)
    lines = [
        f"POST {parts.path or '/'} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Content-Type: application/json",
        "Accept: */*",
        "User-Agent: farebox-bench",
        f"Content-Length: {len(body)}",
        *([f"Authorization: Bearer {given.key}"] if given.key else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def main() -> None:
    """Read the command line, run, print the report; exit status 1 if anything failed."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--url", required=True)
    options.add_argument("--key", default="", help="sent as Authorization: Bearer")
    options.add_argument("--model", default="gpt-4o-mini")
    options.add_argument("-n", type=int, default=1000, dest="requests")
    options.add_argument("-c", type=int, default=16, dest="connections")
    options.add_argument("--stream", action="store_true")
    options.add_argument("--limit", type=float, default=60.0, help="seconds the whole run may take")
    options.add_argument(
        "--hold", type=float, default=0.0, help="open C streams and keep them so many seconds"
    )
    given = options.parse_args()
    parts = urlsplit(given.url)
    job = Job(
        host=parts.hostname or "127.0.0.1",
        port=parts.port or 80,
        request=_request(given.url, given),
        stream=given.stream,
        requests=given.connections if given.hold else given.requests,
        connections=given.connections,
        limit_s=given.limit,
    )
    if given.hold:
        uvloop.run(hold(job, given.hold))
        return
    report = uvloop.run(run(job))
    print(msgspec.json.encode(report).decode())
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main()
