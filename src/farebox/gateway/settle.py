"""Settle: what a call comes to, and posting it exactly once.

The charge policy, as the docs print it: no output and an error → nothing; an empty answer → nothing; partial output →
the provider's usage if it came, else what was delivered; a provider's error text is never output. No charge is above
its hold: where the provider counted more than was held, the hold is extended first, as far as the wallet and the
caller's own maximum go, and what is due beyond that is leakage.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import msgspec

from farebox.billing.hold_steps import COUNTED, HoldSteps, Step, write_steps
from farebox.billing.prices.pricing import charge_at
from farebox.core.errors import Fault
from farebox.core.money import write_nano
from farebox.core.usage import Usage
from farebox.dialects.dialect import Cost
from farebox.gateway.call import Answer, Attempt, Call, Route, Taken
from farebox.gateway.house import House
from farebox.ledger.books import Refused, RequestRow
from farebox.ledger.budgets import Overspent, write_guards

log = logging.getLogger("farebox")

BYTES_PER_TOKEN = 4  # Of English text; good enough for what no provider counted.
EVENT_IS_TOKEN_BYTES = 8  # Streams whose events are this small or smaller send one token an event.
NO_USAGE = Usage()
Before = Callable[[Cost, Usage], Awaitable[None]]
_BELIEVED_RATIO = (
    1.25  # Providers count a few tokens of their own beside ours; beyond that they are not believed.
)
_BELIEVED_SLACK = 1000
_HIDDEN_PROMPT = (
    10_000  # Tokens a provider may put before a caller's: for tools some hundreds, for search thousands.
)
_ADDRESS = b"://"  # What stands at an address may be of any size.
_DOUBTED_RATIO = 2  # Counted more than so many times what we saw.


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


def bill_of(call: Call, route: Route, answer: Answer | None, prompt: int) -> Bill:
    """Decide what an answer is charged for; `prompt` is our own count of its input."""
    if answer is None:
        return Bill(NO_USAGE, estimated=False)
    usage = answer.usage
    if usage is not None and _believable(usage, call, route, answer):
        # No output at all is an empty answer, and costs nothing whatever it read.
        return Bill(usage if usage.output_total else NO_USAGE, estimated=False)
    if not answer.events:
        return Bill(NO_USAGE, estimated=usage is not None)
    output = min(delivered_tokens(answer.events, answer.delivered_bytes), output_limit(call, route))
    read = min(prompt, route.listing.context_window or prompt)
    return Bill(Usage(input_fresh=read, output_visible=output), estimated=True)


def _believable(usage: Usage, call: Call, route: Route, answer: Answer) -> bool:
    """Whether counts can be true: not beyond the model's own limits, and not nothing for something."""
    window = route.listing.context_window
    if window is not None and usage.input_total > window * _BELIEVED_RATIO + _BELIEVED_SLACK:
        return False
    # No token is less than a byte, whatever the tokenizer.
    if usage.input_total > len(call.body) + _HIDDEN_PROMPT and _ADDRESS not in call.body:
        return False
    if usage.output_total > output_limit(call, route) * _BELIEVED_RATIO + _BELIEVED_SLACK:
        return False
    return bool(usage.output_total) or not answer.events


def is_doubtful(usage: Usage, answer: Answer, prompt: int) -> bool:
    """Whether a provider counted far more than was seen. Thoughts are not all shown, so they are not doubted."""
    seen = delivered_tokens(answer.events, answer.delivered_bytes)
    return (
        usage.input_total > prompt * _DOUBTED_RATIO + _BELIEVED_SLACK
        or usage.output_visible > seen * _DOUBTED_RATIO + _BELIEVED_SLACK
    )


class Settlement:
    """Settles one call once; everything after the first time changes nothing."""

    def __init__(self, taken: Taken, house: House) -> None:
        self.done = False
        self.attempts: list[Attempt] = []
        self.first_byte_s: float | None = None
        self.row: RequestRow | None = None
        self.hold = taken.hold
        self.taken = taken
        self._first_nano = taken.hold.amount_nano
        self._steps: list[Step] = []
        self._call = taken.call
        self._house = house

    async def settle(
        self, route: Route, answer: Answer | None, ending: Ending, before: Before | None = None
    ) -> tuple[Cost, Usage]:
        """Post what is due, void what is not; the charge as the books have it, and what it is for.

        `before` is told both first.
        """
        assert not self.done
        bill = bill_of(self._call, route, answer, self.taken.prompt)
        if answer is not None and answer.usage is not None:
            self._doubt(answer.usage, answer, bill, route)
        due = charge_at(bill.usage, route.price) if bill.usage is not NO_USAGE else 0
        if due > self.hold.amount_nano:
            await self._cover(due)
        self.done = True
        row = self.row = self._row(route, answer, ending, bill, due)
        if before is not None:
            await before(Cost(write_nano(row.charge), row.currency), bill.usage)
        settled = await self._house.wallets.settle(row, self.hold.guards)
        return Cost(write_nano(settled.charge_nano), row.currency), bill.usage

    async def extend(self, amount_nano: int, why: str) -> Refused | Overspent | None:
        """Hold more, and note it for the receipt; or say why not."""
        account_id = self._call.grant.account.id
        self._house.room.take(account_id, amount_nano)
        refused = await self._house.wallets.extend(self.hold, amount_nano)
        if refused is None:
            self._steps.append(Step(why, amount_nano, round(self._passed_s() * 1000)))
        elif isinstance(refused, Refused):
            self._house.room.note(account_id, refused.available_nano)
        return refused

    async def _cover(self, due_nano: int) -> None:
        """Hold what is due beyond the hold, or as much of it as there is."""
        most = self._call.max_charge_nano
        missing = (due_nano if most is None else min(due_nano, most)) - self.hold.amount_nano
        try:
            refused = await self.extend(missing, COUNTED) if missing > 0 else None
            # Others take and give back at the same time, so what is free is asked for twice.
            if isinstance(refused, Refused) and refused.available_nano > 0:
                await self.extend(min(missing, refused.available_nano), COUNTED)
        except Fault:
            return  # The books cannot be written now; when they can, the hold is all that is taken.

    def _doubt(self, usage: Usage, answer: Answer, bill: Bill, route: Route) -> None:
        """Count a provider's word that cannot be true or is far from what was seen; told at 1, 2, 4, 8 and so on."""
        prompt = self.taken.prompt
        if not bill.estimated and not is_doubtful(usage, answer, prompt):
            return
        counts = self._house.wallets.counts
        counts.doubted += 1
        if counts.doubted & (counts.doubted - 1) == 0:
            log.warning(
                "provider %s counted %d tokens in and %d out for %s (call %s), where about %d and %d were seen"
                " (%d such calls so far)",
                route.provider.endpoint.provider,
                usage.input_total,
                usage.output_total,
                route.upstream_model,
                self._call.id,
                prompt,
                delivered_tokens(answer.events, answer.delivered_bytes),
                counts.doubted,
            )

    def _passed_s(self) -> float:
        return self._house.clock.monotonic_s() - self._call.began_s

    def _row(
        self, route: Route, answer: Answer | None, ending: Ending, bill: Bill, due_nano: int
    ) -> RequestRow:
        call, usage = self._call, bill.usage
        price, cost = route.price, route.cost
        produced = usage is not NO_USAGE
        charge = min(due_nano, self.hold.amount_nano)
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
            charge=charge,
            currency=price.rates.currency,
            hold=self.hold.amount_nano,
            leakage=due_nano - charge,
            cost=charge_at(usage, cost) if produced else 0,
            cost_currency=cost.rates.currency,
            price_version=price.id,
            cost_version=cost.id,
            attempts=msgspec.json.encode(self.attempts).decode(),
            first_byte_us=None if self.first_byte_s is None else round(self.first_byte_s * 1e6),
            latency_us=round(self._passed_s() * 1e6),
            created=call.began_us,
            guards=write_guards(self.hold.guards) if self.hold.guards else None,
            hold_steps=self._written_steps(),
        )

    def _written_steps(self) -> str | None:
        head, most = self._call.head, self._call.max_charge_nano
        if not self._steps and most is None and not head.limited:
            return None
        limit = head.output_limit if head.limited else None
        return write_steps(HoldSteps(self._first_nano, tuple(self._steps), most, limit))
