"""Showing settings: the effective ones as TOML, secrets hidden, each with where it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from farebox.config.lines import KeyPath, write_path
from farebox.config.settings import Settings
from farebox.config.values import Address, Secret
from farebox.core.money import write_nano
from farebox.core.rates import EACH_RATES, TOKEN_RATES, Rates, Tier

_HIDDEN: Final = "***"


def show_settings(settings: Settings) -> str:
    """The settings in force, readable as a configuration file but for its secrets."""
    tables = []
    for name in (
        *("server", "store", "wallet", "alerts", "email", "invoices", "payments"),
        *("providers", "models", "plans", "prices", "fx"),
    ):
        value = getattr(settings, name)
        if isinstance(value, tuple):
            rows = enumerate(value)
            tables += [_table(f"[[{name}]]", row, (name, index), settings.source) for index, row in rows]
        else:
            tables.append(_table(f"[{name}]", value, (name,), settings.source))
    return "\n".join(tables)


def write_value(value: object, *, nano: bool = False) -> str:
    """One setting as TOML; `nano` where its integers are amounts."""
    match value:
        case Address():
            return _quoted(value.shown)
        case Secret():
            return f'"{_HIDDEN}"'
        case bool():
            return "true" if value else "false"
        case int() if nano:
            return f'"{write_nano(value)}"'
        case str():
            return _quoted(value)
        case tuple():
            return f"[{', '.join(map(write_value, value))}]"
        case Mapping():
            return _inline((_key(key), write_value(member, nano=nano)) for key, member in value.items())
        case Rates():
            return _inline(_rate_members(value))
        case msgspec.Struct():
            return _inline(_members(value))
        case _:
            return str(value).removesuffix(".0")


def _table(header: str, struct: msgspec.Struct, path: KeyPath, source: Mapping[str, str]) -> str:
    lines = [header]
    for key, text in _members(struct):
        lines.append(f"{key} = {text}  # {source.get(write_path((*path, key)), 'default')}")
    return "\n".join(lines) + "\n"


def _members(struct: msgspec.Struct) -> Iterator[tuple[str, str]]:
    """Members as a file has them, without those that are not given."""
    for key, name in zip(struct.__struct_encode_fields__, struct.__struct_fields__, strict=True):
        if (value := getattr(struct, name)) is not None:
            yield key, write_value(value, nano=name.endswith("_nano"))


def _rate_members(rates: Rates) -> Iterator[tuple[str, str]]:
    yield "currency", _quoted(rates.currency)
    for name in (*TOKEN_RATES, *EACH_RATES):
        if (rate := getattr(rates, name)) is not None:
            yield name, write_value(rate, nano=True)
    if rates.images:
        yield "image", write_value(dict(rates.images), nano=True)
    if rates.tiers:
        yield "tiers", f"[{', '.join(_inline(_tier_members(tier)) for tier in rates.tiers)}]"


def _tier_members(tier: Tier) -> Iterator[tuple[str, str]]:
    yield "above_input_tokens", str(tier.above_input_tokens)
    for name in TOKEN_RATES:
        if (rate := getattr(tier, name)) is not None:
            yield name, write_value(rate, nano=True)


def _inline(members: Iterator[tuple[str, str]]) -> str:
    text = ", ".join(f"{key} = {value}" for key, value in members)
    return f"{{ {text} }}" if text else "{}"


def _key(name: str) -> str:
    return name if name.isidentifier() and name.isascii() else _quoted(name)


def _quoted(text: str) -> str:
    """A JSON string is a basic string of TOML but for DEL, which TOML wants escaped."""
    return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")
