"""Route: the ordered ways to answer a call."""

from __future__ import annotations

import math
from hashlib import blake2b

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
    """Every route of the asked model in order, then those of the caller's fallback models; never empty.

    Fault UNSOLD where none of them can be sold at the moment.
    """
    head, plan = call.head, call.grant.plan
    routes: tuple[Route, ...] = ()
    for name in (head.model, *head.fallback_models):
        listing = find_listing(house.catalogue, name, kind="chat")
        check_model(plan, listing)
        routes += _drawn(_seed(call), house.routes.routes(listing, plan))
    if not routes:
        raise Fault(
            Kind.UNSOLD,
            f"The model {head.model!r} is not for sale at the moment. Use another, or try again later.",
            param="model",
        )
    return routes


def _seed(call: Call) -> str:
    """What the draw among equal routes goes by: a session stays where its prompt is in the provider's cache.

    So it needs no memory, is the same in every worker and on every node, and moves only the sessions it must when
    a route comes or goes (rendezvous hashing).
    """
    session = call.head.session
    return call.id if session is None else f"{call.grant.account.id}/{session}"


def _drawn(seed: str, routes: tuple[Route, ...]) -> tuple[Route, ...]:
    """Routes in order; those of equal order by a draw that shares calls or sessions among them by weight."""
    if len(routes) == 1:
        return routes
    return tuple(sorted(routes, key=lambda route: (route.order, _lot(seed, route))))


def _lot(seed: str, route: Route) -> float:
    """A route's lot: the smallest goes first, and heavy routes draw smaller."""
    text = f"{seed}/{route.provider.endpoint.provider}/{route.upstream_model}"
    draw = (int.from_bytes(blake2b(text.encode(), digest_size=4).digest()) + 1) / 2**32
    return -math.log(draw) / route.weight
