"""`farebox books`: are the books balanced."""

from __future__ import annotations

from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from farebox.cli.options import DEFAULT_DATA, Config, Data, opened
from farebox.ledger.check import check_books
from farebox.ledger.owners import sweep_dead

app = App(name="books", help="Check the ledger.")


@app.command
def check(
    *,
    json: Annotated[bool, Parameter(negative="", help="The report as JSON.")] = False,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> int:
    """Check every invariant of the ledger. Exit 0: balanced; 1: not, and the rows are named; 2: could not check."""
    with opened(data, config, make=False) as office:
        # A dead owner's holds are no breach, they only wait for the next worker: void them as it would.
        sweep_dead(office.database, office.owners_folder, living=None)
        report = check_books(office.database)
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
