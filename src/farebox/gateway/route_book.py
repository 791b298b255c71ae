"""The route book: each model's routes with their rates, made once for each plan and kept."""

from __future__ import annotations

from collections.abc import Mapping

from farebox.accounts.plans import Plan
from farebox.billing.pricelist import PriceList
from farebox.gateway.call import Provider, Route
from farebox.providers.listing import Listing, RouteRow
from farebox.providers.quirks import quirks_for


class RouteBook:
    """Routes by listing and plan; as many entries at most as there are listings times plans."""

    def __init__(self, providers: Mapping[str, Provider], prices: PriceList) -> None:
        self._providers = providers
        self._prices = prices
        self._made: dict[tuple[str, str], tuple[Route, ...]] = {}

    def routes(self, listing: Listing, plan: Plan) -> tuple[Route, ...]:
        """A model's routes under a plan, in the catalogue's order."""
        made = self._made.get((listing.id, plan.name))
        if made is None:
            made = self._made[listing.id, plan.name] = tuple(
                self._make(listing, row, plan) for row in listing.routes
            )
        return made

    def _make(self, listing: Listing, row: RouteRow, plan: Plan) -> Route:
        provider = self._providers[row.provider]
        return Route(
            provider=provider,
            listing=listing,
            upstream_model=row.model,
            price=self._prices.price(listing.id, listing.cost, listing.price, plan.markup_nano),
            cost=self._prices.cost(listing.id, row.provider, row.cost or listing.cost),
            order=row.order,
            weight=row.weight,
            quirks=quirks_for(provider.quirks, row.model),
        )
