"""Models over HTTP: what each sells for and what each of its routes costs, side by side."""

from __future__ import annotations

from farebox.api.admin.action import Action, Ask, Page, Said, Words, list_words, number_cursor, reading
from farebox.api.admin.shop import Shop
from farebox.api.admin.words import rates_words
from farebox.core.errors import Fault, Kind
from farebox.providers.listing import Listing
from farebox.store.database import Transaction


def model_actions(shop: Shop) -> list[Action]:
    """The rows of the table."""
    models = _Models(shop)
    return [reading("models", Page, models.list), reading("models/{model...}", Said, models.get)]


class _Models:
    def __init__(self, shop: Shop) -> None:
        self._house = shop.house

    def list(self, ask: Ask, said: Page, view: Transaction) -> Words:
        del ask, view
        listings = self._house.catalogue.listings
        begin = number_cursor(said.cursor, 0)
        shown = listings[begin : begin + said.limit]
        end = begin + len(shown)
        return list_words([self._words(one) for one in shown], str(end) if end < len(listings) else None)

    def get(self, ask: Ask, said: Said, view: Transaction) -> Words:
        del said, view
        listing = self._house.catalogue.find(ask.names["model"])
        if listing is None:
            raise Fault(Kind.MODEL_NOT_FOUND, "No such model is for sale here.", param="model")
        return self._words(listing)

    def _words(self, listing: Listing) -> Words:
        prices = self._house.prices
        price = prices.price(listing.id, listing.cost, listing.price, None)
        routes = []
        for way in listing.routes:
            cost = prices.cost(listing.id, way.provider, way.cost or listing.cost)
            routes.append(
                {
                    "provider": way.provider,
                    "model": way.model,
                    "order": way.order,
                    "weight": way.weight,
                    "cost": rates_words(cost.rates),
                    "cost_version": cost.id,
                }
            )
        return {
            "id": listing.id,
            "object": "model",
            "name": listing.name,
            "kind": listing.kind,
            "for_sale": self._house.routes.sells(listing, None),
            "context_window": listing.context_window,
            "max_output": listing.max_output,
            "aliases": list(listing.aliases),
            "price": rates_words(price.rates),
            "price_version": price.id,
            "routes": routes,
        }
