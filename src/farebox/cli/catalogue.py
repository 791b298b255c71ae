"""`farebox catalogue`: what is for sale, and where the release's prices come from."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from farebox.app.office import load_settings, price_list
from farebox.app.stock import discover, take_stock
from farebox.cli.options import DEFAULT_DATA, Config, Data
from farebox.cli.table import new_table, print_table
from farebox.core.clock import SystemClock
from farebox.core.money import write_nano
from farebox.core.rates import Rates
from farebox.providers.catalogue_import import import_catalogue
from farebox.providers.listing import Listing

app = App(name="catalogue", help="Show what is for sale; refresh the release's prices.")


@app.command
def show(
    name: Annotated[str, Parameter(help="Only models with this in their id.")] = "",
    /,
    *,
    json: Annotated[bool, Parameter(negative="", help="JSON lines.")] = False,
    data: Data = DEFAULT_DATA,  # noqa: ARG001 -- every verb takes it; prices are the settings' alone today
    config: Config = None,
) -> None:
    """Every model that can be sold here, with its sale price per million tokens (or each) and its routes."""
    settings = load_settings(config, os.environ)
    found = asyncio.run(discover(settings, os.environ))
    stock = take_stock(settings, found, os.environ)
    prices = price_list(settings)
    rows = [
        (listing, prices.price(listing.id, listing.cost, listing.price, None).rates)
        for listing in stock.catalogue.listings
        if name in listing.id
    ]
    if json:
        for listing, rates in rows:
            print(msgspec.json.encode({"id": listing.id, **_wire(listing, rates)}).decode())
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
    currency = settings.wallet.currency
    print(f"\n{len(rows)} models with a price, in {currency} per million tokens, or each.")


@app.command(name="import")
def import_prices(
    *,
    target: Annotated[Path | None, Parameter(help="The file to write, if not the release's own.")] = None,
    data: Data = DEFAULT_DATA,  # noqa: ARG001 -- every verb takes it
    config: Config = None,  # noqa: ARG001 -- every verb takes it
) -> None:
    """Write the release's data file anew from genai-prices and the rows kept by hand. A development command."""
    path = target or Path(str(files("farebox.providers") / "release" / "models.json"))
    report = import_catalogue(path, datetime.fromtimestamp(SystemClock().now_us() / 1_000_000, UTC).date())
    print(f"Wrote {path.name}: {msgspec.json.encode(report).decode()}")


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
