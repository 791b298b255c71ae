"""Rules that bind several settings, or settings and what this release knows; each yields the paths that break it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from farebox.config.explain import no_such
from farebox.config.lines import KeyPath
from farebox.config.settings import File, Known, Model, Provider, Wallet, find_fx_nano
from farebox.config.values import read_header_name
from farebox.core.money import check_currency
from farebox.core.rates import Rates

Broken = Iterator[tuple[KeyPath, str]]

_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")


def broken_rules(content: File, known: Known) -> Broken:
    """Every rule that the settings break, as key path and sentence."""
    yield from _hosts(content, known)
    yield from _fx(content.wallet)
    yield from _repeated(("providers", "name"), [provider.name for provider in content.providers])
    for index, provider in enumerate(content.providers):
        yield from _provider(("providers", index), provider, known)
    yield from _model_names(content.models)
    for index, model in enumerate(content.models):
        yield from _model(("models", index), model, content)
    yield from _plans(content, known)
    yield from _alerts(content)
    yield from _payments(content)
    yield from _dated(content)
    yield from _invoices(content)


def _hosts(content: File, known: Known) -> Broken:
    for host, profile in content.server.hosts.items():
        path = ("server", "hosts", host)
        if not _HOST.fullmatch(host):
            yield path, "write a host name in small letters, without port or scheme"
        if profile not in known.profiles:
            yield path, f"{profile!r}: {no_such(profile, sorted(known.profiles), 'profile')}"


def _fx(wallet: Wallet) -> Broken:
    for currency in wallet.fx_nano:
        path = ("wallet", "fx", currency)
        try:
            check_currency(currency)
        except ValueError as problem:
            yield path, str(problem)
        if currency == wallet.currency:
            yield path, "the wallet's own currency needs no rate"


def _provider(path: KeyPath, provider: Provider, known: Known) -> Broken:
    if not provider.base_url:
        yield (*path, "base_url"), "must not be empty"
    if provider.dialect not in known.dialects:
        message = no_such(provider.dialect, sorted(known.dialects), "dialect")
        yield (*path, "dialect"), f"{provider.dialect!r}: {message}"
    for index, quirk in enumerate(provider.quirks or ()):
        if quirk not in known.quirks:
            yield (*path, "quirks", index), f"{quirk!r}: {no_such(quirk, sorted(known.quirks), 'quirk')}"
    for name in provider.headers:
        try:
            read_header_name(name)
        except ValueError as problem:
            yield (*path, "headers", name), str(problem)


def _model_names(models: tuple[Model, ...]) -> Broken:
    """An id or alias names one listing."""
    seen: set[str] = set()
    for index, model in enumerate(models):
        names: list[tuple[KeyPath, str]] = [(("id",), model.id)]
        names += [(("aliases", place), alias) for place, alias in enumerate(model.aliases)]
        for rest, name in names:
            if name in seen:
                yield ("models", index, *rest), f"{name!r} names a model already"
            seen.add(name)


def _model(path: KeyPath, model: Model, content: File) -> Broken:
    wallet = content.wallet
    yield from _cost((*path, "cost"), model.cost, wallet)
    if model.price is not None and model.price.currency != wallet.currency:
        yield (*path, "price", "currency"), f"prices are in the wallet's currency, {wallet.currency}"
    names = [provider.name for provider in content.providers]
    for index, route in enumerate(model.routes):
        place = (*path, "routes", index)
        yield from _cost((*place, "cost"), route.cost, wallet)
        if route.provider not in names:
            yield (*place, "provider"), f"{route.provider!r}: {no_such(route.provider, [*names], 'provider')}"


def _cost(path: KeyPath, cost: Rates | None, wallet: Wallet) -> Broken:
    if cost is not None and find_fx_nano(wallet, cost.currency) is None:
        example = f'fx = {{ {cost.currency} = "…" }}'
        yield (*path, "currency"), f"say what one {cost.currency} is in {wallet.currency}: [wallet] {example}"


def _plans(content: File, known: Known) -> Broken:
    yield from _repeated(("plans", "name"), [plan.name for plan in content.plans])
    for index, plan in enumerate(content.plans):
        if plan.name not in known.plans and (plan.chat_rpm is None or plan.image_rpm is None):
            message = no_such(plan.name, sorted(known.plans), "built-in plan")
            yield ("plans", index, "name"), f"{message}; a plan of your own needs chat_rpm and image_rpm"


def _alerts(content: File) -> Broken:
    """Whoever is to be told must be reachable."""
    alerts, email = content.alerts, content.email
    if alerts.email and not email.host:
        yield ("alerts", "email"), "say how mail leaves: [email] host and sender"
    if email.host and not email.sender:
        yield ("email", "sender"), "must not be empty: it is whom mails come from"
    if (alerts.webhook or "").startswith("http://") and not alerts.allow_private:
        yield ("alerts", "webhook"), "must be https; http is for private addresses, with allow_private = true"


def _payments(content: File) -> Broken:
    """A processor has its keys, and they go to nobody but it."""
    payments, path = content.payments, ("payments",)
    for index, name in enumerate(payments.processors):
        if name in payments.processors[:index]:
            yield (*path, "processors", index), f"{name!r} is here a second time"
    if payments.minimum_nano > payments.maximum_nano:
        yield (*path, "minimum"), "must not be more than the maximum"
    if payments.tax_rate_basis_points and not payments.tax_name:
        yield (*path, "tax_name"), 'must not be empty: it stands on the payment page, such as "GST"'
    stripe, razorpay = payments.stripe, payments.razorpay
    wanted = (
        ("stripe", "secret_key", stripe),
        ("razorpay", "key_id", razorpay),
        ("razorpay", "key_secret", razorpay),
    )
    for processor, key, section in wanted:
        if processor in payments.processors and not getattr(section, key):
            yield (*path, processor, key), "is required"
    for processor, base in (("stripe", stripe.api_base), ("razorpay", razorpay.api_base)):
        if base and not _is_safe(base):
            yield (*path, processor, "api_base"), "must be https; http is for 127.0.0.1 and localhost"


def _is_safe(url: str) -> bool:
    """Whether keys may be sent there: encrypted, or to this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in {"127.0.0.1", "::1", "localhost"}


def _dated(content: File) -> Broken:
    """Dated rows: each changes one thing, into a currency that can be exchanged from the first day on."""
    for index, row in enumerate(content.prices):
        path: KeyPath = ("prices", index)
        said = [name for name in ("price", "markup_nano", "cost") if getattr(row, name) is not None]
        if len(said) != 1:
            yield path, "write one of price, markup and cost"
        if row.provider is not None and row.cost is None:
            yield (*path, "provider"), "only a cost is a provider's"
        for name in ("price", "cost"):
            yield from _cost((*path, name), getattr(row, name), content.wallet)
    for index, rate in enumerate(content.fx):
        if rate.currency not in content.wallet.fx_nano:
            example = f'fx = {{ {rate.currency} = "…" }}'
            yield ("fx", index, "currency"), f"say what it is worth until then: [wallet] {example}"


def _invoices(content: File) -> Broken:
    """One number names one document, and a buyer pays the same tax wherever they are."""
    invoices = content.invoices
    if invoices.prefix == invoices.credit_note_prefix:
        yield ("invoices", "credit_note_prefix"), "must differ from prefix, or two documents had one number"
    here, away = (
        sum(line.basis_points for line in lines) for lines in (invoices.tax_lines, invoices.tax_lines_away)
    )
    rate = content.payments.tax_rate_basis_points
    if here and here != rate:
        yield (
            ("invoices", "tax_lines"),
            f"add up to {here} basis points, payments.tax_rate_basis_points is {rate}",
        )
    if away and here != away:
        yield ("invoices", "tax_lines_away"), f"add up to {away} basis points, tax_lines to {here}"


def _repeated(path: tuple[str, str], names: Iterable[str]) -> Broken:
    rows, key = path
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            yield (rows, index, key), f"{name!r} is here a second time"
        seen.add(name)
