"""Estimate: what a call would hold and cost, by the very steps a call goes through before it asks a provider."""

from __future__ import annotations

import msgspec

from farebox.billing.prices.pricing import MAX_OUTPUT_TOKENS, charge_at, hold_at
from farebox.core.usage import Usage
from farebox.gateway.budget import check_paused
from farebox.gateway.call import Call, Route
from farebox.gateway.hold import (
    OUTPUT_UNKNOWN_TOKENS,
    estimate_prompt,
    first_size,
    fitting_output,
    held_prompt,
    limited,
    within_maximum,
)
from farebox.gateway.house import House
from farebox.gateway.route import routes_for
from farebox.gateway.say import Sayings
from farebox.gateway.settle import output_limit

_LIKELY_PART = 4  # Of its limit, where nobody knows what this caller's answers are like.


class Estimate(msgspec.Struct, frozen=True):
    """What is to be expected of a call. Tokens of output are over all its choices."""

    route: Route  # The one that would be asked first.
    prompt: int
    limit: int | None  # None: nobody knows the model's.
    limited: bool  # The limit is the gateway's: set for a wallet that runs low, or for the caller's maximum.
    likely: int
    hold_nano: int
    likely_nano: int
    worst_nano: int
    affordable: bool
    affordable_output: int  # For each choice.


def routes_of(call: Call, house: House) -> tuple[Route, ...]:
    """The routes of a call, in order; a Fault where the call would be refused."""
    check_paused(call.grant.key)
    return Sayings(call).speakable(routes_for(call, house))


def estimate(
    call: Call, routes: tuple[Route, ...], house: House, *, typical: int | None, free_nano: int
) -> Estimate:
    """Price a call; `typical` is the output of the caller's calls of this model, if known.

    Fault CHARGE_TOO_HIGH where the caller's own maximum would refuse the call.
    """
    prompt = estimate_prompt(call)
    asked, call = call, within_maximum(call, routes, prompt)
    size = first_size(call, routes, prompt, house)
    if not size.whole and not call.head.stream:
        call = limited(call, routes, size.output // call.head.choices)
    route = routes[0]
    limit = _limit_of(call, route)
    most = limit if limit is not None else OUTPUT_UNKNOWN_TOKENS * call.head.choices
    likely = min(typical if typical is not None else -(-most // _LIKELY_PART), most)
    read = min(prompt, route.listing.context_window or prompt)
    worst = max(
        hold_at(held_prompt(prompt, one), most if one is route else _limit_of(call, one) or most, one.price)
        for one in routes
    )
    return Estimate(
        route=route,
        prompt=read,
        limit=limit,
        limited=call.head.limited and not asked.head.limited,
        likely=likely,
        hold_nano=size.amount_nano,
        likely_nano=charge_at(Usage(input_fresh=read, output_visible=likely), route.price),
        worst_nano=max(worst, size.amount_nano),
        affordable=size.amount_nano <= free_nano,
        affordable_output=fitting_output(call, routes, prompt, free_nano),
    )


def _limit_of(call: Call, route: Route) -> int | None:
    if call.head.output_limit is None and route.listing.max_output is None:
        return None
    limit = output_limit(call, route)
    return None if limit >= MAX_OUTPUT_TOKENS else limit
