"""Rates: what the units of one model cost or sell for, in integer nano-units, and how an unpriced unit falls back.

A rate of tokens is nano-units per million of them, so that $0.15 per million is 150_000_000; every other rate is
nano-units each. `None` means "not priced", which is never the same as 0: 0 is free on purpose (a local engine).

A class of tokens without a rate of its own takes the next one up its chain, always towards the whole:

    cache_write_1h → cache_write → input     cache_read, audio_in, image_in → input
    thought, audio_out, image_out → output

A tier replaces the rates it names once the call's whole input is above its threshold, for all tokens of the call,
which is how Google and Anthropic bill long contexts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

import msgspec

from farebox.core.money import check_currency, parse_nano

PER_MILLION: Final = 1_000_000
CHAT, IMAGE, SPEECH, TRANSCRIPTION, EMBEDDING = KINDS = (
    "chat",
    "image",
    "speech",
    "transcription",
    "embedding",
)


class Tier(msgspec.Struct, frozen=True, omit_defaults=True):
    """Rates of tokens that replace the base ones when the whole input is more than `above_input_tokens`."""

    above_input_tokens: int
    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    thought: int | None = None
    audio_in: int | None = None
    audio_out: int | None = None
    image_in: int | None = None
    image_out: int | None = None


class Rates(msgspec.Struct, frozen=True, omit_defaults=True):
    """The rates of one model in one currency; a cost or a price, as the holder says."""

    currency: str
    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None  # Kept five minutes.
    cache_write_1h: int | None = None
    thought: int | None = None
    audio_in: int | None = None
    audio_out: int | None = None
    image_in: int | None = None
    image_out: int | None = None
    second: int | None = None  # Of audio heard.
    character: int | None = None  # Of text spoken.
    request: int | None = None  # Once a call, beside everything else.
    images: tuple[tuple[str, int], ...] = ()  # By "size/quality", "size" or "/quality"; "" is any other.
    tiers: tuple[Tier, ...] = ()  # By rising threshold.


TOKEN_RATES: Final = Tier.__struct_fields__[1:]
EACH_RATES: Final = ("second", "character", "request")
INPUT_RATES: Final = ("input", "cache_read", "cache_write", "cache_write_1h", "audio_in", "image_in")
OUTPUT_RATES: Final = ("output", "thought", "audio_out", "image_out")


def rates_at(rates: Rates, input_tokens: int) -> Rates:
    """The rates in force for a call of so many input tokens: the highest tier passed, laid over the base."""
    passed = None
    for tier in rates.tiers:
        if input_tokens <= tier.above_input_tokens:
            break
        passed = tier
    if passed is None:
        return rates
    named = {name: rate for name in TOKEN_RATES if (rate := getattr(passed, name)) is not None}
    return msgspec.structs.replace(rates, tiers=(), **named)


def image_rate(rates: Rates, variant: str) -> int | None:
    """The rate of one image of a "size/quality": by both, by size, by quality, by "", else the dearest there is.

    A variant nobody priced must not become the cheapest one, hence the dearest.
    """
    if not rates.images:
        return None
    table = dict(rates.images)
    size, _, quality = variant.partition("/")
    for key in (variant, size, f"/{quality}", ""):
        if key in table:
            return table[key]
    return max(table.values())


def sellable(kind: str, rates: Rates) -> bool:
    """Whether these rates price what a model of this kind delivers. Free (0) is a price, absent is not.

    A whole kind without a price is refused before dispatch; only subclasses of tokens may fall back.
    """
    tokens = rates.input is not None and rates.output is not None
    match kind:
        case "chat":
            return tokens
        case "image":
            return bool(rates.images) or rates.image_out is not None
        case "speech":
            return rates.character is not None or rates.audio_out is not None
        case "transcription":
            return rates.second is not None or tokens
        case "embedding":
            return rates.input is not None
        case _:
            return False


def read_rates(currency: str, **members: object) -> Rates:
    """Rates from what a person writes: decimal strings, per million tokens or each, as in the configuration.

    `image` is one amount or a table by "size/quality"; `tiers` is a list of tables, each with `above_input_tokens`.
    ValueError names the member.
    """
    amounts: dict[str, int] = {}
    images: tuple[tuple[str, int], ...] = ()
    tiers: tuple[Tier, ...] = ()
    for name, value in members.items():
        if name == "image":
            images = _read_images(value)
        elif name == "tiers":
            tiers = _read_tiers(value)
        elif name in TOKEN_RATES or name in EACH_RATES:
            amounts[name] = _read_amount(name, value)
        else:
            raise ValueError(
                f"{name}: no such rate; there are {', '.join(TOKEN_RATES + EACH_RATES)}, image and tiers"
            )
    if not amounts and not images:
        raise ValueError("no rate is given: write at least one, such as input and output")
    return Rates(check_currency(currency), images=images, tiers=tiers, **amounts)


def _read_amount(name: str, value: object) -> int:
    if not isinstance(value, str):
        raise ValueError(f'{name}: write a string such as "0.15"')  # noqa: TRY004 -- a fault of the text read
    try:
        amount = parse_nano(value)
    except ValueError as problem:
        raise ValueError(f"{name}: {problem}") from None
    if amount < 0:
        raise ValueError(f"{name}: {value!r} is below zero")
    return amount


def _read_images(value: object) -> tuple[tuple[str, int], ...]:
    if not isinstance(value, Mapping):
        return (("", _read_amount("image", value)),)
    return tuple(sorted((str(key), _read_amount(f"image.{key}", amount)) for key, amount in value.items()))


def _read_tiers(value: object) -> tuple[Tier, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError("tiers: write a list of tables")  # noqa: TRY004 -- a fault of the text read
    tiers = [_read_tier(f"tiers[{index}]", row) for index, row in enumerate(value)]
    thresholds = [tier.above_input_tokens for tier in tiers]
    if thresholds != sorted(set(thresholds)):
        raise ValueError("tiers: above_input_tokens must rise from tier to tier")
    return tuple(tiers)


def _read_tier(name: str, row: object) -> Tier:
    if not isinstance(row, Mapping) or type(row.get("above_input_tokens")) is not int:
        raise ValueError(f"{name}.above_input_tokens: write a whole number of tokens")
    threshold = cast("int", row["above_input_tokens"])
    if threshold < 0:
        raise ValueError(f"{name}.above_input_tokens: {threshold} is below zero")
    unknown = [key for key in row if key not in TOKEN_RATES and key != "above_input_tokens"]
    if unknown:
        raise ValueError(f"{name}.{unknown[0]}: no such rate of tokens")
    amounts = {key: _read_amount(f"{name}.{key}", row[key]) for key in row if key in TOKEN_RATES}
    return Tier(threshold, **amounts)
