"""`farebox books`: are the books balanced, are they as they were, and do providers count as we do."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec
from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import wrap_file

from farebox.app.bookkeeping import check_all_books
from farebox.app.sealing import seal_finished
from farebox.billing.periods import Calendar
from farebox.billing.reconcile import (
    Amounts,
    Line,
    Reconciliation,
    causes,
    gather,
    read_tolerance,
    reconcile,
)
from farebox.billing.usage_exports import Export, UnreadableError, read_csv, read_json
from farebox.cli.options import DEFAULT_DATA, Config, Data, UsageError, opened
from farebox.cli.table import new_table, print_table
from farebox.cli.times import write_time
from farebox.core.money import write_nano
from farebox.ledger.owners import sweep_dead
from farebox.ledger.seal import Seal, list_seals

BAR_BYTES = 5_000_000
JSON_BYTES_MAX = 256_000_000  # A report is read whole, unlike a CSV.
LINES_SHOWN = 50
_PPM_DIGITS = 4

app = App(name="books", help="Check the ledger, list its seals, compare it with a provider's count.")
Json = Annotated[bool, Parameter(negative="", help="The report as JSON.")]


@app.command
def check(*, json: Json = False, data: Data = DEFAULT_DATA, config: Config = None) -> int:
    """Check every invariant of the ledger. Exit 0: balanced; 1: not, and the rows are named; 2: could not check."""
    with opened(data, config, make=False) as office:
        # A dead owner's holds are no breach, they only wait for the next worker: void them as it would.
        sweep_dead(office.database, office.lives, living=None)
        report = check_all_books(office.database)
    if json:
        print(msgspec.json.encode(report).decode())
    else:
        for breach in report.breaches:
            print(f"{breach.rule}: {breach.row} has {breach.found}, not {breach.expected}")
        state = "balanced" if report.balanced else "NOT balanced"
        print(
            f"The books are {state}: {report.wallets} wallets, {report.transfers} transfers,"
            f" {report.requests} requests, {report.holds} holds."
        )
    return 0 if report.balanced else 1


@app.command
def seals(
    *,
    json: Annotated[bool, Parameter(negative="", help="One JSON object a line.")] = False,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """List the seals of finished days; those that are missing are made first. Keep the last hash elsewhere."""
    with opened(data, config, make=False) as office:
        seal_finished(office.database, Calendar(office.settings.wallet.time_zone), office.clock.now_us())
        with office.database.read() as view:
            found = list_seals(view)[::-1]
    if json:
        for seal in found:
            print(msgspec.json.encode(_wire_seal(seal)).decode())
        return
    table = new_table("day", "transfers", "losses", "hash")
    for seal in found:
        table.add_row(seal.day, str(seal.transfers), str(seal.losses), seal.hash)
    print_table(table)


@app.command(name="reconcile")
def reconcile_export(
    file: Annotated[Path, Parameter(help="A provider's export of usage or costs, as CSV or JSON.")],
    /,
    *,
    provider: Annotated[
        tuple[str, ...],
        Parameter(help="The provider's name here; may be repeated. As the format says unless given."),
    ] = (),
    tolerance: Annotated[str, Parameter(help="How far counts may be apart.")] = "0.5%",
    json: Json = False,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> int:
    """Compare a provider's count with ours, by UTC day and model. Exit 0: within tolerance; 1: drift; 2: unreadable."""
    try:
        tolerance_ppm = read_tolerance(tolerance)
    except ValueError as problem:
        raise UsageError(str(problem)) from None
    try:
        with opened(data, config, make=False) as office, _read(file) as export:
            theirs = gather(export.entries)
            with office.database.read() as view:
                report = reconcile(
                    view,
                    theirs,
                    name=export.name,
                    providers=provider or export.providers,
                    tolerance_ppm=tolerance_ppm,
                )
    except UnreadableError as problem:
        raise UsageError(f"{file}: {problem}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{file} is no text in UTF-8") from None
    if json:
        print(msgspec.json.encode(_wire(report)).decode())
    else:
        _print(report)
    return 0 if report.agreed else 1


@contextmanager
def _read(file: Path) -> Iterator[Export]:
    """An export as the file's first letter has it, with a bar on a terminal for one that takes a while."""
    size = file.stat().st_size
    with file.open("rb") as raw, _barred(raw, size) as source:
        if raw.peek(64).lstrip(b"\xef\xbb\xbf \r\n\t")[:1] in {b"{", b"["}:
            if size > JSON_BYTES_MAX:
                raise UnreadableError(f"it has more than {JSON_BYTES_MAX} bytes; export fewer days at once")
            yield read_json(source.read().removeprefix(b"\xef\xbb\xbf"))
        else:
            yield read_csv(io.TextIOWrapper(source, "utf-8-sig", newline=""))


@contextmanager
def _barred(raw: BinaryIO, size: int) -> Iterator[BinaryIO]:
    if size <= BAR_BYTES or not sys.stderr.isatty():
        yield raw
        return
    with wrap_file(raw, size, description="Reading", console=Console(stderr=True), transient=True) as source:
        yield source


def _print(report: Reconciliation) -> None:
    table = new_table("day", "model", "in theirs/ours", "out theirs/ours", "cost theirs/ours", "drift", "")
    shown = [line for line in report.lines if line.drift_ppm][:LINES_SHOWN]
    for line in shown:
        counted = line.theirs.input_tokens is not None
        table.add_row(
            *(line.day, line.model),
            f"{line.theirs.input_tokens}/{line.ours.input_tokens}" if counted else "-",
            f"{line.theirs.output_tokens}/{line.ours.output_tokens}" if counted else "-",
            f"{_money(line.theirs)}/{_money(line.ours)}" if line.theirs.cost_nano is not None else "-",
            _percent(line.drift_ppm),
            "" if line.within else "; ".join(causes(line)) or "no cause is known",
        )
    if shown:
        print_table(table)
    off = sum(not line.within for line in report.lines)
    names = ", ".join(report.providers) or "all providers"
    print(
        f"{report.format} of {names}, {report.first_day} to {report.last_day}: {len(report.lines)} days and models,"
        f" {off} beyond {_percent(report.tolerance_ppm)}."
    )
    if report.lost:
        print(
            f"{report.lost} calls died with their worker; what they used at the provider is not known here."
        )


def _money(amounts: Amounts) -> str:
    return (
        "?"
        if amounts.cost_nano is None
        else f"{write_nano(amounts.cost_nano)} {amounts.currency or ''}".strip()
    )


def _percent(ppm: int) -> str:
    whole, rest = divmod(ppm, 10_000)
    return f"{whole}.{rest:0{_PPM_DIGITS}d}".rstrip("0").rstrip(".") + " %"


def _wire(report: Reconciliation) -> dict[str, object]:
    return {
        **{name: getattr(report, name) for name in report.__struct_fields__ if name != "lines"},
        "lines": [_wire_line(line) for line in report.lines],
    }


def _wire_line(line: Line) -> dict[str, object]:
    return {
        "day": line.day,
        "model": line.model,
        "theirs": _wire_side(line.theirs),
        "ours": _wire_side(line.ours),
        "drift_ppm": line.drift_ppm,
        "within": line.within,
        "doubts": line.doubts,
        "causes": [] if line.within else causes(line),
    }


def _wire_side(side: Amounts) -> dict[str, object]:
    return {
        "input_tokens": side.input_tokens,
        "output_tokens": side.output_tokens,
        "cost": None if side.cost_nano is None else write_nano(side.cost_nano),
        "currency": side.currency,
    }


def _wire_seal(seal: Seal) -> dict[str, object]:
    return {
        "day": seal.day,
        "transfers": seal.transfers,
        "losses": seal.losses,
        "hash": seal.hash,
        "previous": seal.previous,
        "made": write_time(seal.sealed_us),
    }
