"""Settle: what a call comes to, and posting it exactly once.

The charge policy, as the docs print it: no output and an error → nothing; an empty answer → nothing; partial output →
the provider's usage if it came, else what was delivered; a provider's error text is never output.
"""

from __future__ import annotations

import msgspec

from farebox.billing.pricing import charge_at
from farebox.billing.wallet import Hold, Wallets
from farebox.core.clock import Clock
from farebox.core.money import write_nano
from farebox.core.usage import Usage
from farebox.dialects.dialect import Cost
from farebox.gateway.call import Answer, Attempt, Call, Route
from farebox.ledger.books import RequestRow

BYTES_PER_TOKEN = 4  # Of English text; good enough for what no provider counted.
EVENT_IS_TOKEN_BYTES = 8  # Streams whose events are this small or smaller send one token an event.
NO_USAGE = Usage()
_BELIEVED_RATIO = (
    1.25  # Providers count a few tokens of their own beside ours; beyond that they are not believed.
)
_BELIEVED_SLACK = 1000


class Ending(msgspec.Struct, frozen=True):
    """How a call ended, beside what its answer knows itself."""

    status: int = 200
    error: str | None = None
    partial: bool = False


class Bill(msgspec.Struct, frozen=True):
    """What is charged for, and whether it was counted or estimated."""

    usage: Usage
    estimated: bool


def delivered_tokens(events: int, size: int) -> int:
    """About how many tokens that many events with so many bytes of content were."""
    return events if size <= events * EVENT_IS_TOKEN_BYTES else -(-size // BYTES_PER_TOKEN)


def output_limit(call: Call, route: Route) -> int:
    """The most tokens the answer may have, over all its choices."""
    most = route.listing.max_output or call.head.output_limit or 2**31
    return min(call.head.output_limit or most, most) * call.head.choices


def bill_of(call: Call, route: Route, answer: Answer | None) -> Bill:
    """Decide what an answer is charged for."""
    if answer is None:
        return Bill(NO_USAGE, estimated=False)
    usage = answer.usage
    if usage is not None and _believable(usage, call, route, answer):
        # No output at all is an empty answer, and costs nothing whatever it read.
        return Bill(usage if usage.output_total else NO_USAGE, estimated=False)
    if not answer.events:
        return Bill(NO_USAGE, estimated=usage is not None)
    output = min(delivered_tokens(answer.events, answer.delivered_bytes), output_limit(call, route))
    return Bill(
        Usage(input_fresh=-(-len(call.body) // BYTES_PER_TOKEN), output_visible=output), estimated=True
    )


def _believable(usage: Usage, call: Call, route: Route, answer: Answer) -> bool:
    """Whether counts can be true: not beyond the model's own limits, and not nothing for something."""
    window = route.listing.context_window
    if window is not None and usage.input_total > window * _BELIEVED_RATIO + _BELIEVED_SLACK:
        return False
    if usage.output_total > output_limit(call, route) * _BELIEVED_RATIO + _BELIEVED_SLACK:
        return False
    return bool(usage.output_total) or not answer.events


class Settlement:
    """Settles one call once; everything after the first time changes nothing."""

    def __init__(self, call: Call, hold: Hold, wallets: Wallets, clock: Clock) -> None:
        self.done = False
        self.attempts: list[Attempt] = []
        self.first_byte_s: float | None = None
        self.row: RequestRow | None = None
        self.hold = hold
        self._call = call
        self._wallets = wallets
        self._clock = clock

    async def settle(self, route: Route, answer: Answer | None, ending: Ending) -> tuple[Cost, Usage]:
        """Post what is due, void what is not; the charge as the books have it, and what it is for."""
        assert not self.done
        self.done = True
        bill = bill_of(self._call, route, answer)
        row = self.row = self._row(route, answer, ending, bill)
        settled = await self._wallets.settle(row)
        return Cost(write_nano(settled.charge_nano), row.currency), bill.usage

    def _row(self, route: Route, answer: Answer | None, ending: Ending, bill: Bill) -> RequestRow:
        call, usage = self._call, bill.usage
        price, cost = route.price, route.cost
        produced = usage is not NO_USAGE
        return RequestRow(
            id=call.id,
            account_id=call.grant.account.id,
            key_id=call.grant.key.id,
            profile=call.profile.name,
            model=route.listing.id,
            provider=route.provider.endpoint.provider,
            upstream_model=route.upstream_model,
            state="posted" if produced else "voided",
            status=ending.status,
            streamed=call.head.stream,
            partial=ending.partial,
            estimated=bill.estimated,
            finish=answer.finish_reason if answer is not None else None,
            error=ending.error,
            usage=msgspec.json.encode(usage).decode(),
            input_tokens=usage.input_total,
            output_tokens=usage.output_total,
            charge=charge_at(usage, price) if produced else 0,
            currency=price.rates.currency,
            hold=self.hold.amount_nano,
            leakage=0,
            cost=charge_at(usage, cost) if produced else 0,
            cost_currency=cost.rates.currency,
            price_version=price.id,
            cost_version=cost.id,
            attempts=msgspec.json.encode(self.attempts).decode(),
            first_byte_us=None if self.first_byte_s is None else round(self.first_byte_s * 1e6),
            latency_us=round((self._clock.monotonic_s() - call.began_s) * 1e6),
            created=call.began_us,
        )
