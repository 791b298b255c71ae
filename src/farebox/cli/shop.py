"""What a deployment sells as a running server has it: for the commands that show prices or change them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec

from farebox.app.office import load_settings, open_office, plans_of
from farebox.app.prices import price_list, price_list_at
from farebox.app.stock import Stock, discover, take_stock
from farebox.billing.prices.pricelist import PriceList
from farebox.config.settings import Settings, database_file
from farebox.providers.imported import read_imported


class Shop(msgspec.Struct, frozen=True):
    """Settings, models and prices of now."""

    settings: Settings
    stock: Stock
    prices: PriceList

    @property
    def markups(self) -> set[int | None]:
        """The markups that plans have."""
        return {plan.markup_nano for plan in plans_of(self.settings).values()}


def look_at_shop(data: Path, config: Path | None) -> Shop:
    """Read settings and database; without a database, which is not made, as a first start would have it."""
    settings = load_settings(config, os.environ)
    found = asyncio.run(discover(settings, os.environ))
    file = database_file(settings.store, data)
    if file is not None and not file.exists():
        stock = take_stock(settings, found, os.environ)
        return Shop(settings, stock, price_list(settings, stock.catalogue))
    office = open_office(data, settings, os.environ)
    try:
        with office.database.read() as view:
            stock = take_stock(settings, found, os.environ, read_imported(view))
            prices = price_list_at(view, settings, stock.catalogue, office.clock.now_us())
    finally:
        office.close()
    return Shop(settings, stock, prices)
