"""Providers as data: a compatible provider is a row of `release/providers.json`, not code."""

from __future__ import annotations

from importlib.resources import files

import msgspec

from farebox.providers.quirks import QuirkRow


class ProviderRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of one provider before any operator configures it."""

    name: str
    base_url: str  # Without a trailing slash.
    dialect: str = "openai_chat"
    key_variable: str | None = (
        None  # The environment variable its own clients read; None where no key is needed.
    )
    auth_header: str | None = None  # Where it wants the key; None: where its dialect says.
    # The variable that holds the operator's own address with this provider, which takes the place of the origin.
    base_variable: str | None = None
    # Whose models it sells as well, at their maker's cost and under their maker's names.
    resells: str | None = None
    local: bool = False  # An engine on this machine, found by its answering; costs nothing.
    port: int | None = None  # Where a local engine listens unless told otherwise.
    stream_usage: bool = True  # Takes `stream_options.include_usage`; the others report usage unasked.
    # Whether hanging up ends the billing; where it does not, the gateway drains for the usage instead. Known from
    # what OpenRouter's page on streaming says of each provider under "Stream Cancellation"; true where it is silent.
    cancel_stops_billing: bool = True
    takes_marks: bool = False  # Keeps in its cache what the prompt marks by `cache_control`.
    quirks: tuple[QuirkRow, ...] = ()  # What it wants otherwise than its dialect has it.


def load_providers() -> tuple[ProviderRow, ...]:
    """The providers of this release, in the order of the file."""
    data = (files("farebox.providers") / "release" / "providers.json").read_bytes()
    return msgspec.json.decode(data, type=tuple[ProviderRow, ...])
