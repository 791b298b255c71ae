"""The catalogue: which models are for sale here, and which listing a caller means by a name.

A name is looked up in this order, each a dictionary hit:

1. the exact id;
2. any name of a listing, in any case and with dots or dashes: its id, the id without the maker, its aliases;
3. the same without a date or `-latest` at its end (`claude-haiku-4-5-20251001`);
4. the same without a `:floor` or `:nitro` suffix, which only matters where the id is unknown.

Where two listings share a bare name, the one nearest to its maker has it: the lowest `order` of its routes, then the
lower id. So a maker's own listing wins over a host's, and what the operator configured wins over the release.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final

import msgspec

from farebox.core.rates import CHAT, sellable
from farebox.providers.listing import Listing, RouteRow, bare, maker_of
from farebox.providers.rows import ProviderRow

SANDBOX: Final = "sandbox"  # The provider's name.
RESELLER_ORDER: Final = 100  # After everybody else: only the operator knows what is set up there.
_SUFFIXES: Final = frozenset({"floor", "nitro"})  # OpenRouter's: cheapest first, fastest first.
_DATED: Final = re.compile(r"(?:[-@]20\d{6}|-20\d\d-\d\d-\d\d|-latest)$")


class Catalogue:
    """The models for sale and every name they answer to."""

    def __init__(self, listings: Iterable[Listing]) -> None:
        """Take listings with usable routes alone; where two share a bare name, the earlier one has it."""
        nearest_first = tuple(listings)
        self.listings = tuple(sorted(nearest_first, key=lambda listing: listing.id))
        self._by_id = {listing.id: listing for listing in nearest_first}
        self._by_name: dict[str, Listing] = {}
        for names_of in (_full_names, _bare_names):
            for listing in nearest_first:
                for name in names_of(listing):
                    self._by_name.setdefault(_loose(name), listing)

    def find(self, name: str) -> Listing | None:
        """The listing that a caller means by this name, if it is for sale."""
        found = self._by_id.get(name)
        if found is None:
            found = self._find_loose(name)
        if found is None:
            known, _, suffix = name.rpartition(":")
            if suffix in _SUFFIXES:
                found = self._by_id.get(known) or self._find_loose(known)
        return found

    def _find_loose(self, name: str) -> Listing | None:
        loose = _loose(name)
        return self._by_name.get(loose) or self._by_name.get(_DATED.sub("", loose))


def build_catalogue(
    release: Iterable[Listing], configured: Iterable[Listing], providers: Collection[str], *, sandbox: bool
) -> Catalogue:
    """What can be sold: the release's listings with the configured ones laid over them, as far as routes reach.

    `providers` are the names of the usable ones. With `sandbox`, no provider is needed: the sandbox answers for all.
    A listing without a usable route, or without a price for what its kind delivers, is not there.
    """
    rows = {row.id: row for row in release}
    for row in configured:
        rows[row.id] = _laid_over(rows.get(row.id), row)
    nearest_first = sorted(
        rows.values(), key=lambda row: (min((way.order for way in row.routes), default=1), row.id)
    )
    usable = (_usable(row, providers, sandbox=sandbox) for row in nearest_first)
    return Catalogue(listing for listing in usable if listing is not None)


def with_resellers(release: Iterable[Listing], rows: Iterable[ProviderRow]) -> list[Listing]:
    """The release's listings with a last way through each provider that sells its maker's models as well."""
    resellers = [(row.name, row.resells) for row in rows if row.resells is not None]
    return [_resold(row, resellers) for row in release]


def _resold(row: Listing, resellers: Iterable[tuple[str, str]]) -> Listing:
    ways = _ways(row)
    more = [
        RouteRow(name, way.model, RESELLER_ORDER, cost=way.cost)
        for name, maker in resellers
        for way in ways
        if way.provider == maker
    ]
    return msgspec.structs.replace(row, routes=(*ways, *more)) if more else row


def _ways(row: Listing) -> tuple[RouteRow, ...]:
    """The routes of a row, which may leave its only one unsaid."""
    return row.routes or (RouteRow(maker_of(row.id), bare(row.id)),)


def _laid_over(known: Listing | None, row: Listing) -> Listing:
    """A configured row over the release's: what it leaves out stays as it is. A kind that is not said is chat."""
    if known is None:
        return row
    given = {name: value for name in Listing.__struct_fields__ if (value := getattr(row, name))}
    return msgspec.structs.replace(known, **given | {"kind": known.kind if row.kind == CHAT else row.kind})


def _usable(row: Listing, providers: Collection[str], *, sandbox: bool) -> Listing | None:
    """A row with the routes that exist here and the cost of the first of them, if it can be sold."""
    maker = maker_of(row.id)
    ways = _ways(row)
    if sandbox:
        routes = [RouteRow(SANDBOX, row.id)]
        first = min(ways, key=_order)
    else:
        routes = sorted((way for way in ways if way.provider in providers), key=_order)
        if not routes:
            return None
        first = routes[0]
        # A route's silence means the row's cost, which is about to become that of the first route.
        if first.cost is not None:
            routes = [msgspec.structs.replace(way, cost=way.cost or row.cost) for way in routes]
    cost = first.cost or row.cost
    rates = row.price or cost
    if rates is None or not sellable(row.kind, rates):
        return None
    return msgspec.structs.replace(
        row,
        cost=cost,
        routes=tuple(routes),
        owner=row.owner or maker or ways[0].provider,
        name=row.name or bare(row.id),
    )


def _order(route: RouteRow) -> int:
    return route.order


def _full_names(listing: Listing) -> list[str]:
    """Names that say the maker."""
    maker = maker_of(listing.id)
    aliases = [alias if maker_of(alias) else f"{maker}/{alias}" for alias in listing.aliases]
    return [listing.id, *aliases] if maker else [listing.id]


def _bare_names(listing: Listing) -> list[str]:
    """Names that leave the maker out."""
    return [bare(listing.id), *(bare(alias) for alias in listing.aliases)]


def _loose(name: str) -> str:
    """How a name is compared: makers and clients disagree on dots and on capitals."""
    return name.lower().replace(".", "-")
