"""Admit: who calls, whether they may, and what their window says. Memory only; no body is read for it."""

from __future__ import annotations

from farebox.core.errors import Fault, Kind
from farebox.gateway.call import Grant
from farebox.gateway.house import House
from farebox.gateway.profiles import Profile
from farebox.limits.windows import Window

RETRY_MOST_S = 60.0


def authenticate(secret: str | None, house: House, *, image: bool = False, counts: bool) -> Grant:
    """Find the caller and note the call in its window; Fault BAD_KEY with one constant text for every way to fail."""
    now_us = house.clock.now_us()
    found = house.directory.find(secret, now_us) if secret else None
    if found is None:
        raise Fault(
            Kind.BAD_KEY,
            "Invalid API key provided."
            if secret
            else "No API key provided: send Authorization: Bearer YOUR_API_KEY.",
            code="invalid_api_key" if secret else "missing_api_key",
        )
    key, account = found
    plan = house.plans.get(account.plan) or house.plans["free"]
    limit = plan.image_rpm if image else plan.chat_rpm
    look = house.windows.take if counts else house.windows.look
    window = look(key.id, image=image, limit=limit, now_s=now_us // 1_000_000)
    return Grant(
        key, account, plan, window, _window_headers(window, now_us, as_duration=house.reset_as_duration)
    )


def check_grant(grant: Grant, profile: Profile) -> None:
    """Refuse an account, or a plan on a profile that does not serve it."""
    if not grant.account.active:
        raise Fault(
            Kind.ACCOUNT_DISABLED,
            "API access is disabled for your account. Ask the operator of this service to enable it.",
        )
    if grant.plan.name in profile.refused_plans:
        raise Fault(
            Kind.PLAN_REFUSED,
            f"The {grant.plan.name} plan has no API access here. Upgrade the plan to use this endpoint.",
        )


def check_window(grant: Grant, house: House) -> None:
    """Refuse a call that its plan does not include, or that comes when the window is spent."""
    if not grant.window.limit:
        raise Fault(
            Kind.PLAN_REFUSED,
            f"The {grant.plan.name} plan does not include this. Upgrade the plan to use this endpoint.",
        )
    if not grant.window.allowed:
        wait_s = grant.window.reset_s - house.clock.now_us() / 1e6
        raise Fault(
            Kind.TOO_FAST,
            f"You have made more than {grant.window.limit} requests this minute on the {grant.plan.name} plan."
            " Wait until the window resets, then try again.",
            retry_after_s=min(max(wait_s, 0.001), RETRY_MOST_S),
        )


def _window_headers(window: Window, now_us: int, *, as_duration: bool) -> bytes:
    reset = b"%ds" % (window.reset_s - now_us // 1_000_000) if as_duration else b"%d" % window.reset_s
    lines = (
        b"x-ratelimit-limit-requests: %d\r\nx-ratelimit-remaining-requests: %d\r\nx-ratelimit-reset-requests: %b\r\n"
        % (window.limit, window.remaining, reset)
    )
    if window.allowed:
        return lines
    # The generic names, which OpenRouter sends with a 429 alone.
    return lines + b"x-ratelimit-limit: %d\r\nx-ratelimit-remaining: 0\r\nx-ratelimit-reset: %b\r\n" % (
        window.limit,
        reset,
    )
