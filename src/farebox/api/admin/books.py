"""The books over HTTP: the last check, a check now, the seals of finished days; and what the shop comes to today."""

from __future__ import annotations

from farebox.api.admin.action import Action, Ask, Done, Page, Post, Said, Words, list_words, reading, writing
from farebox.api.admin.shop import Shop
from farebox.api.admin.words import seconds
from farebox.core.clock import first_ulid
from farebox.core.money import write_nano
from farebox.ledger.checks import Checked, last_check
from farebox.ledger.rules import BAD_DEBT
from farebox.ledger.seal import Seal, list_seals
from farebox.store.database import Transaction

_NEWEST_DAY = "~"  # Beyond any.


def book_actions(shop: Shop) -> list[Action]:
    """The rows of the table."""
    books = _Books(shop)
    return [
        reading("books", Said, books.get),
        writing("POST", "books/check", "books.check", Post, books.check, ahead=shop.check_books),
        reading("books/seals", Page, books.seals),
        reading("overview", Said, books.overview),
    ]


class _Books:
    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    def get(self, ask: Ask, said: Said, view: Transaction) -> Words:
        del ask, said
        return _check_words(last_check(view))

    def check(self, ask: Ask, said: Post, work: Transaction) -> Done:
        del ask, said
        words = _check_words(last_check(work))
        return Done("books", words, after={"balanced": words["balanced"]})

    def seals(self, ask: Ask, said: Page, view: Transaction) -> Words:
        del ask
        found = list_seals(view, said.cursor or _NEWEST_DAY, said.limit + 1)
        shown = found[: said.limit]
        return list_words(
            [_seal_words(seal) for seal in shown], shown[-1].day if len(found) > len(shown) else None
        )

    def overview(self, ask: Ask, said: Said, view: Transaction) -> Words:
        del said
        today = self._shop.calendar.day(ask.now_us)
        accounts = view.one("SELECT COUNT(*) FROM accounts")
        wallets = view.one(
            "SELECT COALESCE(SUM(balance), 0), COALESCE(SUM(held), 0), COALESCE(SUM(spent), 0) FROM wallets"
        )
        lost = view.one(
            "SELECT COALESCE(SUM(CASE WHEN debit = ? THEN amount ELSE -amount END), 0) FROM losses"
            " WHERE debit = ? OR credit = ?",
            *(BAD_DEBT, BAD_DEBT, BAD_DEBT),
        )
        assert wallets is not None
        balance, held, spent = (_int(value) for value in wallets)
        return {
            "object": "overview",
            "currency": self._shop.currency,
            "accounts": _int((accounts or (0,))[0]),
            "balance": write_nano(balance),
            "held": write_nano(held),
            "spent": write_nano(spent),
            "bad_debt": write_nano(_int((lost or (0,))[0])),
            "today": {"day": today.name, "since": seconds(today.start_us)}
            | self._today(view, today.start_us),
        }

    def _today(self, view: Transaction, since_us: int) -> Words:
        """What today's calls come to. An id tells its time, so that only these are read."""
        rows = view.all(
            "SELECT r.cost_currency, COUNT(*), SUM(r.charge), SUM(r.cost), SUM(r.leakage)"
            " FROM wallets w CROSS JOIN requests r WHERE r.account_id = w.account_id AND r.id >= ?"
            " GROUP BY r.cost_currency ORDER BY r.cost_currency",
            first_ulid(since_us),
        )
        return {
            "calls": sum(_int(row[1]) for row in rows),
            "spent": write_nano(sum(_int(row[2]) for row in rows)),
            "cost": {str(row[0]): write_nano(_int(row[3])) for row in rows},
            "leakage": write_nano(sum(_int(row[4]) for row in rows)),
        }


def _check_words(checked: Checked | None) -> Words:
    if checked is None:
        return {"object": "books_check", "balanced": None, "checked": None}
    report = checked.report
    return {
        "object": "books_check",
        "balanced": report.balanced,
        "checked": seconds(checked.began_us),
        "took_ms": checked.took_us // 1000,
        "wallets": report.wallets,
        "transfers": report.transfers,
        "requests": report.requests,
        "holds": report.holds,
        "breaches": [
            {"rule": breach.rule, "row": breach.row, "found": breach.found, "expected": breach.expected}
            for breach in report.breaches
        ],
    }


def _seal_words(seal: Seal) -> Words:
    return {
        "object": "seal",
        "day": seal.day,
        "hash": seal.hash,
        "previous": seal.previous,
        "transfers": seal.transfers,
        "last_seq": seal.last_seq,
        "sealed": seconds(seal.sealed_us),
    }


def _int(value: object) -> int:
    """A whole number of the database; PostgreSQL's sums are decimals."""
    return int(str(value or 0))
