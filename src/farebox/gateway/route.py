"""Route: the ordered ways to answer a call."""

from __future__ import annotations

import math

from farebox.accounts.plans import Plan
from farebox.core.errors import Fault, Kind
from farebox.gateway.call import Call, Route
from farebox.gateway.house import House
from farebox.providers.catalogue import Catalogue
from farebox.providers.listing import Listing


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
    head, plan = call.head, call.grant.plan
    routes: tuple[Route, ...] = ()
    for name in (head.model, *head.fallback_models):
        listing = find_listing(house.catalogue, name, kind="chat")
        check_model(plan, listing)
        routes += _drawn(call.id, house.routes.routes(listing, plan))
    assert routes, "the catalogue lists no model without a route"
    return routes


def _drawn(call_id: str, routes: tuple[Route, ...]) -> tuple[Route, ...]:
    """Routes in order; those of equal order by a draw that shares calls among them by weight."""
    if len(routes) == 1:
        return routes
    return tuple(sorted(routes, key=lambda route: (route.order, _lot(call_id, route))))


def _lot(call_id: str, route: Route) -> float:
    """A route's lot, from the call id's own random part: the smallest goes first, and heavy routes draw smaller."""
    seed = (
        int.from_bytes(f"{call_id[-8:]}{route.provider.endpoint.provider}{route.upstream_model}".encode())
        % 2**31
    )
    draw = (seed * 2654435761 % 2**32 + 1) / 2**32  # Knuth's multiplicative hash spreads neighbouring ids.
    return -math.log(draw) / route.weight
