"""Telling customers of dearer prices before they take effect: each account once, in one notice for all of its models.

What is to come stands in the price book. Accounts are gone through in order, a batch a turn; how far is a row that
moves on in the transaction of the notices, so that workers share the work and nobody is told twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import msgspec

from farebox.billing.prices.book import Period, find_price, in_force, list_coming
from farebox.billing.prices.pricelist import read_versions
from farebox.billing.prices.scheduling import DAY_US, is_dearer
from farebox.billing.prices.tariff import write_moment
from farebox.billing.telling.notices import Notice, note
from farebox.core.clock import first_ulid
from farebox.core.money import write_nano
from farebox.core.rates import EACH_RATES, TOKEN_RATES, Rates
from farebox.store.database import Database, Transaction

ACCOUNTS_A_TURN = 100  # Each needs a walk over a month of its calls.
USED_US = 30 * DAY_US
MODELS_TOLD = 40  # In one notice; the rest are on the list of models.
KIND = "price_change"


class Rise(msgspec.Struct, frozen=True):
    """A model that becomes dearer for the customers of one scope."""

    model: str
    before: Rates
    after: Rates


class Moment(msgspec.Struct, frozen=True):
    """All that becomes dearer at one time; by scope, a plan's name or nothing, of which all are there."""

    starts_us: int
    by_scope: Mapping[str, tuple[Rise, ...]]

    @property
    def id(self) -> str:
        """Named by what it says: if more is added to it later, accounts are gone through anew."""
        return _digest(self.starts_us, *sorted(self.by_scope.items()))


class Batch(msgspec.Struct, frozen=True):
    """Accounts that were gone through, and what those among them are to be told who use what becomes dearer."""

    after: int
    last: int
    notices: tuple[Notice, ...]


def announce_prices(database: Database, now_us: int) -> int:
    """Tell the next batch of accounts of each moment to come; the number of notices written. Belongs in a thread."""
    with database.read() as view:
        moments = [(moment, _told_to(view, moment)) for moment in _moments(view, now_us)]
        batches = [
            (moment, _batch(view, moment, told_to, now_us))
            for moment, told_to in moments
            if told_to is not None
        ]
    written = 0
    for moment, batch in batches:
        with database.transaction() as work:
            if _moved(work, moment, batch, now_us):
                written += sum(note(work, notice) for notice in batch.notices)
    return written


def _moments(view: Transaction, now_us: int) -> Iterator[Moment]:
    by_start: dict[int, list[Period]] = {}
    for period in list_coming(view, now_us):
        by_start.setdefault(period.starts_us, []).append(period)
    # A plan with prices of its own is told of those alone, and of nothing where they stay as they are.
    scopes = {key.scope for key in in_force(view, now_us)} if by_start else set()
    for starts_us, periods in by_start.items():
        rises: dict[str, list[Rise]] = {scope: [] for scope in scopes}
        for period in periods:
            rise = _rise(view, period)
            if rise is not None:
                rises.setdefault(period.key.scope, []).append(rise)
        if any(rises.values()):
            yield Moment(starts_us, {scope: tuple(found) for scope, found in rises.items()})


def _rise(view: Transaction, period: Period) -> Rise | None:
    old = find_price(view, period.key.model, period.key.scope, period.starts_us - 1)
    if old is None or not period.version:
        return None
    rates = read_versions(view, (old, period.version))
    before, after = rates.get(old), rates.get(period.version)
    if before is None or after is None or not is_dearer(before, after):
        return None
    return Rise(period.key.model, before, after)


def _told_to(view: Transaction, moment: Moment) -> int | None:
    """The last account that was gone through for a moment, 0 before the first; None when it is done."""
    row = view.one("SELECT told_to, done FROM price_announcements WHERE id = ?", moment.id)
    if row is None:
        return 0
    return int(row[0] or 0) if row[1] is None else None


def _batch(view: Transaction, moment: Moment, after: int, now_us: int) -> Batch:
    accounts = view.all(
        "SELECT id, plan, status FROM accounts WHERE id > ? ORDER BY id LIMIT ?", after, ACCOUNTS_A_TURN
    )
    notices = []
    for id_, plan, status in accounts:
        if status != "active":
            continue
        rises = moment.by_scope.get(str(plan), moment.by_scope.get("", ()))
        used = _used(view, int(id_ or 0), now_us)
        theirs = [rise for rise in rises if rise.model in used]
        if theirs:
            notices.append(_notice(moment, int(id_ or 0), theirs, now_us))
    return Batch(after, int(accounts[-1][0] or 0) if accounts else after, tuple(notices))


def _used(view: Transaction, account_id: int, now_us: int) -> set[str]:
    rows = view.all(
        "SELECT DISTINCT model FROM requests WHERE account_id = ? AND id >= ?",
        *(account_id, first_ulid(now_us - USED_US)),
    )
    return {str(row[0]) for row in rows}


def _moved(work: Transaction, moment: Moment, batch: Batch, now_us: int) -> bool:
    """Move on by a batch, unless another worker did; the last batch, which is empty, ends it."""
    done = now_us if batch.last == batch.after else None
    work.run(
        "INSERT INTO price_announcements (id, starts, told_to) VALUES (?, ?, 0) ON CONFLICT (id) DO NOTHING",
        *(moment.id, moment.starts_us),
    )
    return bool(
        work.run(
            "UPDATE price_announcements SET told_to = ?, done = ? WHERE id = ? AND told_to = ? AND done IS NULL",
            *(batch.last, done, moment.id, batch.after),
        )
    )


def _notice(moment: Moment, account_id: int, rises: list[Rise], now_us: int) -> Notice:
    at = write_moment(moment.starts_us)
    lines = [f"{rise.model}: {'; '.join(_told(rise.before, rise.after))}" for rise in rises[:MODELS_TOLD]]
    if len(rises) > MODELS_TOLD:
        lines.append(f"and {len(rises) - MODELS_TOLD} more: see the list of models")
    models = rises[0].model if len(rises) == 1 else f"{len(rises)} models you use"
    text = (
        f"From {at} on the prices below are higher. Calls made before are charged at the prices of now.\n\n"
        + "\n".join(lines)
        + f"\n\nPrices of tokens are in {rises[0].after.currency} per million."
    )
    return Notice(
        once=f"prices:{account_id}:{_digest(moment.starts_us, *rises)}",
        account_id=account_id,
        kind=KIND,
        subject=f"The price of {models} changes on {at[:10]}",
        text=text,
        data={"from": at, "models": ",".join(rise.model for rise in rises[:MODELS_TOLD])},
        created_us=now_us,
    )


def _digest(*said: object) -> str:
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()[:16]


def _told(before: Rates, after: Rates) -> Iterator[str]:
    """Each rate that changes, as "input 15 → 16"; one that had none of its own says only what it will be."""
    for name in (*TOKEN_RATES, *EACH_RATES):
        old, new = getattr(before, name), getattr(after, name)
        if new is not None and old != new:
            yield (
                f"{name} {write_nano(new)}"
                if old is None
                else f"{name} {write_nano(old)} → {write_nano(new)}"
            )
    if before.images != after.images:
        yield f"image from {write_nano(min(rate for _, rate in after.images))}" if after.images else "image"
    if before.tiers != after.tiers:
        yield "and its prices of long prompts"
