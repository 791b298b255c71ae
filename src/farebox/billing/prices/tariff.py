"""The tariff: everything dated that decides what models sell for and cost, and which of it is in force when. Pure.

A *change* says one thing of one model (or of all that a shell pattern names) from a moment on: its sale price, its
markup, its cost, or what a currency is worth. A price and a markup are two ways of saying what a model sells for, so
each takes the other's place. Of several that could be in force the one of the highest layer is (file over database
over release), in a layer the last to start, of those that start together the one that names the model in full, and
then the one that was written last.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import IntEnum
from fnmatch import fnmatchcase
from typing import Literal

import msgspec

from farebox.core.rates import Rates

What = Literal["price", "markup", "cost", "fx"]
ALWAYS_US = 0  # The start of what has no date.


class Layer(IntEnum):
    """Who says it; a higher layer is believed over a lower one."""

    DATABASE = 1
    FILE = 2


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One dated change. `rates` are a price's or a cost's, `factor_nano` a markup's or what a currency is worth."""

    what: What
    target: str  # A model's id, a shell pattern over ids, or a currency.
    starts_us: int = ALWAYS_US
    layer: Layer = Layer.FILE
    rates: Rates | None = None
    factor_nano: int | None = None
    provider: str = ""  # Whose cost; nothing: everybody's.
    notice: bool = True  # An increase waits until customers were told in time.
    source: str = ""  # Who entered it, for people.

    @property
    def id(self) -> str:
        """A name made from what it says, so that the same row of a file is known again at the next start."""
        said = (self.what, self.target, self.starts_us, self.rates, self.factor_nano, self.provider)
        return hashlib.sha256(msgspec.json.encode(said)).hexdigest()[:16]

    def covers(self, model: str) -> bool:
        """Whether it is said of this model."""
        return self.target == model or fnmatchcase(model, self.target)


class Held(msgspec.Struct, frozen=True):
    """Models of which the file says a price, or a cost, without a date: there the database is not heard."""

    prices: frozenset[str] = frozenset()
    costs: frozenset[str] = frozenset()


class Tariff:
    """Every change there is, found by what it is said of."""

    def __init__(self, changes: Iterable[Change] = (), held: Held | None = None) -> None:
        self.changes = tuple(changes)
        self.held = held or Held()
        self._exact: dict[tuple[str, str], list[tuple[int, Change]]] = defaultdict(list)
        self._patterns: dict[str, list[tuple[int, Change]]] = defaultdict(list)
        for number, change in enumerate(self.changes):
            slot = _SLOTS[change.what]
            if slot != "fx" and any(sign in change.target for sign in "*?["):
                self._patterns[slot].append((number, change))
            else:
                self._exact[slot, change.target].append((number, change))

    def sale(self, model: str, at_us: int) -> Change | None:
        """The price or markup in force for a model."""
        return self._last("sale", model, at_us, held=model in self.held.prices)

    def cost(self, model: str, provider: str, at_us: int) -> Change | None:
        """The cost in force for a model at a provider."""
        return self._last("cost", model, at_us, held=model in self.held.costs, provider=provider)

    def rate_nano(self, currency: str, at_us: int) -> int | None:
        """What a currency is worth, where a change says so."""
        change = self._last("fx", currency, at_us, held=False)
        return None if change is None else change.factor_nano

    def starting(self, after_us: int, until_us: int) -> list[Change]:
        """The changes that start later than a moment and not later than another, in order."""
        found = [change for change in self.changes if after_us < change.starts_us <= until_us]
        return sorted(found, key=lambda change: change.starts_us)

    def _last(self, slot: str, name: str, at_us: int, *, held: bool, provider: str = "") -> Change | None:
        rows = self._exact.get((slot, name), ())
        patterns = self._patterns.get(slot)
        if not rows and not patterns:
            return None
        found = [
            (change.layer, change.starts_us, change.target == name, number, change)
            for number, change in (*rows, *(patterns or ()))
            if change.starts_us <= at_us
            and (change.layer is Layer.FILE or not held)
            and change.provider in {"", provider}
            and (change.target == name or fnmatchcase(name, change.target))
        ]
        return max(found, key=lambda row: row[:-1])[-1] if found else None


def write_moment(at_us: int) -> str:
    """A moment as customers and operators read it: RFC 3339, UTC, whole seconds."""
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).isoformat().replace("+00:00", "Z")


_SLOTS: dict[str, str] = {"price": "sale", "markup": "sale", "cost": "cost", "fx": "fx"}
