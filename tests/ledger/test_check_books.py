from __future__ import annotations

from collections.abc import Callable

import pytest

from farebox.ledger.check import ROWS_MAX, RULES, BooksReport
from tests.ledger.ledger_file import LedgerFile
from tests.ledger.story import Teller
from tests.support.stores import Store

Plant = Callable[..., BooksReport]
TRANSFER = "id, account_id, kind, debit, credit, amount, currency, created"
WINDOW = "INSERT INTO budget_windows (key_id, period, starts, account_id, seed, spent, held) VALUES"
# What is planted for each rule, in books of two wallets, a charge `c1` and a hold `c2`; and the row it must name.
PLANTED = {
    "a wallet's balance is the sum of its transfers": (
        "UPDATE wallets SET balance = balance + 1 WHERE account_id = 1",
        "wallet:1",
    ),
    "what a wallet has spent is the sum of its charges": (
        "UPDATE wallets SET spent = spent - 1 WHERE account_id = 1",
        "wallet:1",
    ),
    "what a wallet has held is the sum of its holds": (
        "UPDATE wallets SET held = held + 1 WHERE account_id = 2",
        "wallet:2",
    ),
    "no wallet is below zero": ("UPDATE wallets SET balance = held - 1 WHERE account_id = 1", "wallet:1"),
    "every hold has an owner": ("DELETE FROM owners", "c2"),
    "every hold has a wallet": ("UPDATE holds SET account_id = 99", "c2"),
    "a call is held or settled, never both": ("UPDATE requests SET id = 'c2'", "c2"),
    "every charge is one request's": ("DELETE FROM requests WHERE id = 'c1'", "c1"),
    "no request is charged twice": (
        f"INSERT INTO transfers ({TRANSFER}) SELECT {TRANSFER} FROM transfers WHERE id = 'c1'",
        "c1",
    ),
    "every charged request has its transfer": ("DELETE FROM transfers WHERE id = 'c1'", "c1"),
    "a voided request charges nothing": ("UPDATE requests SET state = 'voided' WHERE id = 'c1'", "c1"),
    "a transfer names its account's wallet on one side": (
        "UPDATE transfers SET debit = 'wallet:2' WHERE id = 'c1'",
        "c1",
    ),
    "every wallet's transfers are in its currency": (
        "UPDATE transfers SET currency = 'USD' WHERE id = 'c1'",
        "c1",
    ),
    "what a budget's window has held is the sum of its holds": (
        f"{WINDOW} (1, 'day', 0, 1, 0, 0, 7)",
        "1 day:0",
    ),
    "what a budget's window has spent is the sum of its calls": (
        f"{WINDOW} (1, 'day', 0, 1, 2, 7, 0)",
        "1 day:0",
    ),
}
FURTHER = [
    ("every charge is one request's", "UPDATE requests SET charge = charge + 1 WHERE id = 'c1'", "c1"),
    ("every charge is one request's", "UPDATE requests SET account_id = 2 WHERE id = 'c1'", "c1"),
    ("every wallet's transfers are in its currency", "DELETE FROM wallets WHERE account_id = 1", "c1"),
    (
        "no wallet is below zero",
        "UPDATE wallets SET balance = -1, held = -1 WHERE account_id = 2",
        "wallet:2",
    ),
    ("a transfer names its account's wallet on one side", "UPDATE transfers SET credit = debit", "c1"),
]


@pytest.fixture
def ledger(store: Store) -> LedgerFile:
    ledger = LedgerFile(store.database)
    Teller(ledger).tell("""
        step              | answer             | free held spent
        top_up a 100      | ok                 |  100    0     0
        top_up b 50       | ok                 |   50    0     0
        hold a c1 60      | held               |   40   60     0
        settle c1 45      | charged 45         |   55    0    45
        hold a c2 10      | held               |   45   10    45""")
    return ledger


@pytest.fixture
def plant(ledger: LedgerFile, store: Store) -> Plant:
    """Break the books behind the ledger's back, past the schema's own checks."""

    def plant(*statements: str) -> BooksReport:
        store.break_in(*statements)
        return ledger.check()

    return plant


def test_books_that_balance_are_counted(ledger: LedgerFile) -> None:
    assert ledger.check() == BooksReport(
        balanced=True, wallets=2, transfers=3, requests=1, holds=1, breaches=()
    )


@pytest.mark.parametrize("rule", RULES)
def test_a_breach_of_the_rule_is_found_and_named(plant: Plant, rule: str) -> None:
    statement, row = PLANTED[rule]
    report = plant(statement)
    assert not report.balanced
    assert row in {breach.row for breach in report.breaches if breach.rule == rule}, report.breaches


@pytest.mark.parametrize(("rule", "statement", "row"), FURTHER)
def test_a_further_breach_is_found_and_named(plant: Plant, rule: str, statement: str, row: str) -> None:
    report = plant(statement)
    assert row in {breach.row for breach in report.breaches if breach.rule == rule}, report.breaches


def test_a_breach_says_what_is_there_and_what_should_be(plant: Plant) -> None:
    report = plant("UPDATE wallets SET balance = 56 WHERE account_id = 1")
    (breach,) = report.breaches
    assert (breach.row, breach.found, breach.expected) == ("wallet:1", "56", "55")


def test_no_rule_names_more_rows_than_one_can_read(plant: Plant) -> None:
    transfer = (
        f"INSERT INTO transfers ({TRANSFER}) VALUES ('%s', 1, 'charge', 'wallet:1', 'revenue', 1, 'INR', 1)"
    )
    report = plant(*(transfer % f"c{number}" for number in range(ROWS_MAX + 5)))
    named = [breach for breach in report.breaches if breach.rule == "every charge is one request's"]
    assert len(named) == ROWS_MAX
