"""Route: the ordered ways to answer a call."""

from __future__ import annotations

import math

from farebox.accounts.plans import Plan
from farebox.core.errors import Fault, Kind
from farebox.gateway.call import Call, Route
from farebox.gateway.house import House
from farebox.providers.catalogue import Catalogue
from farebox.providers.listing import Listing, RouteRow


def find_listing(catalogue: Catalogue, name: str, *, kind: str) -> Listing:
    """The model a caller means; Fault MODEL_NOT_FOUND."""
    listing = catalogue.find(name)
    if listing is None:
        raise Fault(
            Kind.MODEL_NOT_FOUND,
            f"The model {name!r} does not exist. GET the list of models to see those you can use.",
            param="model",
        )
    if listing.kind != kind:
        raise Fault(
            Kind.BAD_REQUEST,
            f"The model {name!r} is for {listing.kind}, not for {kind}. Choose another.",
            param="model",
        )
    return listing


def check_model(plan: Plan, listing: Listing) -> None:
    """Refuse a model that the plan does not include."""
    if not plan.allows(listing.id):
        raise Fault(
            Kind.MODEL_REFUSED,
            f"The model {listing.id!r} is not available on the {plan.name} plan.",
            param="model",
        )


def routes_for(call: Call, house: House) -> tuple[Route, ...]:
    """Every route of the asked model in order, then those of the caller's fallback models; never empty."""
    routes: list[Route] = []
    for name in (call.head.model, *call.head.fallback_models):
        listing = find_listing(house.catalogue, name, kind="chat")
        check_model(call.grant.plan, listing)
        rows = sorted(listing.routes, key=lambda row: (row.order, _lot(call.id, row)))
        routes += [
            _route(listing, row, call.grant.plan, house) for row in rows if row.provider in house.providers
        ]
    assert routes, "the catalogue lists no model without a route"
    return tuple(routes)


def _route(listing: Listing, row: RouteRow, plan: Plan, house: House) -> Route:
    return Route(
        provider=house.providers[row.provider],
        listing=listing,
        upstream_model=row.model,
        price=house.prices.price(listing.id, listing.cost, listing.price, plan.markup_nano),
        cost=house.prices.cost(listing.id, row.provider, row.cost or listing.cost),
    )


def _lot(call_id: str, row: RouteRow) -> float:
    """A draw by weight among routes of equal order, from the call id's own random part: the smallest goes first."""
    seed = int.from_bytes(f"{call_id[-8:]}{row.provider}{row.model}".encode()) % 2**31
    draw = (seed * 2654435761 % 2**32 + 1) / 2**32  # Knuth's multiplicative hash spreads neighbouring ids.
    return -math.log(draw) / row.weight
