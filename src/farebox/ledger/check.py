"""check_books: the invariants of the ledger, each one SQL query whose rows are the breaches.

The same function runs in tests, at start, on a timer, in the command line and for the administrator.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from farebox.ledger import budgets
from farebox.store.database import Database

ROWS_MAX = 100  # Named per rule; a broken book is fixed from its first rows.

# `GROUP BY +account_id` keeps SQLite from going through the index of accounts, row by row in no order of the table: a
# third of the time at a million calls.
RULES: dict[str, str] = {
    "a wallet's balance is the sum of its transfers": """
        SELECT 'wallet:' || w.account_id, w.balance, COALESCE(t.total, 0) FROM wallets w LEFT JOIN (
          SELECT +account_id AS account_id,
            SUM(CASE WHEN credit = 'wallet:' || account_id THEN amount ELSE -amount END) AS total
          FROM transfers GROUP BY +account_id) t ON t.account_id = w.account_id
        WHERE w.balance <> COALESCE(t.total, 0)""",
    "what a wallet has spent is the sum of its charges": """
        SELECT 'wallet:' || w.account_id, w.spent, COALESCE(t.total, 0) FROM wallets w LEFT JOIN (
          SELECT +account_id AS account_id, SUM(amount) AS total FROM transfers WHERE kind = 'charge'
          GROUP BY +account_id
        ) t ON t.account_id = w.account_id WHERE w.spent <> COALESCE(t.total, 0)""",
    "what a wallet has held is the sum of its holds": """
        SELECT 'wallet:' || w.account_id, w.held, COALESCE(h.total, 0) FROM wallets w LEFT JOIN (
          SELECT account_id, SUM(amount) AS total FROM holds GROUP BY account_id) h ON h.account_id = w.account_id
        WHERE w.held <> COALESCE(h.total, 0)""",
    "no wallet is below zero": """
        SELECT 'wallet:' || account_id, balance, held FROM wallets WHERE balance < 0 OR held < 0 OR balance < held""",
    "every hold has an owner": """
        SELECT h.id, h.owner, h.amount FROM holds h LEFT JOIN owners o ON o.id = h.owner WHERE o.id IS NULL""",
    "every hold has a wallet": """
        SELECT h.id, h.account_id, h.amount FROM holds h LEFT JOIN wallets w ON w.account_id = h.account_id
        WHERE w.account_id IS NULL""",
    "a call is held or settled, never both": """
        SELECT h.id, r.state, h.amount FROM holds h JOIN requests r
        ON r.id = h.id AND r.account_id = h.account_id""",
    "every charge is one request's": """
        SELECT t.id, t.amount, r.charge FROM transfers t LEFT JOIN requests r
        ON r.id = t.id AND r.account_id = t.account_id
        WHERE t.kind = 'charge' AND (r.id IS NULL OR r.charge <> t.amount OR r.account_id <> t.account_id)""",
    "no request is charged twice": """
        SELECT id, COUNT(*), 1 FROM transfers WHERE kind = 'charge' GROUP BY id HAVING COUNT(*) > 1""",
    "every charged request has its transfer": """
        SELECT r.id, r.charge, t.amount FROM requests r LEFT JOIN transfers t ON t.id = r.id AND t.kind = 'charge'
        WHERE r.charge > 0 AND t.id IS NULL""",
    "a voided request charges nothing": """
        SELECT id, state, charge FROM requests WHERE state = 'voided' AND charge <> 0""",
    "a transfer names its account's wallet on one side": """
        SELECT id, debit, credit FROM transfers
        WHERE (debit = 'wallet:' || account_id) = (credit = 'wallet:' || account_id)""",
    "every wallet's transfers are in its currency": """
        SELECT t.id, t.currency, w.currency FROM transfers t LEFT JOIN wallets w ON w.account_id = t.account_id
        WHERE w.currency IS NULL OR t.currency <> w.currency""",
    **budgets.RULES,
}


class Breach(msgspec.Struct, frozen=True):
    """One row that breaks one rule: what it is, what is there, what should be."""

    rule: str
    row: str
    found: str
    expected: str


class BooksReport(msgspec.Struct, frozen=True):
    """What a check saw."""

    balanced: bool
    wallets: int
    transfers: int
    requests: int
    holds: int
    breaches: tuple[Breach, ...]


def check_books(database: Database, rules: Mapping[str, str] = RULES) -> BooksReport:
    """Check every rule on one consistent view of the books; `rules` may have those of other parts as well."""
    with database.read() as view:
        counts = [
            int((view.one(f"SELECT COUNT(*) FROM {table}") or (0,))[0] or 0)  # noqa: S608 -- the four names below
            for table in ("wallets", "transfers", "requests", "holds")
        ]
        breaches = tuple(
            Breach(rule, str(row[0]), str(row[1]), str(row[2]))
            for rule, sql in rules.items()
            for row in view.all(f"{sql} LIMIT {ROWS_MAX}")
        )
    return BooksReport(not breaches, counts[0], counts[1], counts[2], counts[3], breaches)
