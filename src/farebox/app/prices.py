"""Prices from settings: the terms, the dated rows as changes, the wares of the catalogue; and the list they make."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from farebox.app.office import open_office
from farebox.billing.prices.book import list_changes
from farebox.billing.prices.margin import Action, Guard
from farebox.billing.prices.pricelist import PriceList, Terms, Ware, Way
from farebox.billing.prices.tariff import Change, Held, Tariff, What
from farebox.billing.prices.timetable import as_seen
from farebox.config.settings import DatedPrice, Settings, database_file
from farebox.providers.catalogue import Catalogue
from farebox.providers.imported import read_imported
from farebox.providers.listing import Listing
from farebox.store.database import Transaction


def price_list(settings: Settings, catalogue: Catalogue) -> PriceList:
    """How this deployment makes prices, and what it makes them of; a timetable puts it at its time."""
    tariff = Tariff(changes_of(settings), held_of(settings))
    return PriceList(terms_of(settings), tariff, map(ware_of, catalogue.listings))


def price_list_at(view: Transaction, settings: Settings, catalogue: Catalogue, at_us: int) -> PriceList:
    """The price list as a running server has it at a moment."""
    entered = [row.change for row in list_changes(view)]
    tariff = Tariff((*entered, *as_seen(view, changes_of(settings))), held_of(settings))
    return PriceList(terms_of(settings), tariff, map(ware_of, catalogue.listings), at_us=at_us)


def terms_of(settings: Settings) -> Terms:
    """What has no date."""
    wallet = settings.wallet
    return Terms(
        wallet.currency,
        wallet.markup_nano,
        wallet.fx_nano,
        {
            provider.name: provider.markup_nano
            for provider in settings.providers
            if provider.markup_nano is not None
        },
        Guard(wallet.margin_factor_nano, Action(wallet.margin_action)),
    )


def ware_of(listing: Listing) -> Ware:
    """A listing as the price list knows it."""
    ways = sorted(listing.routes, key=lambda route: route.order)
    return Ware(
        listing.id,
        listing.kind,
        listing.cost,
        listing.price,
        tuple(Way(route.provider, route.cost or listing.cost) for route in ways),
    )


def changes_of(settings: Settings) -> list[Change]:
    """Every row of the file that has a date, and the markups of models, which have none."""
    zone = settings.wallet.time_zone
    return [
        *(
            Change(what="markup", target=model.id, factor_nano=model.markup_nano, source="file")
            for model in settings.models
            if model.markup_nano is not None and model.price is None
        ),
        *(_dated(row, zone) for row in settings.prices),
        *(
            Change(
                what="fx",
                target=row.currency,
                starts_us=moment_of(row.starts, zone),
                factor_nano=row.rate_nano,
                notice=row.notice,
                source="file",
            )
            for row in settings.fx
        ),
    ]


def held_of(settings: Settings) -> Held:
    """Of which models the file says a price or a cost without a date."""
    return Held(
        frozenset(model.id for model in settings.models if model.price is not None),
        frozenset(
            model.id
            for model in settings.models
            if model.cost is not None or any(route.cost is not None for route in model.routes)
        ),
    )


def moment_of(text: str, zone: str) -> int:
    """A day or time as settings have it, in microseconds since the epoch; a day begins in the wallet's zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(zone))
    return round(moment.timestamp() * 1_000_000)


def imported_listings(data: Path, settings: Settings, environment: Mapping[str, str]) -> tuple[Listing, ...]:
    """The listings that were imported into a deployment, if it is there yet."""
    file = database_file(settings.store, data)
    if file is not None and not file.exists():
        return ()
    office = open_office(data, settings, environment)
    try:
        with office.database.read() as view:
            return read_imported(view)
    finally:
        office.close()


def _dated(row: DatedPrice, zone: str) -> Change:
    given: dict[What, object] = {"price": row.price, "cost": row.cost, "markup": row.markup_nano}
    (what,) = (name for name, value in given.items() if value is not None)
    return Change(
        what=what,
        target=row.model,
        starts_us=moment_of(row.starts, zone),
        rates=row.price or row.cost,
        factor_nano=row.markup_nano,
        provider=row.provider or "",
        notice=row.notice,
        source="file",
    )
