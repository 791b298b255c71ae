"""Paying: processors and top-ups as the settings have them, and the duties that see payments through."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlsplit

from farebox.api.once import Once
from farebox.api.topups import TopupSurfaces
from farebox.api.webhooks import Webhooks
from farebox.app.duties import Duty
from farebox.app.office import Office
from farebox.app.paperwork import invoice_terms
from farebox.app.stock import is_loopback
from farebox.billing.papers.invoices import Terms as InvoiceTerms
from farebox.billing.papers.invoicing import credit_for, issue_for
from farebox.billing.payments.auto_topup import AutoTopups
from farebox.billing.payments.booking import Booking
from farebox.billing.payments.codes import Codes
from farebox.billing.payments.processors import build_processor
from farebox.billing.payments.processors.processor import Processor, Terms
from farebox.billing.payments.topups import Pricing, Topups
from farebox.billing.periods import Calendar
from farebox.config.origin import ConfigError
from farebox.config.settings import Server, Settings
from farebox.gateway.house import House
from farebox.store.database import Transaction

MANUAL = "manual"  # Always there, for administrators.
RESOLVE_S = 15.0
AUTO_S = 3.0


def build_processors(settings: Settings) -> dict[str, Processor]:
    """Every processor of the settings, in their order. ConfigError says what is missing."""
    found = {}
    for place, name in enumerate((*settings.payments.processors, MANUAL)):
        try:
            found[name] = build_processor(name, _terms(settings, name))
        except ValueError as problem:
            raise ConfigError(str(problem), path=f"payments.processors[{place}]") from None
    return found


def build_topups(office: Office) -> Topups:
    """Top-ups on the books of an office."""
    settings = office.settings
    payments = settings.payments
    pricing = Pricing(
        currency=settings.wallet.currency,
        minimum_nano=payments.minimum_nano,
        maximum_nano=payments.maximum_nano,
        tax_basis_points=payments.tax_rate_basis_points,
        tax_name=payments.tax_name,
    )
    booked = partial(_print, invoice_terms(settings))
    return Topups(
        office.database, office.clock, office.ids, build_processors(settings), pricing, booked=booked
    )


def topup_surfaces(house: House, office: Office, topups: Topups, once: Once) -> TopupSurfaces:
    """The handlers by which customers pay."""
    return TopupSurfaces(house, office.database, topups, Codes(office.database, office.ids), once)


def webhooks(topups: Topups) -> Webhooks:
    """The handler by which processors tell."""
    return Webhooks(topups)


def paying_duties(office: Office, topups: Topups) -> list[Duty]:
    """What sees payments through: without a processor for customers there is nothing to see."""
    if not office.settings.payments.processors:
        return []
    calendar = Calendar(office.settings.wallet.time_zone)
    auto = AutoTopups(office.database, office.clock, topups, calendar)
    return [
        Duty("resolve top-ups", RESOLVE_S, topups.resolve_due, in_thread=True),
        Duty("top up automatically", AUTO_S, auto.run, in_thread=True),
    ]


def _print(terms: InvoiceTerms, work: Transaction, booking: Booking) -> None:
    """An invoice stands in the transaction of its payment."""
    now_us = booking.topup.updated
    if booking.credited:
        issue_for(work, booking.topup.id, terms, now_us)
    for refund in booking.refunds:
        credit_for(work, refund.id, terms, now_us)


def _terms(settings: Settings, name: str) -> Terms:
    """What a processor is built from: its section, if the settings have one."""
    section = getattr(settings.payments, name, None)
    members = {} if section is None else {key: getattr(section, key) for key in section.__struct_fields__}
    api_base = members.pop("api_base", None)
    secrets = {key: str(value) for key, value in members.items() if value}
    return Terms(secrets, str(api_base) if api_base else None, _is_public(settings.server))


def _is_public(server: Server) -> bool:
    """Others reach us: by the address we listen on, or through a proxy that `base_url` speaks of."""
    outside = urlsplit(server.base_url).hostname
    return not is_loopback(server.host) or (outside is not None and not is_loopback(outside))
