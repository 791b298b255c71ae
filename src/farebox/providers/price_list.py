"""The price list that a release is made from: the data of `genai-prices`, read offline, as plain rows.

Only the import of the catalogue reads it, on a developer's machine: it is a development dependency, it needs a
validation library, and it prices silently at 0 what it does not know. So a model is taken over only if every unit it
is billed in is one that we meter.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time
from decimal import ROUND_CEILING, Decimal
from types import ModuleType
from typing import Any, Final

import msgspec

from farebox.core.money import NANO
from farebox.core.rates import Rates, Tier

_TOKENS: Final = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_reasoning_mtok": "thought",
    "input_audio_mtok": "audio_in",
    "output_audio_mtok": "audio_out",
    "input_image_mtok": "image_in",
    "output_image_mtok": "image_out",
}
# Our rate, and how many of our units the list's price is for.
_EACH: Final = {
    "input_mchars": ("character", 1_000_000),
    "input_audio_hours": ("second", 3600),
    "audio_hours": ("second", 3600),
    "requests_kcount": ("request", 1000),
}
# Billed only for what the gateway refuses (hosted tools) or does not send (video); cached media counts as cached text.
_HARMLESS: Final = frozenset(
    {"web_searches_kcount", "storage_searches_kcount", "cache_audio_read_mtok", "cache_image_read_mtok"}
    | {"input_video_mtok"}
)


class NoPriceListError(RuntimeError):
    """The development dependency with the prices is not installed."""


class Unmetered(ValueError):  # noqa: N818 -- a reason, reported as such
    """The list bills this model in units that we do not meter."""


class Sold(msgspec.Struct, frozen=True):
    """One model as one provider sells it."""

    provider: str
    model: str  # The list's name of it.
    names: tuple[
        str, ...
    ]  # Further exact names that are billed alike, in the list's order; not all are the same model.
    title: str | None
    context_window: int | None
    deprecated: bool
    cost: Rates | None  # In US dollars; None where the list has no price.
    unmetered: str | None = None  # Why it has none, if it is billed by something else.


def read_price_list(on: date) -> Iterator[Sold]:
    """Every model of every provider with the prices in force on that day. NoPriceListError says what to install."""
    for provider in _load().providers:
        for model in provider.models:
            cost, unmetered = None, None
            try:
                cost = _cost(model, on)
            except Unmetered as problem:
                unmetered = str(problem)
            yield Sold(
                provider=provider.id,
                model=model.id,
                names=tuple(_callable_names(model)),
                title=model.name,
                context_window=model.context_window,
                deprecated=bool(model.deprecated),
                cost=cost,
                unmetered=unmetered,
            )


def _load() -> ModuleType:
    try:
        # Not an import statement: nothing that ships may depend on a development dependency.
        return importlib.import_module("genai_prices.data")
    except ModuleNotFoundError as missing:
        raise NoPriceListError(
            "the prices are not here: install the development dependency genai-prices"
        ) from missing


# Any from here on: the list's classes are known at run time alone, by the import above.
def _callable_names(model: Any) -> Iterator[str]:
    if model.is_match(model.id):  # Otherwise the id is the list's own word for a family.
        yield model.id
    yield from _exact_names(model.match)


def _exact_names(match: Any) -> Iterator[str]:
    """The names that a rule gives in full; prefixes and patterns name no model that could be called."""
    if hasattr(match, "equals"):
        yield match.equals
    for clause in getattr(match, "or_", ()):
        yield from _exact_names(clause)


def _cost(model: Any, on: date) -> Rates | None:
    """The cost in force on a day: the dearest hour of it, since a discount by the clock is not passed on."""
    hours = [datetime.combine(on, time(hour), UTC) for hour in range(24)]
    at_hours = [vars(model.get_prices(hour)) for hour in hours]
    prices = max(at_hours, key=lambda at: _base(at.get("input_mtok")) + _base(at.get("output_mtok")))
    return _rates({name: price for name, price in prices.items() if price is not None})


def _rates(prices: Mapping[str, Any]) -> Rates | None:
    unknown = sorted(
        name for name in prices if name not in _TOKENS and name not in _EACH and name not in _HARMLESS
    )
    if unknown:
        raise Unmetered(f"billed by {', '.join(unknown)}")
    tokens = {ours: prices[name] for name, ours in _TOKENS.items() if name in prices}
    each = {
        ours: _nano(_base(prices[name]) / count)
        for name, (ours, count) in _EACH.items()
        if prices.get(name) is not None
    }
    if tokens and "second" in each:
        raise Unmetered("billed by seconds beside tokens")
    if not tokens and not each:
        return None
    base = {ours: _nano(_base(price)) for ours, price in tokens.items()}
    return Rates("USD", images=(), tiers=_tiers(tokens), **base, **each)


def _tiers(tokens: Mapping[str, Any]) -> tuple[Tier, ...]:
    """Whole tiers: at each threshold of any class, the rate of every class that differs from its base."""
    starts = sorted({step.start for price in tokens.values() for step in getattr(price, "tiers", ())})
    return tuple(
        Tier(
            start,
            **{
                ours: rate
                for ours, price in tokens.items()
                if (rate := _at(price, start)) != _nano(_base(price))
            },
        )
        for start in starts
    )


def _at(price: Any, start: int) -> int:
    """The rate for an input of more than `start` tokens."""
    reached = [step.price for step in getattr(price, "tiers", ()) if step.start <= start]
    return _nano(reached[-1] if reached else _base(price))


def _base(price: Any) -> Decimal:
    if price is None:
        return Decimal(0)
    base: Decimal = getattr(price, "base", price)
    return base


def _nano(dollars: Decimal) -> int:
    """Nano-dollars, rounded up: some prices are floats' shadows such as 0.08333333333333334."""
    return int((dollars * NANO).to_integral_value(ROUND_CEILING))
