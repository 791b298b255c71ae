"""The route book: each model's routes with their rates, made once for each plan and kept until a rate changes.

Here the margin guard decides, when routes are made and not for each call: which routes cost more than their model sells
for, and what is left of the model without them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from farebox.accounts.plans import Plan
from farebox.billing.prices.margin import Action, shortfalls
from farebox.billing.prices.pricelist import PriceList
from farebox.core.rates import sellable
from farebox.gateway.call import Provider, Route
from farebox.providers.listing import Listing, RouteRow
from farebox.providers.quirks import quirks_for

Routes = tuple[Route, ...]
# What is left of all routes, given those that pay for themselves. A price that was raised pays for each.
_LEFT: dict[Action, Callable[[Routes, Routes], Routes]] = {
    Action.REROUTE: lambda _, paying: paying,
    Action.REFUSE: lambda every, paying: every if len(paying) == len(every) else (),
    Action.REPRICE: lambda every, _: every,
}


class RouteBook:
    """Routes by listing and markup; as many entries at most as there are listings times plans."""

    def __init__(self, providers: Mapping[str, Provider], prices: PriceList) -> None:
        self._providers = providers
        self._prices = prices
        self._made: dict[tuple[str, int | None], Routes] = {}

    def routes(self, listing: Listing, plan: Plan) -> Routes:
        """A model's routes under a plan, in the catalogue's order; none where it cannot be sold now."""
        made = self._made.get((listing.id, plan.markup_nano))
        if made is None:
            made = self._made[listing.id, plan.markup_nano] = self._guarded(listing, plan.markup_nano)
        return made

    def sells(self, listing: Listing, markup_nano: int | None) -> bool:
        """Whether a model is for sale now, under a plan's markup if it has one."""
        prices = self._prices
        if not prices.terms.guard.factor_nano and not prices.tariff.changes:
            return True  # The catalogue lists nothing else.
        made = self._made.get((listing.id, markup_nano))
        return bool(self._guarded(listing, markup_nano) if made is None else made)

    def forget(self, models: Iterable[str]) -> None:
        """Make the routes of these anew when they are asked for next: their rates have changed."""
        stale = frozenset(models)
        if stale:
            self._made = {key: made for key, made in self._made.items() if key[0] not in stale}

    def _guarded(self, listing: Listing, markup_nano: int | None) -> Routes:
        made = tuple(self._make(listing, row, markup_nano) for row in listing.routes)
        made = tuple(route for route in made if sellable(listing.kind, route.price.rates))
        guard = self._prices.terms.guard
        if not guard.factor_nano:
            return made
        paying = tuple(
            route
            for route in made
            if not any(shortfalls(route.price.rates, self._prices.floor(route.cost.rates)))
        )
        return _LEFT[guard.action](made, paying)

    def _make(self, listing: Listing, row: RouteRow, markup_nano: int | None) -> Route:
        provider = self._providers[row.provider]
        return Route(
            provider=provider,
            listing=listing,
            upstream_model=row.model,
            price=self._prices.price(listing.id, listing.cost, listing.price, markup_nano),
            cost=self._prices.cost(listing.id, row.provider, row.cost or listing.cost),
            order=row.order,
            weight=row.weight,
            quirks=quirks_for(provider.quirks, row.model),
        )
