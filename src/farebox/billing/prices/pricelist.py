"""The price list: for each model its sale price under each markup, and its cost, as immutable versions.

It stands at a moment. What is in force then has been made once and is found by a dictionary; nothing here looks at a
clock. When a change is due, `stand` moves the list on by what was made ready beforehand (`billing.timetable`).

What a model sells for is said, the first that says anything first: a price by hand or a dated one, the model's own
markup, the plan's, the markup of the provider its first route goes to, the wallet's. The first route, so that a
customer sees one price whoever serves the call.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Literal

import msgspec

from farebox.billing.prices.margin import Guard, floor_of, raised, shortfalls
from farebox.billing.prices.pricing import PriceVersion, price_from_cost, version_of
from farebox.billing.prices.tariff import Tariff
from farebox.core.money import NANO
from farebox.core.rates import Rates
from farebox.store.database import Transaction


class Terms(msgspec.Struct, frozen=True):
    """How prices are made from costs."""

    currency: str
    markup_nano: int = NANO
    fx_nano: Mapping[str, int] = msgspec.field(
        default_factory=dict
    )  # One unit of a currency in the wallet's.
    provider_markup_nano: Mapping[str, int] = msgspec.field(default_factory=dict)
    guard: Guard = Guard()

    def fx_of(self, currency: str) -> int:
        """What one unit of a cost's currency is worth. KeyError where the operator has not said."""
        return NANO if currency == self.currency else self.fx_nano[currency]


class Way(msgspec.Struct, frozen=True):
    """One way to a model: whom it is bought from, at which cost without any dated change."""

    provider: str
    cost: Rates | None


class Ware(msgspec.Struct, frozen=True):
    """A model that is for sale, as the price list knows it; `ways` in the order they are tried."""

    model: str
    kind: str
    cost: Rates | None
    by_hand: Rates | None
    ways: tuple[Way, ...]


class Coming(msgspec.Struct, frozen=True):
    """A price that will be in force from a moment on."""

    starts_us: int
    version: PriceVersion


Prices = dict[tuple[str, int | None], PriceVersion]
Costs = dict[tuple[str, str, Rates | None], PriceVersion]


class Standing(msgspec.Struct, frozen=True):
    """Everything in force at a moment, ready to be stood at."""

    at_us: int
    tariff: Tariff
    prices: Prices
    costs: Costs
    touched: frozenset[str]  # The models in which it differs from what stood before.


class PriceList:
    """Versions by model and markup, made once and remembered; new ones wait to be written down."""

    def __init__(
        self, terms: Terms, tariff: Tariff | None = None, wares: Iterable[Ware] = (), *, at_us: int = 0
    ) -> None:
        self.terms = terms
        self.tariff = tariff or Tariff()
        self.at_us = at_us
        self.coming: Mapping[tuple[str, int | None], tuple[Coming, ...]] = {}
        self.wares = {ware.model: ware for ware in wares}
        self._prices: Prices = {}
        self._costs: Costs = {}
        self._unsaved: list[tuple[str, PriceVersion]] = []

    def price(
        self, model: str, cost: Rates | None, by_hand: Rates | None, markup_nano: int | None
    ) -> PriceVersion:
        """What a customer pays for a model, under a plan's markup if it has one."""
        known = self._prices.get((model, markup_nano))
        if known is None:
            ware = self.wares.get(model) or Ware(model, "", cost, by_hand, ())
            rates = self.price_at(ware, markup_nano, self.tariff, self.at_us)
            known = self._prices[model, markup_nano] = self._made("price", model, rates)
        return known

    def cost(self, model: str, provider: str, cost: Rates | None) -> PriceVersion:
        """What the operator pays a provider for a model."""
        known = self._costs.get((model, provider, cost))
        if known is None:
            rates = self.cost_at(model, Way(provider, cost), self.tariff, self.at_us)
            known = self._costs[model, provider, cost] = self._made("cost", model, rates)
        return known

    def price_at(self, ware: Ware, markup_nano: int | None, tariff: Tariff, at_us: int) -> Rates:
        """What a model sells for at a moment of a tariff. KeyError where a currency has no rate."""
        rates = self._sale(ware, markup_nano, tariff, at_us)
        if self.terms.guard.reprices:
            rates = raised(rates, (self._floor(ware.model, way, tariff, at_us) for way in ware.ways))
        return rates

    def cost_at(self, model: str, way: Way, tariff: Tariff, at_us: int) -> Rates:
        """What a provider asks for a model at a moment of a tariff; a model without a cost costs nothing."""
        dated = tariff.cost(model, way.provider, at_us)
        rates = way.cost if dated is None else dated.rates
        return rates or Rates(self.terms.currency, input=0, output=0)

    def floor(self, cost: Rates) -> Rates:
        """The lowest price the margin guard allows for a cost, at this moment."""
        return self._floor_of(cost, self.tariff, self.at_us)

    def low(self, markups: Collection[int | None]) -> list[str]:
        """The models whose price, before the margin guard raised it, is below what one of their routes asks for now.

        Where nothing is guarded, those that sell below cost.
        """
        factor = self.terms.guard.factor_nano or NANO
        found = []
        for ware in self.wares.values():
            costs = {self.cost_at(ware.model, way, self.tariff, self.at_us) for way in ware.ways}
            sales = [self._sale(ware, markup, self.tariff, self.at_us) for markup in markups]
            floors = [self._floor_of(cost, self.tariff, self.at_us, factor) for cost in costs]
            if any(any(shortfalls(sale, floor)) for sale in sales for floor in floors):
                found.append(ware.model)
        return found

    def stand(self, standing: Standing) -> None:
        """Move on to a moment, with what is in force then."""
        self.at_us, self.tariff = standing.at_us, standing.tariff
        self._prices, self._costs = standing.prices, standing.costs

    def standing(
        self,
        tariff: Tariff,
        at_us: int,
        *,
        touched: Iterable[str],
        markups: Collection[int | None],
        base: Standing | None = None,
    ) -> Standing:
        """What is in force at another moment, where only the models `touched` differ from the base, or from now.

        Made in a thread while the list stands: it changes nothing but what waits to be saved.
        """
        models = frozenset(touched)
        prices = (self._prices if base is None else base.prices).copy()
        costs = (self._costs if base is None else base.costs).copy()
        for ware in map(self.wares.__getitem__, models):
            for markup_nano in markups:
                rates = self.price_at(ware, markup_nano, tariff, at_us)
                prices[ware.model, markup_nano] = self._made("price", ware.model, rates)
            for way in ware.ways:
                rates = self.cost_at(ware.model, way, tariff, at_us)
                costs[ware.model, way.provider, way.cost] = self._made("cost", ware.model, rates)
        return Standing(at_us, tariff, prices, costs, models)

    def save(self, work: Transaction, now_us: int) -> None:
        """Write down the versions that are not in the database yet."""
        unsaved, self._unsaved = self._unsaved, []
        rows = [
            (version.id, kind, version.model, msgspec.json.encode(version.rates).decode(), now_us)
            for kind, version in unsaved
        ]
        try:
            work.run_many(
                "INSERT INTO versions (id, kind, model, rates, made) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (id) DO NOTHING",
                rows,
            )
        except BaseException:
            self._unsaved += unsaved
            raise

    def fx_at(self, currency: str, tariff: Tariff, at_us: int) -> int:
        """What one unit of a currency is worth at a moment. KeyError where the operator has not said."""
        dated = tariff.rate_nano(currency, at_us) if currency != self.terms.currency else None
        return self.terms.fx_of(currency) if dated is None else dated

    def _made(self, kind: Literal["price", "cost"], model: str, rates: Rates) -> PriceVersion:
        version = version_of(kind, model, rates)
        self._unsaved.append((kind, version))
        return version

    def _floor(self, model: str, way: Way, tariff: Tariff, at_us: int) -> Rates:
        return self._floor_of(self.cost_at(model, way, tariff, at_us), tariff, at_us)

    def _floor_of(self, cost: Rates, tariff: Tariff, at_us: int, factor_nano: int | None = None) -> Rates:
        factor = self.terms.guard.factor_nano if factor_nano is None else factor_nano
        fx = self.fx_at(cost.currency, tariff, at_us)
        return floor_of(cost, factor_nano=factor, fx_nano=fx, currency=self.terms.currency)

    def _sale(self, ware: Ware, markup_nano: int | None, tariff: Tariff, at_us: int) -> Rates:
        said = tariff.sale(ware.model, at_us)
        by_hand = ware.by_hand if said is None else said.rates
        if by_hand is not None:
            fx = self.fx_at(by_hand.currency, tariff, at_us)
            if by_hand.currency == self.terms.currency and fx == NANO:
                return by_hand
            return price_from_cost(by_hand, markup_nano=NANO, fx_nano=fx, currency=self.terms.currency)
        seller = ware.ways[0].provider if ware.ways else ""
        dated = tariff.cost(ware.model, seller, at_us)
        cost = ware.cost if dated is None else dated.rates
        assert cost is not None
        fx = self.fx_at(cost.currency, tariff, at_us)
        own = None if said is None else said.factor_nano
        said_of = (own, markup_nano, self.terms.provider_markup_nano.get(seller))
        markup = next((factor for factor in said_of if factor is not None), self.terms.markup_nano)
        return price_from_cost(cost, markup_nano=markup, fx_nano=fx, currency=self.terms.currency)


def read_versions(work: Transaction, ids: Iterable[str]) -> dict[str, Rates]:
    """The rates of versions by id, as they were."""
    found = {}
    for id_ in ids:
        row = work.one("SELECT rates FROM versions WHERE id = ?", id_)
        if row is not None:
            found[id_] = msgspec.json.decode(str(row[0]), type=Rates)
    return found
