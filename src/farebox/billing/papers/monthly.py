"""Monthly statements: what a wallet had when a month began, what moved by kind, model and day, what it had at the end.

All of it is read from the transfers by the time they were booked, which for a charge is when its call ended: a call
that ran over a month's end belongs to the later month. The database adds up, by the quarter of an hour: every zone's
days begin at one, so that a month of any length is some thousand rows here.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from farebox.billing.papers.buyers import Buyer, get_buyer
from farebox.billing.periods import Calendar, Period
from farebox.ledger.rules import TransferKind, wallet_of
from farebox.store.database import Record, Transaction

QUARTER_US = 900_000_000  # Since 1972 every zone is a whole number of them from UTC.
_CHANGE = "CASE WHEN t.credit = ? THEN t.amount ELSE -t.amount END"
_OPENING = (
    "SELECT COALESCE(SUM(CASE WHEN credit = ? THEN amount ELSE -amount END), 0) FROM transfers"
    " WHERE account_id = ? AND created < ?"
)


class Total(msgspec.Struct, frozen=True):
    """What all transfers of one kind came to; `change_nano` is positive when money came in."""

    kind: TransferKind
    count: int
    change_nano: int


class ModelTotal(msgspec.Struct, frozen=True):
    """What the charged calls of one model came to."""

    model: str
    calls: int
    input_tokens: int
    output_tokens: int
    charge_nano: int


class Day(msgspec.Struct, frozen=True):
    """One day: what came in, what was charged, what else moved, and the balance at its end."""

    name: str
    in_nano: int
    calls: int
    charge_nano: int
    out_nano: int
    closing_nano: int


class Loss(msgspec.Struct, frozen=True):
    """Money that was owed and will not come; no part of the balance."""

    id: str
    amount_nano: int
    reason: str | None
    created_us: int


class Statement(msgspec.Struct, frozen=True):
    """A month of one wallet. `complete` is False while it still runs: then it tells how far it came."""

    account_id: int
    account: str
    holder: Buyer
    month: str
    time_zone: str
    start_us: int
    end_us: int
    made_us: int
    complete: bool
    currency: str
    opening_nano: int
    closing_nano: int
    totals: tuple[Total, ...]
    models: tuple[ModelTotal, ...]
    days: tuple[Day, ...]
    losses: tuple[Loss, ...]

    @property
    def lost_nano(self) -> int:
        """The bad debt of the month."""
        return sum(loss.amount_nano for loss in self.losses)


def months_of(view: Transaction, account_id: int, calendar: Calendar, now_us: int) -> list[Period]:
    """The months an account has statements of, newest first: from its first transfer's to this one. Scans."""
    row = view.one("SELECT MIN(created) FROM transfers WHERE account_id = ?", account_id)
    if row is None or row[0] is None:
        return []
    first_us = int(row[0])
    return list(calendar.months(first_us, max(now_us, first_us) + 1))[::-1]


def find_statement(
    view: Transaction, account_id: int, name: str, calendar: Calendar, now_us: int
) -> Statement | None:
    """The statement of a month such as `2026-10`; None where the account has none. Scans: not for the loop's thread."""
    month = calendar.find_month(name)
    if month is None or month not in months_of(view, account_id, calendar, now_us):
        return None
    account = view.one(
        "SELECT a.name, w.currency FROM accounts a JOIN wallets w ON w.account_id = a.id WHERE a.id = ?",
        account_id,
    )
    assert account is not None
    opening = _opening(view, account_id, month.start_us)
    moved = _moved(view, account_id, month.start_us, month.end_us)
    totals = tuple(_totals(moved))
    # Another worker's clock may be ahead of ours over midnight.
    last_us = max([now_us, *(one.quarter * QUARTER_US for one in moved)])
    return Statement(
        account_id=account_id,
        account=str(account[0]),
        holder=get_buyer(view, account_id),
        month=month.name,
        time_zone=calendar.time_zone,
        start_us=month.start_us,
        end_us=month.end_us,
        made_us=now_us,
        complete=now_us >= month.end_us,
        currency=str(account[1]),
        opening_nano=opening,
        closing_nano=opening + sum(total.change_nano for total in totals),
        totals=totals,
        models=_models(view, account_id, month),
        days=tuple(_days(moved, opening, calendar.days(month.start_us, min(month.end_us, last_us + 1)))),
        losses=_losses(view, account_id, month),
    )


def daily(view: Transaction, account_id: int, calendar: Calendar, start_us: int, end_us: int) -> list[Day]:
    """The days of a stretch of time that begins and ends with a day, oldest first. Scans."""
    moved = _moved(view, account_id, start_us, end_us)
    return list(_days(moved, _opening(view, account_id, start_us), calendar.days(start_us, end_us)))


class _Moved(msgspec.Struct, frozen=True):
    """What moved in one quarter of an hour by one kind, one way."""

    quarter: int
    kind: TransferKind
    count: int
    change_nano: int


def _opening(view: Transaction, account_id: int, start_us: int) -> int:
    row = view.one(_OPENING, *(wallet_of(account_id), account_id, start_us))
    return _int((row or (0,))[0])


def _moved(view: Transaction, account_id: int, start_us: int, end_us: int) -> list[_Moved]:
    rows = view.all(
        f"SELECT t.created / {QUARTER_US}, t.kind, t.credit, COUNT(*), SUM({_CHANGE})"  # noqa: S608 -- constants
        " FROM transfers t WHERE t.account_id = ? AND t.created >= ? AND t.created < ?"
        f" GROUP BY t.created / {QUARTER_US}, t.kind, t.credit",
        *(wallet_of(account_id), account_id, start_us, end_us),
    )
    return [
        _Moved(_int(quarter), TransferKind(kind), _int(count), _int(change))
        for quarter, kind, _, count, change in rows
    ]


def _totals(moved: Iterable[_Moved]) -> Iterable[Total]:
    counts = dict.fromkeys(TransferKind, 0)
    changes = dict.fromkeys(TransferKind, 0)
    for one in moved:
        counts[one.kind] += one.count
        changes[one.kind] += one.change_nano
    return (Total(kind, counts[kind], changes[kind]) for kind in TransferKind)


def _models(view: Transaction, account_id: int, month: Period) -> tuple[ModelTotal, ...]:
    rows = view.all(
        "SELECT r.model, COUNT(*), SUM(r.input_tokens), SUM(r.output_tokens), SUM(t.amount)"
        " FROM transfers t JOIN requests r ON r.account_id = t.account_id AND r.id = t.id"
        " WHERE t.account_id = ? AND t.kind = 'charge' AND t.created >= ? AND t.created < ?"
        " GROUP BY r.model ORDER BY SUM(t.amount) DESC, r.model",
        *(account_id, month.start_us, month.end_us),
    )
    return tuple(
        ModelTotal(str(model), _int(calls), _int(tokens_in), _int(tokens_out), _int(charge))
        for model, calls, tokens_in, tokens_out, charge in rows
    )


def _days(moved: Iterable[_Moved], opening_nano: int, days: Iterable[Period]) -> Iterable[Day]:
    waiting = sorted(moved, key=lambda one: one.quarter, reverse=True)
    balance = opening_nano
    for day in days:
        came = charged = calls = went = 0
        while waiting and waiting[-1].quarter * QUARTER_US < day.end_us:
            one = waiting.pop()
            if one.kind is TransferKind.CHARGE:
                charged, calls = charged - one.change_nano, calls + one.count
            else:
                came += max(one.change_nano, 0)
                went += max(-one.change_nano, 0)
        balance += came - charged - went
        yield Day(day.name, came, calls, charged, went, balance)


def _losses(view: Transaction, account_id: int, month: Period) -> tuple[Loss, ...]:
    rows = view.all(
        "SELECT id, amount, reason, created FROM losses"
        " WHERE account_id = ? AND created >= ? AND created < ? ORDER BY created, id",
        *(account_id, month.start_us, month.end_us),
    )
    return tuple(_loss(row) for row in rows)


def _loss(row: Record) -> Loss:
    id_, amount, reason, created = row
    return Loss(str(id_), _int(amount), None if reason is None else str(reason), _int(created))


def _int(value: object) -> int:
    """A whole number of the database; PostgreSQL's sums are decimals."""
    return int(str(value or 0))
