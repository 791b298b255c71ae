"""A price list with its book on a real database and a clock that moves when told to, for the tests of prices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from farebox.billing.prices.book import Key, Period, list_periods
from farebox.billing.prices.pricelist import PriceList, Terms, Ware, Way, read_versions
from farebox.billing.prices.tariff import Change, Held, Layer, Tariff
from farebox.billing.prices.timetable import Timetable
from farebox.core.clock import ManualClock
from farebox.core.rates import Rates
from farebox.store.migrate import load_migrations, migrate
from farebox.store.sqlite import SqliteDatabase

DAY_S = 86_400
DAY_US = DAY_S * 1_000_000
COST = Rates("USD", input=100, output=200)
MODEL, OTHER = "acme/a", "acme/b"
WARES = tuple(Ware(model, "chat", COST, None, (Way("first", COST),)) for model in (MODEL, OTHER))


def markup(
    factor_nano: int,
    starts_us: int = 0,
    target: str = MODEL,
    *,
    layer: Layer = Layer.FILE,
    notice: bool = True,
    source: str = "",
) -> Change:
    """A change of a markup."""
    return Change(
        what="markup",
        target=target,
        starts_us=starts_us,
        layer=layer,
        factor_nano=factor_nano,
        notice=notice,
        source=source,
    )


def price(
    amount: int,
    starts_us: int = 0,
    target: str = MODEL,
    *,
    layer: Layer = Layer.FILE,
    notice: bool = True,
    source: str = "",
) -> Change:
    """A change to a price by hand."""
    return Change(
        what="price",
        target=target,
        starts_us=starts_us,
        layer=layer,
        rates=Rates("USD", input=amount, output=amount),
        notice=notice,
        source=source,
    )


class PriceShop:
    """A deployment's prices: `start` is a worker's start with these dated rows in its file."""

    def __init__(self, folder: Path) -> None:
        self.database = SqliteDatabase(folder / "farebox.db")
        migrate(self.database, load_migrations())
        self.clock = ManualClock()
        self.prices = PriceList(Terms("USD"))
        self.timetable: Timetable

    def start(
        self,
        file: Iterable[Change] = (),
        terms: Terms | None = None,
        plans: Mapping[str, int | None] | None = None,
        wares: Iterable[Ware] = WARES,
        notice_days: int = 7,
    ) -> None:
        self.prices = PriceList(terms or Terms("USD"), Tariff(file, Held()), wares)
        self.timetable = Timetable(
            self.database, self.prices, plans or {}, self.clock, notice_days=notice_days
        )
        self.timetable.open()
        self.turn()

    def turn(self) -> frozenset[str]:
        """Both duties once, as a worker's turn has them."""
        self.timetable.plan()
        return self.timetable.advance()

    def now(self, model: str = MODEL, markup_nano: int | None = None) -> int | None:
        """What a million tokens of input sell for."""
        return self.prices.price(model, COST, None, markup_nano).rates.input

    def periods(
        self, model: str = MODEL, kind: str = "price", scope: str = ""
    ) -> list[tuple[int, int | None]]:
        """The book's periods of a model, oldest first: when, and the rate of input (None: not sold)."""
        with self.database.read() as view:
            found: list[Period] = [
                period for period in list_periods(view, model) if period.key == Key(kind, model, scope)
            ]
            rates = read_versions(view, {period.version for period in found})
        return [
            (period.starts_us, rates[period.version].input if period.version else None)
            for period in reversed(found)
        ]
