"""The stock: which providers can be reached and which models can be sold, from settings or by discovery."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import TypeVar

import msgspec

from farebox.config.origin import ConfigError
from farebox.config.settings import Model, Settings
from farebox.config.settings import Provider as ProviderSettings
from farebox.core.clock import SystemClock
from farebox.core.rates import Rates
from farebox.dialects import DIALECTS
from farebox.dialects.dialect import Dialect
from farebox.gateway.call import Provider
from farebox.providers.catalogue import SANDBOX, Catalogue, build_catalogue, with_resellers
from farebox.providers.discovery import FoundEngine, FoundKey, discover_by_key, discover_local
from farebox.providers.http1.client import HttpUpstream
from farebox.providers.http1.proxy import read_proxies
from farebox.providers.listing import Listing, RouteRow, load_release
from farebox.providers.quirks import QuirkRow
from farebox.providers.rows import ProviderRow, load_providers
from farebox.providers.sandbox.upstream import Sandbox
from farebox.providers.upstream import Endpoint, TimeLimits, Upstream

Option = TypeVar("Option")
_VERSION = "/v1"
SANDBOX_DELAY_S = 0.01  # Between two chunks, so that a stream looks alive.


class Found(msgspec.Struct, frozen=True):
    """What a start without a configuration file found by itself."""

    keys: tuple[FoundKey, ...] = ()
    engines: tuple[FoundEngine, ...] = ()


class Stock(msgspec.Struct, frozen=True):
    """Providers and models."""

    catalogue: Catalogue
    providers: Mapping[str, Provider]
    upstreams: tuple[Upstream, ...]
    sandbox: bool


async def discover(settings: Settings, environment: Mapping[str, str]) -> Found:
    """Look around, unless a configuration file says what there is."""
    if settings.from_file:
        return Found()
    rows = load_providers()
    local = is_loopback(settings.server.host)
    engines = await discover_local(rows, skip_ports={settings.server.port}) if local else ()
    return Found(discover_by_key(environment, rows), engines)


def is_loopback(host: str) -> bool:
    """Whether an address is reachable from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def take_stock(
    settings: Settings, found: Found, environment: Mapping[str, str], imported: Iterable[Listing] = ()
) -> Stock:
    """Providers and catalogue. With no provider at all, on loopback, the sandbox answers every id.

    `imported` listings stand over the release's, below those of the file.
    """
    rows = {row.name: row for row in load_providers()}
    upstream = HttpUpstream(read_proxies(environment))
    providers = {
        provider.name: _configured(provider, rows.get(provider.name), upstream)
        for provider in settings.providers
    }
    for key in found.keys:
        providers[key.row.name] = _provider(key.row, upstream, key.api_key)
    for engine in found.engines:
        providers[engine.row.name] = _provider(engine.row, upstream, None)
    sandbox = not providers and is_loopback(settings.server.host)
    upstreams: list[Upstream] = [upstream]
    if sandbox:
        stand_in = Sandbox(SANDBOX_DELAY_S, SystemClock())
        upstreams.append(stand_in)
        providers[SANDBOX] = Provider(Endpoint(SANDBOX, ""), stand_in, DIALECTS["openai_chat"], sandbox=True)
    configured = [_listing(model) for model in settings.models]
    listings = [*configured, *_engine_listings(found.engines, settings.wallet.currency)]
    known = {row.id: row for row in (*load_release(), *imported)}
    release = with_resellers(_with_fx(known.values(), settings), rows.values())
    catalogue = build_catalogue(release, listings, set(providers), sandbox=sandbox)
    if (
        providers
        and not catalogue.listings
        and "USD" not in {settings.wallet.currency, *settings.wallet.fx_nano}
    ):
        currency = settings.wallet.currency
        raise ConfigError(
            f"no model can be sold: the catalogue's costs are in USD, so say what one USD is worth in {currency},"
            ' such as fx = { USD = "88.00" }',
            path="wallet.fx",
        )
    return Stock(catalogue, providers, tuple(upstreams), sandbox)


def _with_fx(release: Iterable[Listing], settings: Settings) -> list[Listing]:
    """The release's listings whose costs this deployment can exchange into its currency."""
    wallet = settings.wallet
    known = {wallet.currency, *wallet.fx_nano}
    return [row for row in release if row.cost is None or row.cost.currency in known]


def _configured(provider: ProviderSettings, row: ProviderRow | None, upstream: Upstream) -> Provider:
    """A provider of the configuration file; what it leaves out is as the release's row of that name has it."""
    known = row or ProviderRow(provider.name, provider.base_url)
    dialect = DIALECTS[provider.dialect]
    limits = TimeLimits(
        connect_s=provider.connect_timeout_s,
        first_byte_s=provider.first_byte_timeout_s,
        idle_s=provider.idle_timeout_s,
        total_s=provider.total_timeout_s,
        stream_total_s=provider.stream_total_timeout_s,
    )
    endpoint = Endpoint(
        provider.name,
        _base_of(provider.base_url, dialect),
        provider.api_key,
        auth_header=provider.auth_header or known.auth_header or dialect.auth_header,
        headers=tuple(provider.headers.items()),
        limits=limits,
    )
    return Provider(
        endpoint,
        upstream,
        dialect,
        keep_alive_s=provider.keep_alive_s,
        stream_usage=_either(provider.stream_usage, known.stream_usage),
        cancel_stops_billing=_either(provider.cancel_stops_billing, known.cancel_stops_billing),
        quirks=_quirks(provider, known),
        takes_marks=_either(provider.cache_marks, known.takes_marks or dialect.takes_marks),
    )


def _base_of(base_url: str, dialect: Dialect) -> str:
    """A base URL that says the version which the dialect's own paths say as well is meant without it."""
    paths_say_it = dialect.path("", stream=False).startswith(f"{_VERSION}/")
    return base_url.removesuffix(_VERSION) if paths_say_it else base_url


def _quirks(provider: ProviderSettings, known: ProviderRow) -> tuple[QuirkRow, ...]:
    """As configured, else as its row has them, which speak of the row's own dialect."""
    if provider.quirks is not None:
        return tuple(map(QuirkRow, provider.quirks))
    return known.quirks if known.dialect == provider.dialect else ()


def _either(given: Option | None, usual: Option) -> Option:
    return usual if given is None else given


def _provider(row: ProviderRow, upstream: Upstream, api_key: str | None) -> Provider:
    dialect = DIALECTS[row.dialect]
    endpoint = Endpoint(row.name, row.base_url, api_key, auth_header=row.auth_header or dialect.auth_header)
    return Provider(
        endpoint,
        upstream,
        dialect,
        stream_usage=row.stream_usage,
        cancel_stops_billing=row.cancel_stops_billing,
        quirks=row.quirks,
        takes_marks=row.takes_marks or dialect.takes_marks,
    )


def _listing(model: Model) -> Listing:
    return Listing(
        id=model.id,
        kind=model.kind,
        name=model.name or "",
        context_window=model.context_window,
        max_output=model.max_output,
        cost=model.cost,
        price=model.price,
        aliases=tuple(model.aliases),
        routes=tuple(
            RouteRow(route.provider, route.model, route.order, route.weight, route.cost)
            for route in model.routes
        ),
    )


def _engine_listings(engines: Iterable[FoundEngine], currency: str) -> list[Listing]:
    """A local engine's models, free: electricity is not metered here."""
    free = Rates(currency, input=0, output=0)
    return [
        Listing(
            id=f"{engine.row.name}/{model.replace('/', '-')}",
            kind="chat",
            name=model,
            price=None,
            cost=free,
            aliases=(model,) if "/" not in model else (),
            routes=(RouteRow(engine.row.name, model),),
        )
        for engine in engines
        for model in engine.models
    ]
