"""The house: every part a call needs on its way, wired once by the composition root."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from farebox.accounts.directory import Directory
from farebox.accounts.plans import Plan
from farebox.billing.prices.pricelist import PriceList
from farebox.billing.room import Room
from farebox.billing.wallet import Wallets
from farebox.core.clock import Clock, Ids
from farebox.gateway.budget import Guards
from farebox.gateway.route_book import RouteBook
from farebox.limits.windows import Windows
from farebox.providers.catalogue import Catalogue


class House(msgspec.Struct, frozen=True):
    """What `serve` works with."""

    clock: Clock
    ids: Ids
    directory: Directory
    plans: Mapping[str, Plan]
    windows: Windows
    catalogue: Catalogue
    prices: PriceList
    routes: RouteBook
    wallets: Wallets
    guards: Guards
    room: Room
    top_up_url: str
    reset_as_duration: bool = (
        False  # OpenAI's form of x-ratelimit-reset-requests instead of the Console seed's epoch.
    )
