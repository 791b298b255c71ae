"""Hold: how much money a call needs before it may cost any, and what a caller without it is told."""

from __future__ import annotations

import msgspec

from farebox.billing.pricing import affordable_output, hold_at
from farebox.billing.wallet import Hold
from farebox.core.errors import Fault, Kind
from farebox.core.money import write_nano
from farebox.gateway.call import Call, Route
from farebox.gateway.house import House
from farebox.gateway.settle import output_limit
from farebox.ledger.books import Refused

STREAM_HOLD_TOKENS = 4096  # A stream can be cut, so it is held in steps; a plain answer is held whole.
OUTPUT_UNKNOWN_TOKENS = 16_384  # For a model whose limit nobody knows.
# Two tokens for five bytes: a third of the bytes and a fifth more, above what any measured text came to.
_PER_TOKEN = (2, 5)
HELD_RETRY_S = 1.0


def prompt_tokens(call: Call, route: Route) -> int:
    """A safe estimate of the prompt: never more than the model takes."""
    few, many = _PER_TOKEN
    estimate = -(-len(call.body) * few // many)
    return min(estimate, route.listing.context_window or estimate)


def held_output(call: Call, route: Route) -> int:
    """Tokens of output that are held at first, over all choices."""
    known = call.head.output_limit or route.listing.max_output
    limit = output_limit(call, route) if known else OUTPUT_UNKNOWN_TOKENS * call.head.choices
    return min(limit, STREAM_HOLD_TOKENS * call.head.choices) if call.head.stream else limit


async def take_hold(call: Call, routes: tuple[Route, ...], house: House) -> Hold:
    """Hold for the dearest route, durably; Fault NO_CREDIT says what is missing and what would fit."""
    amounts = [hold_at(prompt_tokens(call, route), held_output(call, route), route.price) for route in routes]
    need = max(amounts)
    route = routes[amounts.index(need)]
    hold = Hold(call.id, call.grant.account.id, call.grant.key.id, need)
    refused = await house.wallets.hold(hold, route.listing.id)
    if refused is not None:
        raise no_credit(call, route, refused, need, house)
    return hold


def no_credit(call: Call, route: Route, refused: Refused, need_nano: int, house: House) -> Fault:
    """The 402: spent money is not worth a retry, held money is."""
    rates = route.price.rates
    only_held = refused.balance_nano >= need_nano
    affordable = affordable_output(refused.available_nano, prompt_tokens(call, route), rates)
    affordable //= call.head.choices
    have, needed = write_nano(refused.available_nano), write_nano(need_nano)
    message = (
        f"This call needs {needed} {rates.currency} and your wallet has {have} {rates.currency} free."
        + (
            " The rest is held by calls that are still running; try again when they are done."
            if only_held
            else ""
        )
        + (f" Set max_tokens to {affordable} or less, or top up" if affordable else " Top up")
        + f" at {house.top_up_url}"
    )
    return Fault(
        Kind.NO_CREDIT,
        message,
        retry=only_held,
        retry_after_s=HELD_RETRY_S if only_held else None,
        fields=(
            ("balance", have),
            ("needed", needed),
            ("held", write_nano(refused.held_nano)),
            ("currency", _text(rates.currency)),
            ("affordable_max_tokens", str(affordable)),
            ("top_up_url", _text(house.top_up_url)),
        ),
    )


def outgrown(route: Route, need_nano: int, house: House) -> Fault:
    """The 402 inside a stream that the wallet cannot pay any further."""
    currency, needed = route.price.rates.currency, write_nano(need_nano)
    return Fault(
        Kind.NO_CREDIT,
        f"Your wallet cannot pay for more of this answer: {needed} {currency} is needed to go on. What was delivered is"
        f" charged. Top up at {house.top_up_url}",
        retry=False,
        fields=(
            ("needed", needed),
            ("currency", _text(currency)),
            ("top_up_url", _text(house.top_up_url)),
        ),
    )


def _text(value: str) -> str:
    return msgspec.json.encode(value).decode()
