"""The surfaces: every public method and path, by profile."""

from __future__ import annotations

from farebox.api.account import AccountSurfaces
from farebox.api.admin.administration import BASE, METHODS, Administration
from farebox.api.asked import betas_asked, by_verb, model_asked, nothing_asked
from farebox.api.counting import (
    ANTHROPIC_COUNTER,
    GEMINI_COUNTER,
    Counting,
    contents_to_count,
    messages_to_count,
)
from farebox.api.estimate import Estimating
from farebox.api.health import Health
from farebox.api.inference import Inference, InFlight
from farebox.api.metrics import Metrics
from farebox.api.models import Models
from farebox.api.once import Once
from farebox.api.responses import Responses
from farebox.api.setup import Setup
from farebox.api.topups import TopupSurfaces
from farebox.api.visit import Handler, Surface
from farebox.api.wallet_history import WalletHistory
from farebox.api.webhooks import Webhooks
from farebox.dialects import DIALECTS
from farebox.dialects.dialect import Dialect
from farebox.features.stored_responses.feature import StoredResponses
from farebox.gateway.house import House
from farebox.gateway.profiles import BASES, GOOGLE_BASES, STANDARD


def surfaces(
    house: House,
    account: AccountSurfaces,
    health: Health,
    metrics: Metrics,
    setup: Setup,
    *,
    stored: StoredResponses,
    once: Once,
    max_in_flight: int,
) -> list[Surface]:
    """The whole table; a path that ends in a slash takes an id."""
    in_flight = InFlight(max_in_flight)
    models = Models(house)
    responses = Responses(house, stored)
    estimating = Estimating(house, account.receipts, stored)
    asking = _asking(house, in_flight, stored, once)
    table = [
        Surface("GET", "/api/models", STANDARD, models.catalogue),
        Surface("GET", "/api/hello", STANDARD, account.hello),
        Surface("GET", "/health", STANDARD, health.health),
        Surface("GET", "/health/ready", STANDARD, health.ready),
        Surface("GET", "/metrics", STANDARD, metrics.show),
        Surface("GET", "/setup", STANDARD, setup.ask),
        Surface("POST", "/setup", STANDARD, setup.make),
    ]
    for base, profile in BASES.items():
        table += [
            Surface("GET", f"{base}/models", profile, models.list_models),
            Surface("GET", f"{base}/models/", profile, models.get_model),
            Surface("GET", f"{base}/credits", profile, account.credits),
            Surface("GET", f"{base}/key", profile, account.key),
            Surface("POST", f"{base}/estimate", profile, estimating.handle),
            Surface("GET", f"{base}/generation", profile, account.generation),
            Surface("GET", f"{base}/requests", profile, account.requests),
            Surface("GET", f"{base}/requests/", profile, account.request),
            Surface("GET", f"{base}/responses/", profile, responses.get),
            Surface("DELETE", f"{base}/responses/", profile, responses.delete),
            Surface("POST", f"{base}/responses/", profile, responses.cancel),
        ]
        table += [
            Surface("POST", f"{base}{path}", profile, handler, dialect) for path, handler, dialect in asking
        ]
    # The AI SDK leaves `models/` out where a model's id has a slash.
    *_, (_, generate, gemini) = asking
    table += [Surface("POST", f"{base}/", BASES[base], generate, gemini) for base in sorted(GOOGLE_BASES)]
    return table


def wallet_surfaces(history: WalletHistory) -> list[Surface]:
    """What a key reads of its account's money, below every base."""
    return [
        Surface(method, f"{base}{path}", profile, handler)
        for base, profile in BASES.items()
        for method, path, handler in (
            ("GET", "/wallet", history.wallet),
            ("GET", "/wallet/transfers", history.transfers),
            ("GET", "/wallet/invoices", history.invoices),
            ("GET", "/wallet/invoices/", history.invoice),
            ("GET", "/wallet/statements", history.statements),
            ("GET", "/wallet/statements/", history.statement),
            ("GET", "/wallet/billing", history.billing),
            ("POST", "/wallet/billing", history.set_billing),
        )
    ]


def admin_surfaces(administration: Administration) -> list[Surface]:
    """What operators ask; which path means what is the administration's own table."""
    return [Surface(method, BASE, STANDARD, administration.handle) for method in METHODS]


def paying_surfaces(topups: TopupSurfaces, webhooks: Webhooks) -> list[Surface]:
    """How money comes in: by a key below every base, and by what processors tell."""
    return [
        Surface("POST", "/webhooks/", STANDARD, webhooks.handle),
        *(
            Surface(method, f"{base}{path}", profile, handler)
            for base, profile in BASES.items()
            for method, path, handler in (
                ("POST", "/wallet/topups", topups.start),
                ("GET", "/wallet/topups", topups.topups),
                ("GET", "/wallet/topups/", topups.topup),
                ("POST", "/wallet/redeem", topups.redeem),
                ("GET", "/wallet/auto_topup", topups.automatic),
            )
        ),
    ]


def _asking(
    house: House, in_flight: InFlight, stored: StoredResponses, once: Once
) -> list[tuple[str, Handler, Dialect]]:
    """The surfaces that ask a model, below every base: each dialect where its own clients look for it."""
    chat, responses, anthropic, gemini = (
        DIALECTS[name] for name in ("openai_chat", "openai_responses", "anthropic", "gemini")
    )
    generate = Inference(house, gemini, in_flight, model_asked, once=once).handle
    count = Counting(house, gemini, GEMINI_COUNTER, model_asked, contents_to_count).handle
    return [
        ("/chat/completions", Inference(house, chat, in_flight, nothing_asked, once=once).handle, chat),
        (
            "/responses",
            Inference(house, responses, in_flight, nothing_asked, once=once, stored=stored).handle,
            responses,
        ),
        ("/messages", Inference(house, anthropic, in_flight, betas_asked, once=once).handle, anthropic),
        (
            "/messages/count_tokens",
            Counting(house, anthropic, ANTHROPIC_COUNTER, betas_asked, messages_to_count).handle,
            anthropic,
        ),
        ("/models/", by_verb(generate, count), gemini),
    ]
