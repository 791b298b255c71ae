"""What the environment says: settings as `FAREBOX_SECTION__KEY`, and the keys that a file names as `$NAME`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeVar, get_args, get_origin

import msgspec

from farebox.config.explain import no_such
from farebox.config.lines import KeyPath
from farebox.config.origin import ConfigError, Origins
from farebox.config.settings import File, Payments, Provider
from farebox.config.shape import find_reader, is_struct, members
from farebox.config.values import Secret, read_secret

PREFIX: Final = "FAREBOX_"
Section = TypeVar("Section", bound=msgspec.Struct)
_REFERENCE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")


def section_keys() -> dict[tuple[str, str], Any]:
    """`(section, key)` → type, for all that a variable may set."""
    return {
        (section, key): kind
        for section, struct in members(File).items()
        if is_struct(struct)
        for key, kind in members(struct).items()
    }


def variable_for(section: str, key: str) -> str:
    """The variable that sets one key of a section."""
    return f"{PREFIX}{section}__{key}".upper()


def lay_over(document: dict[str, Any], environment: Mapping[str, str], origins: Origins) -> None:
    """Put the settings of the environment over those of the document; an empty variable says nothing."""
    known = {variable_for(*path): path for path in section_keys()}
    for variable in sorted(environment):
        # One underscore alone is no setting: FAREBOX_SECRET, FAREBOX_ADMIN_LINK.
        if not variable.startswith(PREFIX) or "__" not in variable.removeprefix(PREFIX):
            continue
        if variable not in known:
            raise ConfigError(no_such(variable.upper(), list(known)), path=variable)
        section, key = path = known[variable]
        table = document.setdefault(section, {})
        # What is no table in the file is refused for that, later.
        if environment[variable] != "" and isinstance(table, dict):
            table[key] = _from_variable(environment[variable], section_keys()[path])
            origins.came_from(variable, path)


def with_keys(
    providers: tuple[Provider, ...], environment: Mapping[str, str], origins: Origins
) -> tuple[Provider, ...]:
    """Replace every `$NAME` of a provider's key and headers by what the environment holds."""
    found = []
    for index, provider in enumerate(providers):
        path: KeyPath = ("providers", index)
        secrets = {(*path, "headers", name): value for name, value in provider.headers.items()}
        if provider.api_key is not None:
            secrets[*path, "api_key"] = provider.api_key
        values: dict[KeyPath, Secret] = {}
        for where, secret in secrets.items():
            try:
                values[where] = _looked_up(secret, environment)
            except ValueError as problem:
                origins.refuse(where, f"provider {provider.name}: {problem}")
        headers = {name: values[*path, "headers", name] for name in provider.headers}
        key = values.get((*path, "api_key")) or None
        found.append(msgspec.structs.replace(provider, api_key=key, headers=headers))
    return tuple(found)


def with_payment_keys(payments: Payments, environment: Mapping[str, str], origins: Origins) -> Payments:
    """Replace every `$NAME` of a processor's secrets by what the environment holds."""
    stripe = with_secrets(payments.stripe, "stripe", environment, origins, below=("payments",))
    razorpay = with_secrets(payments.razorpay, "razorpay", environment, origins, below=("payments",))
    return msgspec.structs.replace(payments, stripe=stripe, razorpay=razorpay)


def with_secrets(
    section: Section,
    name: str,
    environment: Mapping[str, str],
    origins: Origins,
    *,
    below: KeyPath = (),
) -> Section:
    """Replace every `$NAME` of a section's secrets by what the environment holds."""
    found = {}
    for key in section.__struct_fields__:
        value = getattr(section, key)
        if isinstance(value, Secret):
            try:
                found[key] = _looked_up(value, environment)
            except ValueError as problem:
                origins.refuse((*below, name, key), str(problem))
    return msgspec.structs.replace(section, **found)


def _from_variable(text: str, kind: Any) -> object:
    """Text and amounts stand without quotes in a variable; numbers, lists and tables are written as in TOML."""
    plain = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if plain is str or get_origin(plain) is Literal or find_reader(kind) is not None:
        return text
    try:
        document = tomllib.loads(f"value = {text.strip()}")
    except tomllib.TOMLDecodeError:
        return text  # Which is then refused, as text where another type is expected.
    return document["value"] if len(document) == 1 else text


def _looked_up(secret: Secret, environment: Mapping[str, str]) -> Secret:
    """What a secret stands for; ValueError names the variable, never what it holds."""
    if not secret.startswith("$"):
        return secret
    reference = _REFERENCE.fullmatch(secret)
    if reference is None:
        raise ValueError("write $NAME to name an environment variable: letters, digits and underscores")
    name = reference[1]
    try:
        value = read_secret(environment.get(name, ""))
    except ValueError as problem:
        raise ValueError(f"the environment variable {name} {problem}") from None
    if not value:
        raise ValueError(f"the environment variable {name} is not set")
    return value
