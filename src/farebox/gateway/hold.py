"""Hold: how much money a call needs before it may cost any, and what a caller without it is told.

A plain answer cannot be cut, so all it may cost is held; a stream is held in steps. A wallet is shared: a call that may
be held in part (a stream, or one whose caller set no limit) takes no more than a part of what is free, so that many
calls at once are served. A plain call that is held in part is told its limit: what is not held cannot be written.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from farebox.billing.prices.pricing import MAX_OUTPUT_TOKENS, affordable_output, hold_at
from farebox.billing.wallet import Hold
from farebox.core.errors import Fault, Kind
from farebox.core.money import write_nano
from farebox.gateway.budget import check_paused, overspent
from farebox.gateway.call import Call, Route, Taken
from farebox.gateway.house import House
from farebox.gateway.settle import output_limit
from farebox.gateway.tokens import ENVELOPE_TOKENS, cut_media, text_tokens, thinned_tokens
from farebox.ledger.books import Refused
from farebox.ledger.budgets import HOUR, Overspent

STREAM_HOLD_TOKENS = 4096  # A stream can be cut, so it is held in steps; a plain answer is held whole.
OUTPUT_UNKNOWN_TOKENS = 16_384  # For a model whose limit nobody knows.
# An eighth of what is free for each: of ten calls at once the last still gets a twenty-seventh of the wallet, which
# no other part betters by more than a few hundredths, and one call alone gets twice what a sixteenth would give it.
SHARES = 8
LEAST_TOKENS = 128  # Of output for each choice: a smaller answer is not worth its prompt.
LEAST_ASKED_TOKENS = 16  # Under a caller's own maximum, where the smallest that OpenAI takes is enough.
_MARGIN = (6, 5)  # Of the prompt a fifth more than the estimate is held.
_LIMIT_SAID_TOKENS = 12  # What saying a limit adds to a body, and so to its estimate.
_TRIES = 3  # Others may be faster to take what was free a moment ago.
HELD_RETRY_S = 1.0


class Size(msgspec.Struct, frozen=True):
    """How much is held, for the dearest of the routes."""

    amount_nano: int
    route: Route
    output: int  # Tokens over all choices.
    whole: bool  # All that the call could want at first.


def estimate_prompt(call: Call) -> int:
    """About how many tokens the prompt has."""
    body, runs = cut_media(call.body)
    if not runs:
        return max(text_tokens(body) - ENVELOPE_TOKENS, 1)
    try:
        turns = call.dialect.read_prompt(body).turns
    except Fault:  # What this dialect cannot say of itself goes as it is, and counts as the text it may be.
        turns = ()
    return thinned_tokens(body, runs, (part for turn in turns for part in turn.parts))


def held_prompt(prompt: int, route: Route) -> int:
    """A safe count of a prompt's tokens: with a margin, and never more than the model takes."""
    more, of = _MARGIN
    safe = -(-prompt * more // of)
    return min(safe, route.listing.context_window or safe)


def held_output(call: Call, route: Route) -> int:
    """Tokens of output that a call would hold at first, over all choices, if money were no matter."""
    known = call.head.output_limit or route.listing.max_output
    limit = output_limit(call, route) if known else OUTPUT_UNKNOWN_TOKENS * call.head.choices
    return min(limit, STREAM_HOLD_TOKENS * call.head.choices) if call.head.stream else limit


def size_of(call: Call, routes: tuple[Route, ...], prompt: int, output: int = MAX_OUTPUT_TOKENS) -> Size:
    """What a call holds for so much output at most; by the dearest of its routes."""
    whole = output == MAX_OUTPUT_TOKENS
    if len(routes) == 1:
        route = routes[0]
        most = min(held_output(call, route), output)
        return Size(hold_at(held_prompt(prompt, route), most, route.price), route, most, whole)
    outputs = [min(held_output(call, route), output) for route in routes]
    amounts = [
        hold_at(held_prompt(prompt, route), most, route.price)
        for route, most in zip(routes, outputs, strict=True)
    ]
    amount = max(amounts)
    return Size(amount, routes[amounts.index(amount)], max(outputs), whole)


def fitting_output(call: Call, routes: tuple[Route, ...], prompt: int, amount_nano: int) -> int:
    """The tokens of output for each choice that an amount pays for, whichever route answers; 0 for none."""
    if amount_nano <= 0:
        return 0
    most = min(
        affordable_output(amount_nano, held_prompt(prompt, route), route.price.rates) for route in routes
    )
    return most // call.head.choices


def may_be_held_in_part(call: Call) -> bool:
    """A stream can be cut, and who set no limit can be given one; an answer that was asked for whole is held whole."""
    return call.head.stream or call.head.output_limit is None or call.head.limited


def limited(call: Call, routes: tuple[Route, ...], tokens: int) -> Call:
    """The call with a limit of the gateway's own for each choice, if that is below what its models would do."""
    known = [route.listing.max_output for route in routes]
    if tokens >= MAX_OUTPUT_TOKENS or all(most is not None and most <= tokens for most in known):
        return call
    return replace(call, head=replace(call.head, output_limit=tokens, limited=True))


def within_maximum(call: Call, routes: tuple[Route, ...], prompt: int) -> Call:
    """The call as it fits under its caller's x-farebox-max-charge; Fault CHARGE_TOO_HIGH if it cannot."""
    most = call.max_charge_nano
    if most is None:
        return call
    fitting = fitting_output(call, routes, prompt, most)
    if call.head.output_limit is None and fitting >= LEAST_ASKED_TOKENS:
        return limited(call, routes, fitting)
    if call.head.stream and fitting >= LEAST_ASKED_TOKENS:
        return call  # It goes as far as the maximum, and is cut there.
    whole = size_of(call, routes, prompt)
    if whole.amount_nano > most:
        raise too_high(call, whole, fitting)
    return call


async def take_hold(call: Call, routes: tuple[Route, ...], house: House) -> Taken:
    """Hold for the dearest route, durably; Fault NO_CREDIT says what is missing and what would fit.

    Fault BUDGET_SPENT or KEY_PAUSED where the key may not spend what its wallet has; CHARGE_TOO_HIGH where the caller
    set a maximum that the call could pass.
    """
    grant = call.grant
    check_paused(grant.key)
    prompt = estimate_prompt(call)
    call = within_maximum(call, routes, prompt)
    guards = house.guards.of(grant.key, call.began_us)
    size = first_size(call, routes, prompt, house)
    for left in reversed(range(_TRIES)):
        hold = Hold(call.id, grant.account.id, grant.key.id, size.amount_nano, guards)
        house.room.take(grant.account.id, size.amount_nano)
        refused = await house.wallets.hold(hold, size.route.listing.id)
        if refused is None:
            if not size.whole and not call.head.stream:
                call = limited(call, routes, size.output // call.head.choices)
            return Taken(call, hold, prompt, size.output)
        if isinstance(refused, Refused):
            house.room.note(grant.account.id, refused.available_nano)
        smaller = _smaller(call, routes, prompt, refused)
        if not left or smaller.amount_nano >= size.amount_nano:
            break
        size = smaller
    assert refused is not None
    if isinstance(refused, Overspent):
        raise overspent(refused, size.amount_nano, size.route.price.rates.currency)
    raise no_credit(call, size, prompt, refused, house)


def first_size(call: Call, routes: tuple[Route, ...], prompt: int, house: House) -> Size:
    """The whole of what a call may cost where the wallet is large, else a part of what is free."""
    whole = size_of(call, routes, prompt)
    most = call.max_charge_nano
    if most is not None and call.head.stream and whole.amount_nano > most:
        whole = size_of(call, routes, prompt, fitting_output(call, routes, prompt, most) * call.head.choices)
    if not may_be_held_in_part(call):
        return whole
    enough = whole.amount_nano * SHARES
    free = house.room.free_nano(call.grant.account.id, enough)
    if free >= enough:
        return whole
    part = _part(call, routes, prompt, free)
    return part if part.amount_nano < whole.amount_nano else whole


def _part(call: Call, routes: tuple[Route, ...], prompt: int, free_nano: int) -> Size:
    """A part of what is free, but enough for an answer that is worth its prompt."""
    each = max(fitting_output(call, routes, prompt, free_nano // SHARES), LEAST_TOKENS)
    return size_of(call, routes, prompt, each * call.head.choices)


def _smaller(call: Call, routes: tuple[Route, ...], prompt: int, refused: Refused | Overspent) -> Size:
    """What to try next, where the call may be held in part; the same again says that nothing smaller will do."""
    whole = size_of(call, routes, prompt)
    if not may_be_held_in_part(call):
        return whole
    if isinstance(refused, Refused):
        return _part(call, routes, prompt, refused.available_nano)
    if refused.guard.period == HOUR:  # The breaker has tripped already.
        return whole
    return _part(call, routes, prompt, refused.amount_nano - refused.spent_nano - refused.held_nano)


def too_high(call: Call, size: Size, fitting: int) -> Fault:
    """The 402 of a call that could cost more than its caller allows."""
    currency, most = size.route.price.rates.currency, write_nano(call.max_charge_nano or 0)
    needed = write_nano(size.amount_nano)
    return Fault(
        Kind.CHARGE_TOO_HIGH,
        f"This call may cost {needed} {currency}, and x-farebox-max-charge allows {most}."
        + (f" Set max_tokens to {fitting} or less, or raise" if fitting else " Shorten the prompt, or raise")
        + " x-farebox-max-charge.",
        param="x-farebox-max-charge",
        fields=(
            ("max_charge", most),
            ("needed", needed),
            ("currency", _text(currency)),
            ("affordable_max_tokens", str(fitting)),
        ),
    )


def no_credit(call: Call, size: Size, prompt: int, refused: Refused, house: House) -> Fault:
    """The 402: spent money is not worth a retry, held money is."""
    rates, need_nano = size.route.price.rates, size.amount_nano
    only_held = refused.balance_nano >= need_nano
    if call.head.output_limit is None:
        prompt += _LIMIT_SAID_TOKENS
    affordable = affordable_output(refused.available_nano, held_prompt(prompt, size.route), rates)
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


def reached(call: Call, route: Route) -> Fault:
    """The 402 inside a stream that has come to its caller's maximum."""
    currency, most = route.price.rates.currency, write_nano(call.max_charge_nano or 0)
    return Fault(
        Kind.CHARGE_TOO_HIGH,
        f"This answer has come to the {most} {currency} that x-farebox-max-charge allows. What was delivered is"
        " charged.",
        param="x-farebox-max-charge",
        fields=(("max_charge", most), ("currency", _text(currency))),
    )


def _text(value: str) -> str:
    return msgspec.json.encode(value).decode()
