"""The measurement: every round visits every target for every scenario, so that noise falls on all of them alike.

Exit status: 0 all bars met, 1 a bar missed or an answer wrong, 2 a part did not start, 3 no nginx to compare with.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from bench.ledger import Cost
from bench.load import Report
from bench.meter import read_cpu, read_memory_kib
from bench.parts import HERE, Broken, Target, fetch, find_nginx, started_farebox, started_nginx, started_stub
from bench.table import (
    TRANSLATED,
    Bar,
    Books,
    Measured,
    Rows,
    bars,
    print_bars,
    print_books,
    print_rest,
    print_scenario,
)

TRANSLATED_MODEL = "claude-stub"
TRANSLATED_SCENARIOS = ("plain", "stream", "burst")
TRAILING_S = 0.25  # What follows an answer (usage records, logs, a checkpoint) belongs to the request.
RUN_S_MAX = 60.0
IDLE_STREAMS = 200
IDLE_DELAY_MS = 300_000
IDLE_S_MAX = 30.0
BOOKED_S_MAX = 10.0  # For streams that were hung up on to be settled.
NO_NGINX = "There is no nginx to compare with: install it (on Debian or Ubuntu the package nginx-light) for the ratios."


class Scenario(msgspec.Struct, frozen=True):
    """One kind of load."""

    name: str
    requests: int
    connections: int
    stream: bool = False
    delay_ms: int = 0  # The stub's gap between two content events.

    def scaled(self, scale: float) -> Scenario:
        """With more or fewer requests, but at least two a connection."""
        return msgspec.structs.replace(self, requests=max(self.connections * 2, round(self.requests * scale)))

    def __str__(self) -> str:
        """In words."""
        kind = f"streams of 100 events, {self.delay_ms} ms apart" if self.stream else "plain requests"
        return f"{self.requests} {kind}, over {self.connections} connection{'s' * (self.connections > 1)}"


SCENARIOS = {
    one.name: one
    for one in (
        Scenario("one", requests=1500, connections=1),
        Scenario("plain", requests=6000, connections=16),
        Scenario("stream", requests=320, connections=32, stream=True, delay_ms=5),
        Scenario("burst", requests=600, connections=16, stream=True),
        Scenario("wide", requests=6000, connections=64),
    )
}


class Rig:
    """Drives load at targets and keeps count of what it sent."""

    def __init__(self, stub: Target) -> None:
        self._stub = stub
        self.calls: dict[str, int] = {}  # Name of the target → answers that were whole, warming up included.

    def measure(self, target: Target, scenario: Scenario) -> Measured:
        """One run of one scenario, after a warm-up of a tenth of it."""
        fetch(f"{self._stub.origin}/_stub?delay_ms={scenario.delay_ms}")
        self._drive(target, scenario, max(scenario.connections, scenario.requests // 10))
        time.sleep(TRAILING_S)
        before = read_cpu(target.pids)
        report = self._drive(target, scenario, scenario.requests)
        time.sleep(TRAILING_S)
        return Measured(
            report=report,
            cpu_s=read_cpu(target.pids).since_s(before),
            resident_kib=read_memory_kib(target.pids),
            peak_kib=read_memory_kib(target.pids, peak=True),
        )

    def weigh_streams(self, target: Target) -> float:
        """KiB that one open, silent stream adds to the target, of two hundred."""
        for scenario in (SCENARIOS["plain"], SCENARIOS["stream"]):
            fetch(f"{self._stub.origin}/_stub?delay_ms=0")
            self._drive(target, scenario, scenario.connections * 4)
        fetch(f"{self._stub.origin}/_stub?delay_ms={IDLE_DELAY_MS}")
        time.sleep(TRAILING_S)
        before_kib = read_memory_kib(target.pids)
        options = ["-c", str(IDLE_STREAMS), "--hold", str(IDLE_S_MAX), "--limit", str(IDLE_S_MAX)]
        with subprocess.Popen(
            _load_command(target, options), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as holding:
            assert holding.stdout is not None
            report = msgspec.json.decode(holding.stdout.readline(), type=Report)
            time.sleep(TRAILING_S)
            after_kib = read_memory_kib(target.pids)
            assert holding.stdin is not None
            holding.stdin.close()  # It hangs up and ends.
        if report.open != IDLE_STREAMS:
            raise Broken(f"{target.name} opened {report.open} of {IDLE_STREAMS} streams: {report.why}")
        self.calls[target.name] = self.calls.get(target.name, 0) + IDLE_STREAMS
        return (after_kib - before_kib) / IDLE_STREAMS

    def _drive(self, target: Target, scenario: Scenario, requests: int) -> Report:
        options = ["-n", str(requests), "-c", str(scenario.connections), "--limit", str(RUN_S_MAX)]
        command = _load_command(target, [*options, *(["--stream"] if scenario.stream else [])])
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        try:
            report = msgspec.json.decode(done.stdout, type=Report)
        except msgspec.DecodeError as error:
            raise Broken(f"the load generator failed: {done.stderr or done.stdout}") from error
        self.calls[target.name] = self.calls.get(target.name, 0) + report.ok
        return report


def _load_command(target: Target, options: Sequence[str]) -> list[str]:
    url = f"{target.base_url}/chat/completions"
    return [
        sys.executable,
        str(HERE / "load.py"),
        "--url",
        url,
        "--key",
        target.key,
        "--model",
        target.model,
        *options,
    ]


def measure_ledger(rounds: int) -> float:
    """CPU of hold and settle in a process of its own, in microseconds a request: the median, without the callers'."""
    command = [sys.executable, str(HERE / "ledger.py")]
    costs = [
        msgspec.json.decode(subprocess.run(command, capture_output=True, check=True).stdout, type=Cost)
        for _ in range(rounds)
    ]
    return statistics.median(cost.cpu_us - cost.idle_us for cost in costs)


def read_books(target: Target, calls: int) -> Books:
    """What the target's own counters say once every call is settled, or when waiting is over."""
    end_s = time.perf_counter() + BOOKED_S_MAX
    while True:
        counted: dict[str, int] = {}
        for line in fetch(f"{target.origin}/metrics").splitlines():
            name, _, value = line.rpartition(" ")
            if name.startswith("farebox_ledger_"):
                name = name.partition("{")[0].removeprefix("farebox_ledger_").removesuffix("_total")
                counted[name] = counted.get(name, 0) + int(float(value))
        books = Books(
            calls=calls,
            holds=counted.get("holds", 0),
            posts=counted.get("posts", 0),
            batches=counted.get("batches", 0),
            operations=counted.get("batch_operations", 0),
        )
        if books.posts >= calls or time.perf_counter() > end_s:
            return books
        time.sleep(TRAILING_S)


def _visit(rig: Rig, targets: Sequence[Target], scenarios: Sequence[Scenario], rounds: int) -> Rows:
    rows: Rows = {}
    for number in range(rounds):
        for scenario in scenarios:
            for target in targets if number % 2 == 0 else reversed(targets):
                if target.name == TRANSLATED and scenario.name not in TRANSLATED_SCENARIOS:
                    continue
                measured = rig.measure(target, scenario)
                rows.setdefault((scenario.name, target.name), []).append(measured)
                if measured.report.failed:
                    print(f"{target.name} {scenario.name}: {measured.report.why}", file=sys.stderr)
    return rows


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    options = argparse.ArgumentParser(
        prog="bench", description="Measure Farebox beside nginx in the same run."
    )
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--scale", type=float, default=1.0, help="multiplies the number of requests")
    options.add_argument("--scenarios", default=",".join(SCENARIOS), help="some of: %(default)s")
    options.add_argument(
        "--without-farebox", action="store_true", help="measure the rig itself: stub and nginx"
    )
    options.add_argument("--against", action="append", default=[], type=_peer, metavar="NAME=URL,KEY,PID")
    options.add_argument("--stub-port", type=int, help="where --against forwards to; a free port by default")
    options.add_argument("--json", type=Path, help="also write every run to this file")
    given = options.parse_args(arguments)
    if unknown := set(given.scenarios.split(",")) - set(SCENARIOS):
        options.error(f"there is no scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    return given


def _peer(text: str) -> Target:
    name, _, rest = text.partition("=")
    url, key, pid = rest.split(",")
    return Target(name, url.rstrip("/").removesuffix("/chat/completions"), key, (int(pid),))


def measure(given: argparse.Namespace, parts: ExitStack) -> int:
    """Start everything, visit it, print the tables; the exit status."""
    folder = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="farebox-bench-")))
    stub = parts.enter_context(started_stub(folder, given.stub_port))
    targets = [stub]
    nginx = find_nginx()
    if nginx is None:
        print(NO_NGINX, file=sys.stderr)
    else:
        targets.append(parts.enter_context(started_nginx(nginx, folder, stub)))
    farebox = None if given.without_farebox else parts.enter_context(started_farebox(folder, stub))
    targets += [*([farebox] if farebox else []), *given.against]

    rig = Rig(stub)
    stream_kib = {target.name: rig.weigh_streams(target) for target in targets}
    weighed = list(targets)
    if farebox is not None:
        # The same process; its provider speaks another dialect than the caller.
        targets.append(msgspec.structs.replace(farebox, name=TRANSLATED, model=TRANSLATED_MODEL))
    scenarios = [SCENARIOS[name].scaled(given.scale) for name in given.scenarios.split(",")]
    rows = _visit(rig, targets, scenarios, given.rounds)

    for scenario in scenarios:
        print_scenario(scenario.name, str(scenario), [target.name for target in targets], rows)
    print_rest(weighed, stream_kib)
    right = all(not measured.report.failed for runs in rows.values() for measured in runs)
    results: list[Bar] = []
    if farebox is not None:
        books = read_books(farebox, rig.calls[farebox.name] + rig.calls.get(TRANSLATED, 0))
        print_books(books)
        right = right and books.are_right
        results = bars(rows, farebox, stream_kib[farebox.name], measure_ledger(given.rounds))
        print_bars(results)
    if given.json is not None:
        flat = [
            {"scenario": scenario, "target": name, "runs": runs} for (scenario, name), runs in rows.items()
        ]
        given.json.write_bytes(msgspec.json.format(msgspec.json.encode(flat)))
    if nginx is None:
        return 3
    return 0 if right and all(bar.met for bar in results) else 1


def main(arguments: Sequence[str]) -> int:
    """Run the rig; whatever happens, the parts are ended."""
    given = _parse(arguments)
    signal.signal(
        signal.SIGTERM, lambda number, _frame: sys.exit(128 + number)
    )  # So that the blocks below unwind.
    try:
        with ExitStack() as parts:
            return measure(given, parts)
    except Broken as broken:
        print(broken, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
