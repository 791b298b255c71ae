"""Checks that were made of the books: when, how long they took, and what they found."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from farebox.core.clock import Clock
from farebox.ledger.check import BooksReport
from farebox.store.database import Database, Transaction

KEPT = 100  # The latest; older ones say nothing that these do not.


class Checked(msgspec.Struct, frozen=True):
    """One check."""

    began_us: int
    took_us: int
    report: BooksReport


def check_and_keep(database: Database, check: Callable[[], BooksReport], clock: Clock) -> Checked:
    """Check the books and write down what was found. It takes as long as the books are large: not for the loop."""
    began_us, began_s = clock.now_us(), clock.monotonic_s()
    report = check()
    checked = Checked(began_us, round((clock.monotonic_s() - began_s) * 1_000_000), report)
    with database.transaction() as work:
        work.run(
            "INSERT INTO book_checks (began, took_us, report) VALUES (?, ?, ?)",
            *(checked.began_us, checked.took_us, msgspec.json.encode(report).decode()),
        )
        work.run("DELETE FROM book_checks WHERE n <= (SELECT MAX(n) FROM book_checks) - ?", KEPT)
    return checked


def last_check(view: Transaction) -> Checked | None:
    """The latest, if there was one."""
    row = view.one("SELECT began, took_us, report FROM book_checks ORDER BY n DESC LIMIT 1")
    if row is None:
        return None
    report = msgspec.json.decode(str(row[2]), type=BooksReport)
    return Checked(int(row[0] or 0), int(row[1] or 0), report)
