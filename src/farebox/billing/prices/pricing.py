"""Pricing, pure: usage and rates → charge, receipt, hold. Integers only; one rounding a charge, upwards.

    charge = ⌈ Σ tokens · rate / 10⁶  +  Σ others · rate ⌉

Sums are kept in femto-units (10⁻¹⁵ of the currency): a rate in nano-units per million times a count is exactly that,
so nothing is rounded before the end, and a receipt's lines add up to the charge with one rounding line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from operator import attrgetter, mul
from typing import Final, Literal

import msgspec

from farebox.core.money import NANO, ceil_div
from farebox.core.rates import (
    EACH_RATES,
    INPUT_RATES,
    OUTPUT_RATES,
    PER_MILLION,
    TOKEN_RATES,
    Rates,
    Tier,
    image_rate,
    rates_at,
    sellable,
)
from farebox.core.usage import Usage

FEMTO: Final = PER_MILLION  # Femto-units in one nano-unit.
MAX_OUTPUT_TOKENS: Final = 2**31 - 1  # What `affordable_output` says of free output.

can_sell = sellable  # Pricing's word for it; the rule stands in core, where the catalogue reads it too.


class MediaUnits(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one call used beside tokens."""

    images: int = 0
    image: str = ""  # "size/quality" of each of them.
    audio_ms: int = 0  # Audio heard, in milliseconds.
    characters: int = 0  # Text spoken.


class PriceVersion(msgspec.Struct, frozen=True):
    """Rates as they stood once, under an id made from their content; immutable.

    The last three are the rates made ready for the path of a call: what each class of tokens comes to in the order of
    Usage's members, and the dearest token of either direction. They hold below the first tier.
    """

    id: str
    model: str
    rates: Rates
    by_class: tuple[int, ...]
    dearest_in: int
    dearest_out: int


class Line(msgspec.Struct, frozen=True):
    """One line of a receipt: `units` at `price_nano` for every `per` of them, exactly `amount_femto` (10⁻¹⁵)."""

    unit_class: str
    units: int
    price_nano: int
    per: int
    amount_femto: int


def version_of(kind: Literal["price", "cost"], model: str, rates: Rates) -> PriceVersion:
    """Name these rates by their content: equal rates of a model always carry the same id."""
    content = msgspec.json.encode(
        (kind, model, rates)
    )  # A struct's members are written in the order of the class.
    by_class = tuple(_RATE_OF[name](rates) for name in Usage.__struct_fields__)
    return PriceVersion(hashlib.sha256(content).hexdigest()[:16], model, rates, by_class, *_dearest(rates, 0))


def price_from_cost(cost: Rates, *, markup_nano: int, fx_nano: int, currency: str) -> Rates:
    """The sale price: cost · markup · exchange rate (both scaled by 10⁹), each rate rounded up once to a nano-unit."""
    assert markup_nano >= 0
    assert fx_nano >= 0
    factor = markup_nano * fx_nano

    def sold(rate: int) -> int:
        return ceil_div(rate * factor, NANO * NANO)

    def sold_of(rates: Rates | Tier, names: tuple[str, ...]) -> dict[str, int]:
        return {name: sold(rate) for name in names if (rate := getattr(rates, name)) is not None}

    return Rates(
        currency,
        images=tuple((variant, sold(rate)) for variant, rate in cost.images),
        tiers=tuple(Tier(tier.above_input_tokens, **sold_of(tier, TOKEN_RATES)) for tier in cost.tiers),
        **sold_of(cost, TOKEN_RATES + EACH_RATES),
    )


def charge_nano(usage: Usage, rates: Rates, media: MediaUnits | None = None) -> int:
    """What this usage comes to, in nano-units: exact, then rounded up once."""
    if rates.tiers:
        rates = rates_at(rates, usage.input_total)
    femto = 0
    for units_of, rate_of in _TOKEN_UNITS:
        if units := units_of(usage):
            femto += units * rate_of(rates)
    if media is not None:
        femto += sum(line.amount_femto for line in _media_lines(usage, rates, media))
    return -(-femto // FEMTO) + (rates.request or 0)


def charge_at(usage: Usage, version: PriceVersion) -> int:
    """The same as `charge_nano` of tokens at a version's rates, by what the version has made ready."""
    if version.rates.tiers:
        return charge_nano(usage, version.rates)
    femto: int = sum(map(mul, msgspec.structs.astuple(usage), version.by_class))
    return -(-femto // FEMTO) + (version.rates.request or 0)


def hold_at(input_tokens: int, output_tokens: int, version: PriceVersion) -> int:
    """The same as `hold_nano` of tokens at a version's rates."""
    if version.rates.tiers:
        return hold_nano(input_tokens, output_tokens, version.rates)
    femto = input_tokens * version.dearest_in + output_tokens * version.dearest_out
    return -(-femto // FEMTO) + (version.rates.request or 0)


def receipt_lines(usage: Usage, rates: Rates, media: MediaUnits | None = None) -> tuple[Line, ...]:
    """The charge line by line; the last line is the rounding, so that the amounts add up to `charge_nano` · 10⁶."""
    in_force = rates_at(rates, usage.input_total)
    lines = []
    for name, units_of, rate_of in _NAMED_TOKEN_UNITS:
        if units := units_of(usage):
            rate = rate_of(in_force)
            lines.append(Line(name, units, rate, PER_MILLION, units * rate))
    if media is not None:
        lines += _media_lines(usage, in_force, media)
    if in_force.request is not None:
        lines.append(_each("request", 1, in_force.request))
    rounding = charge_nano(usage, rates, media) * FEMTO - sum(line.amount_femto for line in lines)
    return (*lines, Line("rounding", 1, 0, 1, rounding))


def hold_nano(input_tokens: int, output_tokens: int, rates: Rates, media: MediaUnits | None = None) -> int:
    """The most that a call of at most so many tokens can come to: no charge within these bounds is ever above it.

    Every token is taken at the dearest rate it could have, in the dearest tier it could reach. For a model with a
    price each, `media` says how much of that is asked for at most; images are held by token and each, whichever
    the provider will report.
    """
    rate_in, rate_out = _dearest(rates, input_tokens)
    femto = input_tokens * rate_in + output_tokens * rate_out
    if media is not None:
        femto += sum(line.amount_femto for line in _media_lines(_NO_USAGE, rates, media))
    return ceil_div(femto, FEMTO) + (rates.request or 0)


def affordable_output(available_nano: int, input_tokens: int, rates: Rates) -> int:
    """The largest output in tokens whose hold fits what is available; 0 where not even the input does."""
    rate_in, rate_out = _dearest(rates, input_tokens)
    left_femto = (available_nano - (rates.request or 0)) * FEMTO - input_tokens * rate_in
    if left_femto < 0:
        return 0
    return min(left_femto // rate_out, MAX_OUTPUT_TOKENS) if rate_out else MAX_OUTPUT_TOKENS


def _dearest(rates: Rates, input_tokens: int) -> tuple[int, int]:
    """The dearest rates of an input and an output token in any tier that so much input, or less, may fall into."""
    reach: list[Rates | Tier] = [
        rates,
        *(tier for tier in rates.tiers if tier.above_input_tokens < input_tokens),
    ]
    return _dearest_of(reach, INPUT_RATES), _dearest_of(reach, OUTPUT_RATES)


def _dearest_of(tiers: list[Rates | Tier], names: tuple[str, ...]) -> int:
    return max(
        (rate for tier in tiers for name in names if (rate := getattr(tier, name)) is not None), default=0
    )


def _media_lines(usage: Usage, rates: Rates, media: MediaUnits) -> list[Line]:
    """What is priced each. Images are charged by their tokens where the provider reported those, else by the piece;
    audio heard by its seconds, text spoken by its characters, where there is such a rate.
    """
    lines = []
    by_tokens = usage.image_out > 0 and rates.image_out is not None
    if media.images and not by_tokens and (rate := image_rate(rates, media.image)) is not None:
        lines.append(_each("image", media.images, rate))
    if media.audio_ms and rates.second is not None:
        lines.append(
            Line("audio_ms", media.audio_ms, rates.second, 1000, media.audio_ms * rates.second * 1000)
        )
    if media.characters and rates.character is not None:
        lines.append(_each("character", media.characters, rates.character))
    return lines


def _each(unit_class: str, units: int, rate: int) -> Line:
    return Line(unit_class, units, rate, 1, units * rate * FEMTO)


def token_rate(rates: Rates, name: str) -> int | None:
    """The rate that tokens of a class are charged at, its own or the next one up; None where neither is priced."""
    return next((rate for up in _UPWARDS[name] if (rate := getattr(rates, up)) is not None), None)


def _falling_back(*names: str) -> Callable[[Rates], int]:
    """The rate of a class of tokens: the first priced of these, else 0 (`can_sell` refused what must have one)."""
    own, *others = names

    def rate_of(rates: Rates) -> int:
        rate: int | None = getattr(rates, own)
        if rate is None:
            rate = next((up for name in others if (up := getattr(rates, name)) is not None), 0)
        return rate

    return rate_of


_NO_USAGE: Final = Usage()
_CHAINS: Final = {
    "input_fresh": ("input",),
    "output_visible": ("output",),
    "cache_read": ("cache_read", "input"),
    "cache_write": ("cache_write", "input"),
    "cache_write_1h": ("cache_write_1h", "cache_write", "input"),
    "output_thought": ("thought", "output"),
    "audio_in": ("audio_in", "input"),
    "audio_out": ("audio_out", "output"),
    "image_in": ("image_in", "input"),
    "image_out": ("image_out", "output"),
}
_NAMED_TOKEN_UNITS: Final = tuple(
    (name, attrgetter(name), _falling_back(*chain)) for name, chain in _CHAINS.items()
)
_UPWARDS: Final = {chain[0]: chain for chain in _CHAINS.values()}
_RATE_OF: Final = {name: rate_of for name, _, rate_of in _NAMED_TOKEN_UNITS}
_TOKEN_UNITS: Final = tuple((units_of, rate_of) for _, units_of, rate_of in _NAMED_TOKEN_UNITS)
