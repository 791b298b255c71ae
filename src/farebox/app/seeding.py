"""Seeding: the listings of a file of a release's form into the database. A changed cost becomes a dated change.

What is new is for sale from the next start on. Of a model that is known already, everything but the cost is taken as
the file has it, from the next start on as well; its cost changes at a moment, on every running server. Where that
makes the sale price dearer, the moment is put off until customers can be told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import msgspec

from farebox.billing.prices.book import enter_change
from farebox.billing.prices.pricelist import PriceList
from farebox.billing.prices.scheduling import DAY_US, TooSoon, schedule_price
from farebox.billing.prices.tariff import Change, Layer
from farebox.core.rates import Rates
from farebox.providers.imported import read_imported, write_imported
from farebox.providers.listing import Listing, load_release, maker_of
from farebox.store.database import Transaction

SOURCE = "catalogue import"


class Seeded(msgspec.Struct, frozen=True):
    """What an import did: models new here, costs that change when asked for, and those that wait for notice."""

    new: int
    changed: int
    put_off: int


class When(msgspec.Struct, frozen=True):
    """From when costs change, and whether what becomes dearer for customers may wait until they are told."""

    now_us: int
    starts_us: int
    notice: bool
    notice_days: int


def seed(
    work: Transaction,
    listings: Iterable[Listing],
    prices: PriceList,
    markups: Collection[int | None],
    when: When,
) -> Seeded:
    """Keep these listings, and enter what differs in their costs. Doing it twice changes nothing the second time."""
    known = {row.id: row for row in (*load_release(), *read_imported(work))}
    rows, new, changed, put_off = [], 0, 0, 0
    for listing in listings:
        before = known.get(listing.id)
        if before is None:
            rows.append(listing)
            new += 1
            continue
        kept = _at_old_costs(before, listing)
        if kept != before:
            rows.append(kept)
        for change in _changes(before, listing, prices, when):
            late = _entered(work, change, prices, markups, when)
            put_off += late
            changed += not late
    write_imported(work, rows, when.now_us)
    return Seeded(new, changed, put_off)


def _at_old_costs(before: Listing, listing: Listing) -> Listing:
    """The listing as the file has it, at the costs that were known: those change by a date."""
    old = {route.provider: route.cost for route in before.routes}
    routes = tuple(
        msgspec.structs.replace(route, cost=old.get(route.provider, route.cost)) for route in listing.routes
    )
    return msgspec.structs.replace(listing, cost=before.cost or listing.cost, routes=routes)


def _changes(before: Listing, listing: Listing, prices: PriceList, when: When) -> Iterator[Change]:
    """What the file says otherwise than will be known at that moment: of every provider, or by provider."""
    old, new = _costs(before), _costs(listing)
    at_us = when.starts_us
    # What an earlier import put off is as good as there.
    heard_us = max(at_us, when.now_us + when.notice_days * DAY_US) if when.notice else at_us
    for provider, rates in old.items():
        dated = prices.tariff.cost(listing.id, provider, heard_us)
        old[provider] = rates if dated is None else dated.rates
    differing = {
        provider: cost for provider, cost in new.items() if cost is not None and old.get(provider) != cost
    }
    if not differing:
        return
    if len(set(new.values())) == 1:  # Also of those who sell it on, whom only this release knows.
        differing = {"": next(iter(differing.values()))}
    for provider, rates in differing.items():
        yield Change(
            what="cost",
            target=listing.id,
            starts_us=at_us,
            layer=Layer.DATABASE,
            rates=rates,
            provider=provider,
            notice=when.notice,
            source=SOURCE,
        )


def _costs(listing: Listing) -> dict[str, Rates | None]:
    """What each provider asks."""
    if not listing.routes:
        return {maker_of(listing.id): listing.cost}
    return {route.provider: route.cost or listing.cost for route in listing.routes}


def _entered(
    work: Transaction, change: Change, prices: PriceList, markups: Collection[int | None], when: When
) -> bool:
    """Enter a change; whether it was put off."""
    if (
        change.target not in prices.wares
    ):  # Nobody buys it here today; should it be sold one day, then at this cost.
        enter_change(work, _name(change), change, when.now_us)
        return False
    for starts_us in (change.starts_us, when.now_us + when.notice_days * DAY_US):
        dated = msgspec.structs.replace(change, starts_us=max(starts_us, change.starts_us))
        outcome = schedule_price(
            work,
            prices,
            dated,
            id_=_name(dated),
            now_us=when.now_us,
            notice_days=when.notice_days,
            markups=markups,
        )
        if not isinstance(outcome, TooSoon):
            return dated.starts_us != change.starts_us
    raise AssertionError("a change after the notice period is never too soon")


def _name(change: Change) -> str:
    return f"import:{change.id}"
