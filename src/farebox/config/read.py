"""Reading settings: the file, the environment over it, defaults below it; whole and checked, or a ConfigError."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from farebox.config.environment import lay_over, with_keys, with_payment_keys, with_secrets
from farebox.config.explain import explain
from farebox.config.lines import KeyPath, key_lines
from farebox.config.origin import ConfigError, Origins
from farebox.config.rules import broken_rules
from farebox.config.settings import File, Known, Settings
from farebox.config.shape import read_texts
from farebox.core.money import check_currency
from farebox.core.rates import Rates, read_rates

# The first key of a start without any file has something to spend; a file that leaves it out means none.
ZERO_CONFIG: Final = {"wallet": {"starter_credit": "10"}}

# What tomllib gives: texts, numbers, dates, lists and tables, nested as the operator pleased.
Table = dict[str, Any]


def read_settings(file: Path | None, environment: Mapping[str, str], known: Known) -> Settings:
    """Settings from a TOML file (None: there is none) and the environment.

    ConfigError names the key path with its line or variable; it never repeats a secret.
    """
    text = "" if file is None else _read_text(file)
    document = msgspec.to_builtins(ZERO_CONFIG) if file is None else _read_toml(text, file)
    origins = Origins("" if file is None else str(file), key_lines(text))
    lay_over(document, environment, origins)
    _read_rate_tables(document, origins)
    try:
        content = msgspec.convert(read_texts(document, File, (), origins), File)
    except msgspec.ValidationError as problem:
        origins.refuse(*explain(str(problem)))
    for path, message in broken_rules(content, known):
        origins.refuse(path, message)
    return Settings(
        server=content.server,
        store=content.store,
        wallet=content.wallet,
        providers=with_keys(content.providers, environment, origins),
        models=content.models,
        plans=content.plans,
        alerts=with_secrets(content.alerts, "alerts", environment, origins),
        email=with_secrets(content.email, "email", environment, origins),
        invoices=content.invoices,
        payments=with_payment_keys(content.payments, environment, origins),
        prices=content.prices,
        fx=content.fx,
        from_file=file is not None,
        source=origins.written(),
    )


def _read_text(file: Path) -> str:
    try:
        return file.read_text("utf-8-sig")  # Some editors put a byte order mark first.
    except OSError as problem:
        raise ConfigError(problem.strerror or "cannot be read", file=str(file)) from problem
    except UnicodeDecodeError as problem:
        line = problem.object.count(b"\n", 0, problem.start) + 1
        raise ConfigError("is not text in UTF-8", file=str(file), line=line) from problem


def _read_toml(text: str, file: Path) -> Table:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        message, _, place = str(problem).partition(" (at ")
        found = re.match(r"line (\d+)", place)
        line = int(found[1]) if found else text.count("\n") + 1  # "(at end of document)"
        raise ConfigError(message, file=str(file), line=line) from problem


def _read_rate_tables(document: Table, origins: Origins) -> None:
    """Put Rates where cost and price tables stand; msgspec lets pass what is a struct already."""
    for path, holder in _rate_holders(document):
        key = str(path[-1])
        if isinstance(holder, dict) and isinstance(holder.get(key), dict):
            holder[key] = _read_rates(holder[key], path, origins)


def _rate_holders(document: Table) -> Iterator[tuple[KeyPath, object]]:
    """What may hold rates, with the path they would have; rows may still be anything."""
    for index, model in enumerate(_rows(document, "models")):
        yield ("models", index, "cost"), model
        yield ("models", index, "price"), model
        for place, route in enumerate(_rows(model, "routes")):
            yield ("models", index, "routes", place, "cost"), route
    for index, dated in enumerate(_rows(document, "prices")):
        yield ("prices", index, "price"), dated
        yield ("prices", index, "cost"), dated


def _rows(table: object, key: str) -> list[Any]:
    rows = table.get(key) if isinstance(table, dict) else None
    return rows if isinstance(rows, list) else []


def _read_rates(table: Table, path: KeyPath, origins: Origins) -> Rates:
    rates = {key: value for key, value in table.items() if key != "currency"}
    currency = table.get("currency")
    if not isinstance(currency, str):
        origins.refuse((*path, "currency"), 'is required, such as "USD"')
    try:
        check_currency(currency)
    except ValueError as problem:
        origins.refuse((*path, "currency"), str(problem))
    if not rates:
        origins.refuse(path, "gives no rate: write at least one, such as input and output")
    try:
        return read_rates(currency, **rates)
    except ValueError as problem:  # It opens with the member: "input: …", "tiers[0].output: …".
        member = next((key for key in rates if re.match(rf"{re.escape(key)}[:.[]", str(problem))), None)
        where = path if member is None else (*path, member)
        origins.refuse(where, str(problem).removeprefix(f"{member}: "))
