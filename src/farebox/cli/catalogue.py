"""`farebox catalogue`: what is for sale, and where the release's prices come from."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from farebox.app.seeding import When, seed
from farebox.billing.prices.tariff import write_moment
from farebox.cli.options import DEFAULT_DATA, Config, Data, UsageError, opened
from farebox.cli.shop import look_at_shop
from farebox.cli.table import new_table, print_table
from farebox.cli.times import read_moment
from farebox.core.clock import SystemClock
from farebox.core.money import write_nano
from farebox.core.rates import Rates
from farebox.providers.catalogue_import import import_catalogue
from farebox.providers.listing import Listing, read_listings

app = App(name="catalogue", help="Show what is for sale; refresh the release's prices.")


@app.command
def show(
    name: Annotated[str, Parameter(help="Only models with this in their id.")] = "",
    /,
    *,
    json: Annotated[bool, Parameter(negative="", help="JSON lines.")] = False,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """Every model that can be sold here, with its sale price per million tokens (or each) and its routes."""
    shop = look_at_shop(data, config)
    prices, low = shop.prices, set(shop.prices.low(shop.markups))
    rows = [
        (listing, prices.price(listing.id, listing.cost, listing.price, None).rates)
        for listing in shop.stock.catalogue.listings
        if name in listing.id
    ]
    if json:
        for listing, rates in rows:
            wire = {"id": listing.id, **_wire(listing, rates), "below_margin": listing.id in low}
            print(msgspec.json.encode(wire).decode())
        return
    table = new_table("model", "kind", "input", "output", "each", "context", "routes")
    for listing, rates in rows:
        table.add_row(
            listing.id,
            listing.kind,
            _text(rates.input),
            _text(rates.output),
            _each(rates),
            str(listing.context_window or ""),
            ", ".join(route.provider for route in listing.routes),
        )
    print_table(table)
    currency = shop.settings.wallet.currency
    print(f"\n{len(rows)} models with a price, in {currency} per million tokens, or each.")
    if low:
        action = (
            shop.settings.wallet.margin_action
            if shop.settings.wallet.margin_factor_nano
            else "no guard is set"
        )
        print(f"{len(low)} sell below what one of their routes asks for ({action}): {', '.join(sorted(low))}")


@app.command(name="import")
def import_prices(
    file: Annotated[
        Path | None,
        Parameter(help="Listings in the form of the release's models.json, to be kept in the database."),
    ] = None,
    /,
    *,
    starts: Annotated[
        str | None,
        Parameter(name="--from", help="From when its costs hold: a day or a time; now unless said."),
    ] = None,
    notice: Annotated[
        bool, Parameter(help="Without it what becomes dearer does not wait until customers are told.")
    ] = True,
    target: Annotated[
        Path | None, Parameter(help="Without a file: the data file to write, if not the release's own.")
    ] = None,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """Take over models and costs from a file: new models from the next start on, changed costs by a dated change.

    Without a file, a development command: write the release's data file from genai-prices and the rows kept by hand.
    """
    if file is None:
        path = target or Path(str(files("farebox.providers") / "release" / "models.json"))
        report = import_catalogue(
            path, datetime.fromtimestamp(SystemClock().now_us() / 1_000_000, UTC).date()
        )
        print(f"Wrote {path.name}: {msgspec.json.encode(report).decode()}")
        return
    try:
        listings = read_listings(file.read_bytes())
    except msgspec.DecodeError as problem:
        raise UsageError(f"{file} is not a file of listings: {problem}") from None
    shop = look_at_shop(data, config)
    wallet = shop.settings.wallet
    with opened(data, config) as office, office.database.transaction() as work:
        now_us = office.clock.now_us()
        starts_us = now_us if starts is None else read_moment(starts, wallet.time_zone)
        when = When(now_us, max(starts_us, now_us), notice, wallet.price_notice_days)
        seeded = seed(work, listings, shop.prices, shop.markups, when)
    print(
        f"{seeded.new} new models, for sale from the next start on; {seeded.changed} costs change at"
        f" {write_moment(when.starts_us)}, {seeded.put_off} later, once customers were told."
    )


def _wire(listing: Listing, rates: Rates) -> dict[str, object]:
    return {
        "name": listing.name,
        "kind": listing.kind,
        "owner": listing.owner,
        "context_window": listing.context_window,
        "max_output": listing.max_output,
        "currency": rates.currency,
        "input": rates.input and write_nano(rates.input),
        "output": rates.output and write_nano(rates.output),
        "routes": [f"{route.provider}:{route.model}" for route in listing.routes],
    }


def _text(nano: int | None) -> str:
    return "" if nano is None else write_nano(nano)


def _each(rates: Rates) -> str:
    units = [
        f"{unit} {write_nano(rate)}" for unit in ("second", "character") if (rate := getattr(rates, unit))
    ]
    if rates.images:
        units.append(f"image from {write_nano(min(rate for _, rate in rates.images))}")
    return ", ".join(units)
