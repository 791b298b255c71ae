"""The surfaces: every public method and path, by profile."""

from __future__ import annotations

from farebox.api.account import AccountSurfaces
from farebox.api.health import Health
from farebox.api.inference import Inference, InFlight
from farebox.api.metrics import Metrics
from farebox.api.models import Models
from farebox.api.setup import Setup
from farebox.api.visit import Surface
from farebox.dialects import DIALECTS
from farebox.gateway.house import House
from farebox.gateway.profiles import BASES, STANDARD


def surfaces(
    house: House,
    account: AccountSurfaces,
    health: Health,
    metrics: Metrics,
    setup: Setup,
    *,
    max_in_flight: int,
) -> list[Surface]:
    """The whole table; a path that ends in a slash takes an id."""
    chat = DIALECTS["openai_chat"]
    inference = Inference(house, chat, InFlight(max_in_flight))
    models = Models(house)
    table = [
        Surface("GET", "/api/models", STANDARD, models.catalogue),
        Surface("GET", "/health", STANDARD, health.health),
        Surface("GET", "/health/ready", STANDARD, health.ready),
        Surface("GET", "/metrics", STANDARD, metrics.show),
        Surface("GET", "/setup", STANDARD, setup.ask),
        Surface("POST", "/setup", STANDARD, setup.make),
    ]
    for base, profile in BASES.items():
        table += [
            Surface("POST", f"{base}{chat.path}", profile, inference.handle),
            Surface("GET", f"{base}/models", profile, models.list_models),
            Surface("GET", f"{base}/models/", profile, models.get_model),
            Surface("GET", f"{base}/credits", profile, account.credits),
            Surface("GET", f"{base}/key", profile, account.key),
            Surface("GET", f"{base}/generation", profile, account.generation),
            Surface("GET", f"{base}/requests", profile, account.requests),
            Surface("GET", f"{base}/requests/", profile, account.request),
        ]
    return table
