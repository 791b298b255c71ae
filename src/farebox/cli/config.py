"""`farebox config`: is the configuration right, and what is in force."""

from __future__ import annotations

import os

from cyclopts import App

from farebox.app.office import load_settings
from farebox.app.paying import build_processors
from farebox.app.stock import Found, take_stock
from farebox.cli.options import DEFAULT_DATA, Config, Data
from farebox.config.show import show_settings

app = App(name="config", help="Check and show the configuration.")


@app.command
def check(*, data: Data = DEFAULT_DATA, config: Config = None) -> None:  # noqa: ARG001 -- every verb takes it
    """Read the configuration as `farebox up` would. Exit 2 names what is wrong and where."""
    settings = load_settings(config, os.environ)
    stock = take_stock(settings, Found(), os.environ)
    build_processors(settings)
    print(
        f"The configuration is right: {len(settings.providers)} providers, {len(stock.catalogue.listings)} models."
    )


@app.command
def show(*, data: Data = DEFAULT_DATA, config: Config = None) -> None:  # noqa: ARG001 -- every verb takes it
    """Every setting in force and where it comes from; secrets are not shown."""
    print(show_settings(load_settings(config, os.environ)))
