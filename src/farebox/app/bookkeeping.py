"""Bookkeeping: every rule of every part that keeps books, checked as one, at start and every hour."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from itertools import groupby

import msgspec

from farebox.app.duties import Duty
from farebox.app.lease import Lease, keep_lease
from farebox.app.office import Office
from farebox.billing.papers import invoices
from farebox.billing.payments import topups
from farebox.billing.telling.notices import Notice, note
from farebox.ledger.check import RULES, BooksReport, Breach
from farebox.ledger.checks import Checked, check_and_keep
from farebox.ledger.seal import check_sealed_books
from farebox.store.database import Database

log = logging.getLogger("farebox")
EVERY_RULE = {**RULES, **topups.RULES, **invoices.RULES}
CHECK_S = 3600.0
SEALS_CHECKED = 2  # Each hour; the command line and the operator's API go over all of them.
SWEPT_US = 60_000_000  # By then the holds of a dead worker are voided, or nobody does it.
ALONE_US = 60_000_000  # Workers that start together check once.
BREACHES_TOLD = 10


def check_all_books(database: Database, seals: int | None = None) -> BooksReport:
    """Check the ledger, its seals, the top-ups and the invoices; of seals only so many of the last if that is said."""
    return check_sealed_books(database, seals, EVERY_RULE)


def check_now(office: Office, seals: int | None = None) -> Checked:
    """Check the books beside running workers, with so many of the last seals or all, and write down what was found."""

    def check() -> BooksReport:
        report, orphans = check_all_books(office.database, seals), tuple(_orphans(office))
        breaches = (*report.breaches, *orphans)
        return msgspec.structs.replace(report, balanced=not breaches, breaches=breaches)

    return check_and_keep(office.database, check, office.clock)


def _orphans(office: Office) -> Iterator[Breach]:
    """Holds whose owner is dead: some worker would have voided them within seconds."""
    with office.database.read() as view:
        before_us = office.clock.now_us() - SWEPT_US
        holds = view.all("SELECT id, owner FROM holds WHERE created < ? ORDER BY owner", before_us)
    for owner, held in groupby(holds, key=lambda row: str(row[1])):
        if office.lives.is_dead(owner):
            yield from (Breach("every hold has a living owner", str(id_), owner, "nobody") for id_, _ in held)


def bookkeeping_duty(office: Office, owner: str) -> Duty:
    """Check the books at start and every hour; a breach is a line in the log, and the operator is told."""

    def check() -> None:
        if keep_lease(office.database, Lease("check books", owner, ALONE_US), office.clock.now_us()):
            breaches = check_now(office, SEALS_CHECKED).report.breaches
            if breaches:
                _tell(office, breaches)

    return Duty("check books", CHECK_S, check, in_thread=True, at_start=True)


def _tell(office: Office, breaches: tuple[Breach, ...]) -> None:
    for breach in breaches:
        log.error(
            "the books are broken: %s: %s has %s, not %s",
            breach.rule,
            breach.row,
            breach.found,
            breach.expected,
        )
    shown = "\n".join(
        f"{one.rule}: {one.row} has {one.found}, not {one.expected}" for one in breaches[:BREACHES_TOLD]
    )
    named = hashlib.sha256(msgspec.json.encode(breaches)).hexdigest()
    with office.database.transaction() as work:
        note(
            work,
            Notice(
                once=f"books:{named}",
                account_id=None,
                kind="books.broken",
                subject=f"The books are not balanced: {len(breaches)} rows",
                text=f"{shown}\n\nfarebox books check names every row.",
                data={"breaches": str(len(breaches))},
                created_us=office.clock.now_us(),
            ),
        )
