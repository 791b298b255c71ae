"""What a measurement says: medians and ratios by scenario, memory at rest, the ledger's own count, and the bars."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import msgspec

from bench.load import Report
from bench.parts import Target

PLAIN_RATIO_MAX = 8.0  # Six is the aim.
STREAM_RATIO_MAX = 2.5
ADDED_MS_MAX = 0.5
READY_S_MAX = 1.0
IDLE_MIB_MAX = 60.0
STREAM_KIB_MAX = 30.0
LEDGER_US_MAX = 40.0
TRANSLATED = "translated"  # Farebox once more, before a provider of another dialect than the caller's.
TRANSLATED_EVENT_US_MAX = 3.0
TRANSLATED_REQUEST_US_MAX = 60.0
COLUMNS = (
    "CPU µs/req",
    "(min-max)",
    "x nginx",
    "µs/event",
    "req/s",
    "p50 ms",
    "p99 ms",
    "first ms",
    "MiB",
    "peak",
    "failed",
)
WIDTHS = (11, 15, 8, 9, 8, 8, 8, 9, 7, 7, 7)


class Measured(msgspec.Struct, frozen=True):
    """One run of one scenario against one target."""

    report: Report
    cpu_s: float  # Of the target's whole tree of processes.
    resident_kib: int
    peak_kib: int

    @property
    def cpu_us(self) -> float:
        """CPU of one request."""
        return self.cpu_s / max(self.report.ok, 1) * 1e6

    @property
    def event_us(self) -> float:
        """CPU of one event of a stream."""
        return self.cpu_s / self.report.events * 1e6 if self.report.events else 0


Rows = dict[tuple[str, str], list[Measured]]  # (scenario, target) → its runs, in the order of the rounds.


class Books(msgspec.Struct, frozen=True):
    """The ledger's own count of what it did, beside the calls that were made."""

    calls: int
    holds: int
    posts: int
    batches: int
    operations: int

    @property
    def are_right(self) -> bool:
        """Whether each call was held and posted exactly once."""
        return self.calls == self.holds == self.posts


class Bar(msgspec.Struct, frozen=True):
    """A figure that must not be exceeded; `value` is None where nothing was measured."""

    name: str
    most: float
    value: float | None

    @property
    def met(self) -> bool:
        """Whether the bar holds, or there is nothing to hold it against."""
        return self.value is None or self.value <= self.most


def median(runs: Sequence[Measured], figure: Callable[[Measured], float]) -> float:
    """The median of one figure over the rounds."""
    return statistics.median(map(figure, runs))


def ratio(rows: Rows, scenario: str, name: str, other: str = "nginx") -> float | None:
    """Median over the rounds of CPU beside the other's in the same round; None where either was not measured."""
    runs, others = rows.get((scenario, name)), rows.get((scenario, other))
    if not runs or not others:
        return None
    return statistics.median(run.cpu_us / one.cpu_us for run, one in zip(runs, others, strict=True))


def bars(rows: Rows, farebox: Target, stream_kib: float, ledger_us: float) -> list[Bar]:
    """The promises about speed and size."""
    direct, through = rows.get(("one", "direct")), rows.get(("one", farebox.name))
    added_ms = None
    if direct and through:
        added_ms = median(through, lambda run: run.report.p50_ms) - median(
            direct, lambda run: run.report.p50_ms
        )
    return [
        Bar("CPU of a plain request, x nginx", PLAIN_RATIO_MAX, ratio(rows, "plain", farebox.name)),
        Bar("CPU of a 100-event stream, x nginx", STREAM_RATIO_MAX, ratio(rows, "stream", farebox.name)),
        Bar("added median at one connection, ms", ADDED_MS_MAX, added_ms),
        Bar("CPU of hold and settle, 16 callers, µs", LEDGER_US_MAX, ledger_us),
        Bar(
            "added by translation to a request, µs",
            TRANSLATED_REQUEST_US_MAX,
            _added(rows, "plain", _request_us),
        ),
        Bar(
            "added by translation to an event, µs", TRANSLATED_EVENT_US_MAX, _added(rows, "burst", _event_us)
        ),
        Bar("ready after, s", READY_S_MAX, farebox.ready_s),
        Bar("resident when idle, MiB", IDLE_MIB_MAX, farebox.idle_kib / 1024),
        Bar("an idle stream, KiB", STREAM_KIB_MAX, stream_kib),
    ]


def _added(rows: Rows, scenario: str, figure: Callable[[Measured], float]) -> float | None:
    """What translation adds to the relay of the same round, by the median over the rounds."""
    relayed, translated = rows.get((scenario, "farebox")), rows.get((scenario, TRANSLATED))
    if not relayed or not translated:
        return None
    return statistics.median(figure(run) - figure(one) for run, one in zip(translated, relayed, strict=True))


def _request_us(run: Measured) -> float:
    return run.cpu_us


def _event_us(run: Measured) -> float:
    return run.event_us


def print_scenario(name: str, what: str, targets: Sequence[str], rows: Rows) -> None:
    """One table: a line a target."""
    print(f"\n{name}: {what}")
    print(f"{'':16}" + "".join(f"{title:>{width}}" for title, width in zip(COLUMNS, WIDTHS, strict=True)))
    for target in targets:
        runs = rows.get((name, target))
        if not runs:
            continue
        cpu = sorted(run.cpu_us for run in runs)
        times = ratio(rows, name, target)
        cells = (
            f"{statistics.median(cpu):.1f}",
            f"{cpu[0]:.0f}-{cpu[-1]:.0f}",
            "" if times is None else f"{times:.2f}",
            f"{median(runs, lambda run: run.event_us):.2f}" if runs[0].report.events else "",
            f"{median(runs, lambda run: run.report.rps):.0f}",
            f"{median(runs, lambda run: run.report.p50_ms):.3f}",
            f"{median(runs, lambda run: run.report.p99_ms):.3f}",
            f"{median(runs, lambda run: run.report.first_p50_ms):.3f}",
            f"{runs[-1].resident_kib / 1024:.1f}",
            f"{runs[-1].peak_kib / 1024:.1f}",
            f"{sum(run.report.failed for run in runs)}",
        )
        print(f"{target:16}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, WIDTHS, strict=True)))


def print_rest(targets: Sequence[Target], stream_kib: dict[str, float]) -> None:
    """What the targets are like when nothing happens."""
    print(f"\nat rest\n{'':16}{'ready s':>9}{'idle MiB':>10}{'KiB/stream':>12}")
    for target in targets:
        ready = f"{target.ready_s:.3f}" if target.ready_s else ""  # A peer was started by somebody else.
        idle = f"{target.idle_kib / 1024:.1f}" if target.idle_kib else ""
        print(f"{target.name:16}{ready:>9}{idle:>10}{stream_kib[target.name]:>12.1f}")


def print_books(books: Books) -> None:
    """Whether the ledger did exactly what was asked."""
    verdict = "exact" if books.are_right else "WRONG: each call must be held once and posted once"
    mean = books.operations / max(books.batches, 1)
    print(f"\nledger: {books.calls} calls, {books.holds} holds, {books.posts} posts: {verdict}")
    print(f"        {books.batches} batches of {mean:.1f} operations on average")


def print_bars(results: Sequence[Bar]) -> None:
    """The promises, and whether they hold."""
    print(f"\nbars\n{'':40}{'measured':>10}{'at most':>10}")
    for bar in results:
        value = "-" if bar.value is None else f"{bar.value:.2f}"
        verdict = "not measured" if bar.value is None else "met" if bar.met else "MISSED"
        print(f"{bar.name:40}{value:>10}{bar.most:>10.2f}  {verdict}")
