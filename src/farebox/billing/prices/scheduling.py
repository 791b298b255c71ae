"""Scheduling: a dated change is entered only if what it makes dearer can be told in time, and stays for sale."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from farebox.billing.prices.book import enter_change
from farebox.billing.prices.margin import shortfalls
from farebox.billing.prices.pricelist import PriceList
from farebox.billing.prices.tariff import Change, Tariff
from farebox.core.rates import Rates, sellable
from farebox.store.database import Transaction

DAY_US = 86_400_000_000


class Scheduled(msgspec.Struct, frozen=True):
    """The change will take effect. `dearer` names the models whose customers will be told."""

    id: str
    dearer: tuple[str, ...]


class TooSoon(msgspec.Struct, frozen=True):
    """It makes these dearer before customers can be told; this is the earliest moment at which it may."""

    earliest_us: int
    dearer: tuple[str, ...]


class Unsellable(msgspec.Struct, frozen=True):
    """Nothing was entered: no model answers to it, or these could not be sold at such a price or cost."""

    models: tuple[str, ...]


def is_dearer(before: Rates, after: Rates) -> bool:
    """Whether any unit class costs more than before, in any tier."""
    return any(shortfalls(before, after))


def touched_by(prices: PriceList, changes: Iterable[Change]) -> list[str]:
    """The models that changes may bear on; what a currency is worth may bear on any."""
    heard = list(changes)
    if any(change.what == "fx" for change in heard):
        return list(prices.wares)
    return [model for model in prices.wares if any(change.covers(model) for change in heard)]


def made_dearer(
    prices: PriceList, others: Iterable[Change], change: Change, markups: Collection[int | None], at_us: int
) -> tuple[str, ...]:
    """The models that a change makes dearer at a moment, for customers of any of the markups."""
    held, rest = prices.tariff.held, tuple(others)
    without = Tariff(rest, held)
    # As if it had started by then, however it was put off.
    joined = Tariff((*rest, msgspec.structs.replace(change, starts_us=min(change.starts_us, at_us))), held)
    return tuple(
        model
        for model in touched_by(prices, [change])
        if any(
            is_dearer(
                prices.price_at(prices.wares[model], markup, without, at_us),
                prices.price_at(prices.wares[model], markup, joined, at_us),
            )
            for markup in markups
        )
    )


def schedule_price(
    work: Transaction,
    prices: PriceList,
    change: Change,
    *,
    id_: str,
    now_us: int,
    notice_days: int,
    markups: Collection[int | None] = (None,),
) -> Scheduled | TooSoon | Unsellable:
    """Enter a change into the database, for every worker to follow. Asking again under the same id changes nothing."""
    models = touched_by(prices, [change])
    unsold = tuple(model for model in models if not _sells(prices, model, change))
    if unsold or not models:
        return Unsellable(unsold)
    dearer = made_dearer(prices, prices.tariff.changes, change, markups, max(change.starts_us, now_us))
    earliest_us = now_us + notice_days * DAY_US
    if dearer and change.notice and change.starts_us < earliest_us:
        return TooSoon(earliest_us, dearer)
    enter_change(work, id_, change, now_us)
    return Scheduled(id_, dearer)


def _sells(prices: PriceList, model: str, change: Change) -> bool:
    """Whether the rates of a change price what the model delivers, in a currency that can be exchanged."""
    rates = change.rates
    if rates is None:
        return True
    known = {prices.terms.currency, *prices.terms.fx_nano}
    return rates.currency in known and sellable(prices.wares[model].kind, rates)
