"""The margin guard, pure: where a sale price is below cost x factor, by unit class, and the price that is not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum

import msgspec

from farebox.billing.prices.pricing import price_from_cost, token_rate
from farebox.core.rates import EACH_RATES, TOKEN_RATES, Rates, Tier, image_rate, rates_at

_FREE_WITHOUT_PRICE = frozenset({"request"})


class Action(Enum):
    """What is done with a route whose price is too low; the value is what settings say."""

    REROUTE = "reroute"  # It is left out.
    REFUSE = "refuse"  # The model is not sold at all.
    REPRICE = "reprice"  # The price is raised.


class Guard(msgspec.Struct, frozen=True):
    """How prices are held against costs; a factor of 0 holds them against nothing."""

    factor_nano: int = 0
    action: Action = Action.REROUTE

    @property
    def reprices(self) -> bool:
        """Whether prices are raised."""
        return bool(self.factor_nano) and self.action is Action.REPRICE


class Shortfall(msgspec.Struct, frozen=True):
    """One unit class that sells below its floor; rates as in Rates. `above` is the tier's threshold, 0 the base."""

    unit_class: str
    above: int
    price_nano: int
    floor_nano: int


def floor_of(cost: Rates, *, factor_nano: int, fx_nano: int, currency: str) -> Rates:
    """The lowest price that a cost allows: cost x factor x fx, rounded up."""
    return price_from_cost(cost, markup_nano=factor_nano, fx_nano=fx_nano, currency=currency)


def shortfalls(price: Rates, floor: Rates) -> Iterator[Shortfall]:
    """Every unit class at which a price is below its floor, in every tier of either.

    Classes of tokens fall back as they do in a charge, so that a price without a rate for what is dear to write
    into a cache is found out. A unit that only one side knows is not compared.
    """
    if price == floor:
        return
    for above in _thresholds(price, floor):
        at = above + 1 if above else 0
        price_there, floor_there = rates_at(price, at), rates_at(floor, at)
        for name in TOKEN_RATES:
            sold, least = token_rate(price_there, name), token_rate(floor_there, name)
            if sold is not None and least is not None and sold < least:
                yield Shortfall(name, above, sold, least)
    for name, sold, least in _each(price, floor):
        if sold < least:
            yield Shortfall(name, 0, sold, least)
    for variant in _variants(price, floor):
        sold, least = image_rate(price, variant), image_rate(floor, variant)
        if sold is not None and least is not None and sold < least:
            yield Shortfall(f"image {variant}".strip(), 0, sold, least)


def raised(price: Rates, floors: Iterable[Rates]) -> Rates:
    """The price that is nowhere below any of the floors, and nowhere higher than it was or must be."""
    for floor in floors:
        if any(shortfalls(price, floor)):
            price = _raised(price, floor)
    return price


def _raised(price: Rates, floor: Rates) -> Rates:
    sides = (price, floor)
    names = [
        name
        for name in TOKEN_RATES
        if any(getattr(rates, name) is not None for side in sides for rates in (side, *side.tiers))
    ]
    base = {name: rate for name in names if (rate := _dearer(price, floor, name)) is not None}
    tiers = []
    for above in _thresholds(price, floor)[1:]:
        price_there, floor_there = rates_at(price, above + 1), rates_at(floor, above + 1)
        there = {name: _dearer(price_there, floor_there, name) for name in names}
        tiers.append(Tier(above, **{name: rate for name, rate in there.items() if rate is not None}))
    each = {name: max(sold, least) for name, sold, least in _each(price, floor)}
    unfloored = {name: rate for name in EACH_RATES if (rate := getattr(price, name)) is not None}
    images = tuple(
        (variant, max(image_rate(price, variant) or 0, image_rate(floor, variant) or 0))
        for variant in (_variants(price, floor) if price.images else ())
    )
    return Rates(price.currency, images=images, tiers=tuple(tiers), **base, **(unfloored | each))


def _each(price: Rates, floor: Rates) -> Iterator[tuple[str, int, int]]:
    """The units priced each that both sides know, with both rates. Without a price a request is free: known."""
    for name in EACH_RATES:
        sold, least = getattr(price, name), getattr(floor, name)
        if sold is None and name in _FREE_WITHOUT_PRICE:
            sold = 0
        if sold is not None and least is not None:
            yield name, sold, least


def _dearer(price: Rates, floor: Rates, name: str) -> int | None:
    sold, least = token_rate(price, name), token_rate(floor, name)
    return sold if least is None else least if sold is None else max(sold, least)


def _thresholds(price: Rates, floor: Rates) -> list[int]:
    """0 for the base, then the thresholds of both, rising."""
    return sorted({0} | {tier.above_input_tokens for rates in (price, floor) for tier in rates.tiers})


def _variants(price: Rates, floor: Rates) -> list[str]:
    """Every variant of an image that either side names; the rest is "", which falls to the dearest."""
    if not price.images or not floor.images:
        return [variant for variant, _ in price.images]
    return sorted({variant for rates in (price, floor) for variant, _ in rates.images})
