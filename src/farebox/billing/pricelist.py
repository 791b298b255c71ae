"""The price list: for each model its sale price under each markup, and its cost, as immutable versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from farebox.billing.pricing import PriceVersion, price_from_cost, version_of
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

    def fx_of(self, currency: str) -> int:
        """What one unit of a cost's currency is worth. KeyError where the operator has not said."""
        return NANO if currency == self.currency else self.fx_nano[currency]


class PriceList:
    """Versions by model and markup, made once and remembered; new ones wait to be written down."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self._prices: dict[tuple[str, int], PriceVersion] = {}
        self._costs: dict[tuple[str, str], PriceVersion] = {}
        self._unsaved: list[tuple[str, PriceVersion]] = []

    def price(
        self, model: str, cost: Rates | None, by_hand: Rates | None, markup_nano: int | None
    ) -> PriceVersion:
        """What a customer pays for a model, under a plan's markup if it has one."""
        markup = self.terms.markup_nano if markup_nano is None else markup_nano
        known = self._prices.get((model, markup))
        if known is None:
            known = self._prices[model, markup] = version_of(
                "price", model, self._rates(cost, by_hand, markup)
            )
            self._unsaved.append(("price", known))
        return known

    def cost(self, model: str, provider: str, cost: Rates | None) -> PriceVersion:
        """What the operator pays a provider for a model."""
        known = self._costs.get((model, provider))
        if known is None:
            rates = cost or Rates(self.terms.currency, input=0, output=0)
            known = self._costs[model, provider] = version_of("cost", model, rates)
            self._unsaved.append(("cost", known))
        return known

    def save(self, work: Transaction, now_us: int) -> None:
        """Write down the versions that are not in the database yet."""
        rows = [
            (version.id, kind, version.model, msgspec.json.encode(version.rates).decode(), now_us)
            for kind, version in self._unsaved
        ]
        work.run_many(
            "INSERT INTO versions (id, kind, model, rates, made) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
            rows,
        )
        self._unsaved.clear()

    def _rates(self, cost: Rates | None, by_hand: Rates | None, markup_nano: int) -> Rates:
        if by_hand is not None:
            fx = self.terms.fx_of(by_hand.currency)
            return (
                by_hand
                if fx == NANO and by_hand.currency == self.terms.currency
                else _exchanged(by_hand, fx, self)
            )
        assert cost is not None
        fx = self.terms.fx_of(cost.currency)
        return price_from_cost(cost, markup_nano=markup_nano, fx_nano=fx, currency=self.terms.currency)


def _exchanged(by_hand: Rates, fx_nano: int, prices: PriceList) -> Rates:
    return price_from_cost(by_hand, markup_nano=NANO, fx_nano=fx_nano, currency=prices.terms.currency)


def read_versions(work: Transaction, ids: Iterable[str]) -> dict[str, Rates]:
    """The rates of versions by id, as they were."""
    found = {}
    for id_ in ids:
        row = work.one("SELECT rates FROM versions WHERE id = ?", id_)
        if row is not None:
            found[id_] = msgspec.json.decode(str(row[0]), type=Rates)
    return found
