"""Listings: the rows of the catalogue, and the ones a release brings along."""

from __future__ import annotations

from importlib.resources import files

import msgspec

from farebox.core.rates import Rates


class RouteRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """One way to a model: a provider and the name it has there."""

    provider: str
    model: str
    order: int = (
        1  # Lower first. In the release: 1 the maker itself, then hosts of open models, last the aggregators.
    )
    weight: int = 1  # Shares calls among routes of the same order.
    cost: Rates | None = None  # None: the listing's.


class Listing(msgspec.Struct, frozen=True, omit_defaults=True):
    """One model as customers name it, with what it costs and where it is to be had.

    `cost` is what we pay, `price` the sale price where the operator set one by hand; without it the price is made
    from the cost. No `routes` means the provider that is called as the maker in the id, under the id's other half.
    """

    id: str  # maker/name
    kind: str  # One of core.rates.KINDS.
    name: str = ""  # For people.
    owner: str = ""  # The maker.
    context_window: int | None = None
    max_output: int | None = None  # Tokens of one answer; for images, of one image.
    cost: Rates | None = None
    price: Rates | None = None
    aliases: tuple[str, ...] = ()  # With or without the maker.
    routes: tuple[RouteRow, ...] = ()
    deprecated: bool = False


def maker_of(model: str) -> str:
    """The part of an id before its slash, or nothing."""
    maker, slash, _ = model.partition("/")
    return maker if slash else ""


def bare(model: str) -> str:
    """An id without its maker."""
    maker, slash, name = model.partition("/")
    return name if slash else maker


def load_release() -> tuple[Listing, ...]:
    """The listings of this release, sorted by id; `catalogue_import` wrote them."""
    return read_listings((files("farebox.providers") / "release" / "models.json").read_bytes())


def read_listings(data: bytes) -> tuple[Listing, ...]:
    """Listings from their file."""
    return msgspec.json.decode(data, type=tuple[Listing, ...])


def write_listings(listings: tuple[Listing, ...]) -> bytes:
    """Their file: a JSON array with one row a line, so that a change of one model is a change of one line."""
    rows = b",\n".join(msgspec.json.encode(listing) for listing in listings)
    return b"[\n" + rows + b"\n]\n"
