"""How operators are told: amounts are decimal texts, times are seconds since the epoch."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from farebox.api.admin.action import bad
from farebox.core.money import MAX_NANO, parse_nano, write_nano
from farebox.core.rates import EACH_RATES, TOKEN_RATES, Rates


def seconds(at_us: int | None) -> int | None:
    """A time, if there is one."""
    return None if at_us is None else at_us // 1_000_000


def read_nano(name: str, text: str, *, least: int = 0) -> int:
    """An amount that a caller said, in nano-units; Fault BAD_REQUEST names the member."""
    try:
        nano = parse_nano(text)
    except ValueError as error:
        raise bad(name, f"{name}: {error}.") from error
    if not least <= nano <= MAX_NANO:
        raise bad(name, f"{name} must be {write_nano(least)} or more.")
    return nano


def rates_words(rates: Rates | None) -> dict[str, object] | None:
    """Rates member by member, as a configuration file writes them."""
    if rates is None:
        return None
    words: dict[str, object] = {"currency": rates.currency} | _amounts(rates, (*TOKEN_RATES, *EACH_RATES))
    if rates.images:
        words["image"] = {variant or "default": write_nano(nano) for variant, nano in rates.images}
    if rates.tiers:
        words["tiers"] = [
            {"above_input_tokens": tier.above_input_tokens} | _amounts(tier, TOKEN_RATES)
            for tier in rates.tiers
        ]
    return words


def as_texts(value: object) -> object:
    """Words of a customer's surface with its exact numbers as texts, so that operators read one form everywhere."""
    if isinstance(value, msgspec.Raw):
        said = bytes(value)
        return said.decode() if said[:1].isdigit() or said[:1] == b"-" else value
    if isinstance(value, Mapping):
        return {name: as_texts(member) for name, member in value.items()}
    return [as_texts(member) for member in value] if isinstance(value, list) else value


def _amounts(rates: object, names: tuple[str, ...]) -> dict[str, object]:
    return {name: write_nano(nano) for name in names if (nano := getattr(rates, name)) is not None}
