"""Re-pricing: what a past call comes to by another price than it was charged by, and giving back what was too much.

A call keeps its usage and the versions it used, so its charge can be made again from any version: its own gives what
it was charged, exactly. "As of" a moment means the version that its customer's scope had in force then. A wrong price
is corrected by one further transfer for each account, never by changing what was; and no call is corrected twice,
since the corrections of one model may not overlap.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import msgspec

from farebox.billing.prices.book import find_price
from farebox.billing.prices.pricelist import read_versions
from farebox.billing.prices.pricing import Line, charge_nano, receipt_lines
from farebox.core.clock import first_ulid
from farebox.core.rates import Rates
from farebox.core.usage import Usage
from farebox.ledger.books import RequestRow
from farebox.ledger.moves import Booked, Move, move
from farebox.ledger.rules import REVENUE, TransferKind
from farebox.store.database import Database, Transaction


class Repriced(msgspec.Struct, frozen=True):
    """What a call comes to by a version: the whole amount due, whatever the wallet could pay then."""

    charge_nano: int
    lines: tuple[Line, ...]
    version: str
    currency: str


class Overcharge(msgspec.Struct, frozen=True):
    """What an account paid for a model's calls, and what it should have."""

    account_id: int
    requests: int
    charged_nano: int
    due_nano: int

    @property
    def back_nano(self) -> int:
        """What it gets back; nothing where it paid too little, for nobody is charged afterwards."""
        return max(self.charged_nano - self.due_nano, 0)


class Wrong(msgspec.Struct, frozen=True):
    """Which calls were charged by a wrong price, and what the right one is: as of a moment, or a version by name."""

    model: str
    since_us: int
    until_us: int
    as_of_us: int | None = None
    version: str | None = None

    @property
    def id(self) -> str:
        """The same question has the same name, and so its transfers the same ids."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]


class Corrected(msgspec.Struct, frozen=True):
    """What was given back. `new` counts the transfers that were not there before."""

    given_nano: int
    new: int


class Overlaps(msgspec.Struct, frozen=True):
    """Nothing was moved: calls of this time were corrected already, by the correction of this id."""

    id: str


def repriced(
    view: Transaction, row: RequestRow, *, as_of_us: int | None = None, version: str | None = None
) -> Repriced | None:
    """A call by the price of a moment or by a version, else by its own; None where there is no such version."""
    if version is None and as_of_us is not None:
        account = view.one("SELECT plan FROM accounts WHERE id = ?", row.account_id)
        plan = "" if account is None else str(account[0])
        version = _as_of(view, row.model, plan, row.price_version, as_of_us)
    elif version is None:
        version = row.price_version
    rates = read_versions(view, [version]).get(version)
    if rates is None:
        return None
    usage = msgspec.json.decode(row.usage, type=Usage)
    if row.state != _POSTED:  # Nothing was delivered: no price makes that cost anything.
        return Repriced(0, (), version, rates.currency)
    return Repriced(charge_nano(usage, rates), receipt_lines(usage, rates), version, rates.currency)


def overcharges(database: Database, wrong: Wrong) -> list[Overcharge]:
    """What each account that used the model in that time was charged and should have been; belongs in a thread.

    ValueError where no right price can be found.
    """
    with database.read() as view:
        right = _Right(view, wrong)
        accounts = [
            (int(id_ or 0), str(plan)) for id_, plan in view.all("SELECT id, plan FROM accounts ORDER BY id")
        ]
        found = [_overcharge(database, right, account, wrong) for account in accounts]
    return [one for one in found if one is not None]


def correct(
    work: Transaction, wrong: Wrong, found: list[Overcharge], *, currency: str, reason: str, now_us: int
) -> Corrected | Overlaps:
    """Give back what was too much, one transfer an account. Doing it again moves nothing."""
    other = work.one(
        "SELECT id FROM price_corrections WHERE model = ? AND since < ? AND until > ? AND id <> ?",
        *(wrong.model, wrong.until_us, wrong.since_us, wrong.id),
    )
    if other is not None:
        return Overlaps(str(other[0]))
    work.run(
        "INSERT INTO price_corrections (id, model, since, until, rule, created) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO NOTHING",
        *(wrong.id, wrong.model, wrong.since_us, wrong.until_us, msgspec.json.encode(wrong).decode(), now_us),
    )
    given = new = 0
    for one in found:
        if one.back_nano:
            booked = move(work, _transfer(wrong, one, currency, reason, now_us))
            if not isinstance(booked, Booked):
                raise ValueError(f"account {one.account_id} could not be given its correction: {booked}")
            given += one.back_nano
            new += booked.new
    return Corrected(given, new)


def _transfer(wrong: Wrong, one: Overcharge, currency: str, reason: str, now_us: int) -> Move:
    return Move(
        id=f"price:{wrong.id}:{one.account_id}",
        account_id=one.account_id,
        kind=TransferKind.CORRECTION,
        change_nano=one.back_nano,
        currency=currency,
        reason=reason,
        created_us=now_us,
        other=REVENUE,  # It was never earned.
    )


class _Right:
    """The right rates, found once for each plan and each version that calls were charged by."""

    def __init__(self, view: Transaction, wrong: Wrong) -> None:
        self._view = view
        self._wrong = wrong
        self._known: dict[tuple[str, str], Rates] = {}

    def rates(self, plan: str, charged_by: str) -> Rates:
        """What a call of an account on a plan should have been charged by. ValueError where there is no such price."""
        known = self._known.get((plan, charged_by))
        if known is None:
            known = self._known[plan, charged_by] = self._found(plan, charged_by)
        return known

    def _found(self, plan: str, charged_by: str) -> Rates:
        wrong = self._wrong
        version = wrong.version or _as_of(self._view, wrong.model, plan, charged_by, wrong.as_of_us)
        rates = read_versions(self._view, [version]).get(version)
        if rates is None:
            raise ValueError(f"there is no price of {wrong.model} as of then, nor a version of that name")
        return rates


def _as_of(view: Transaction, model: str, plan: str, charged_by: str, as_of_us: int | None) -> str:
    """The version that was in force at a moment in the scope of a call, which the version it was charged by tells.

    An account may have changed its plan since; where several scopes had that price, its own is the first choice.
    """
    assert as_of_us is not None
    rows = view.all(
        "SELECT DISTINCT scope FROM price_periods WHERE kind = 'price' AND model = ? AND version = ?",
        *(model, charged_by),
    )
    scopes = {str(row[0]) for row in rows}
    first_choice = (scope for scope in (plan, "", *sorted(scopes)) if scope in scopes)
    return find_price(view, model, next(first_choice, plan), as_of_us) or ""


def _overcharge(
    database: Database, right: _Right, account: tuple[int, str], wrong: Wrong
) -> Overcharge | None:
    account_id, plan = account
    charged = due = count = 0
    for usage, paid, leakage, charged_by in _calls(database, account_id, wrong):
        count += 1
        asked = charge_nano(msgspec.json.decode(usage, type=Usage), right.rates(plan, charged_by))
        charged += paid
        # A wallet that could not pay the wrong price in full would have paid no more by a higher one.
        due += min(asked, paid) if leakage else asked
    return Overcharge(account_id, count, charged, due) if count else None


def _calls(database: Database, account_id: int, wrong: Wrong) -> Iterator[tuple[str, int, int, str]]:
    rows = database.rows(
        "SELECT usage, charge, leakage, price_version FROM requests WHERE account_id = ? AND id >= ? AND id < ?"
        " AND model = ? AND state = 'posted' AND created >= ? AND created < ?",
        # A call's id is made a moment before or after its time is taken.
        *(account_id, first_ulid(max(wrong.since_us - _SLACK_US, 0)), first_ulid(wrong.until_us + _SLACK_US)),
        *(wrong.model, wrong.since_us, wrong.until_us),
    )
    for usage, paid, leakage, charged_by in rows:
        yield str(usage), int(paid or 0), int(leakage or 0), str(charged_by)


_SLACK_US = 60_000_000
_POSTED = "posted"
