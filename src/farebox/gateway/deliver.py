"""Deliver: the answer to the caller piece by piece, its end withheld until the charge is durable.

A caller who hangs up is an outcome, not an error: the provider is stopped at once and what was produced is charged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from farebox.billing.hold_steps import GREW
from farebox.billing.prices.pricing import hold_at
from farebox.core.errors import Fault, Kind
from farebox.core.usage import Usage
from farebox.dialects.dialect import Cost
from farebox.gateway.budget import overspent
from farebox.gateway.call import Answer, Call, Caller, Exchange, Pledge
from farebox.gateway.hold import LEAST_TOKENS, SHARES, STREAM_HOLD_TOKENS, held_prompt, outgrown, reached
from farebox.gateway.house import House
from farebox.gateway.keep_alive import StreamHead
from farebox.gateway.send import names_of
from farebox.gateway.settle import BYTES_PER_TOKEN, Ending, Settlement, delivered_tokens, output_limit
from farebox.ledger.budgets import Overspent

FINISH_WAIT_S = 5.0  # How long usage may follow the finish.
_EXTEND_AHEAD = 1024  # Tokens before the hold is used up at which it is extended; of a small hold a quarter.
_AHEAD_PART = 4
_ENDLESS_RATIO = 4  # A provider that sends this many times the limit is not going to stop.
_ENDLESS_SLACK = 256  # Tokens: the estimate of a short answer is coarse.


async def deliver_reply(
    call: Call, exchange: Exchange, caller: Caller, settlement: Settlement, headers: bytes
) -> None:
    """A plain answer: it is all end."""
    caller.on_gone(None)
    if call.pledge is None:
        cost, usage = await settlement.settle(exchange.route, exchange.answer, Ending())
        end = exchange.answer.end(cost, usage)
    else:
        end = await _pledged_end(call.pledge, exchange, settlement, headers)
    if call.keep is not None:
        await call.keep(end)
    caller.answer(200, headers, end)


async def _pledged_end(pledge: Pledge, exchange: Exchange, settlement: Settlement, headers: bytes) -> bytes:
    """The end of an answer, paid for, and kept for a repeat before that where the charge is certain."""
    answer, ends = exchange.answer, list[bytes]()

    async def before(cost: Cost, usage: Usage) -> None:
        ends.append(answer.end(cost, usage))
        await pledge(headers, ends[0])

    cost, usage = await settlement.settle(exchange.route, answer, Ending(), before)
    return ends[0] if ends else answer.end(cost, usage)


class StreamDelivery:
    """One stream on its way out."""

    def __init__(
        self, call: Call, exchange: Exchange, head: StreamHead, settlement: Settlement, house: House
    ) -> None:
        self._call = call
        self._exchange = exchange
        self._answer = exchange.answer
        self._head = head
        self._settlement = settlement
        self._house = house
        self._limit = output_limit(call, exchange.route)
        self._held = min(settlement.taken.output, self._limit)
        self._ahead = min(_EXTEND_AHEAD, self._held // _AHEAD_PART)
        self._quiet = self._quiet_until()  # Tokens up to which the hold needs no look.
        self._broken: Fault | None = None  # What a piece turned out to be while the task slept.

    async def run(self, caller: Caller) -> None:
        """Pump until the end, settle, then let the end go."""
        answer = self._answer
        try:
            await self._pump(caller)
        finally:
            self._exchange.incoming.cancel()
        if answer.fault is not None:
            raise answer.fault
        caller.on_gone(None)
        if self._call.pledge is None:
            cost, usage = await self._settlement.settle(self._exchange.route, answer, Ending())
            end = answer.end(cost, usage)
        else:
            end = await _pledged_end(self._call.pledge, self._exchange, self._settlement, self._head.headers)
        if self._call.keep is not None:
            await self._call.keep(end)
        self._head.send()
        caller.finish(end)

    async def _pump(self, caller: Caller) -> None:
        answer = self._answer
        while not answer.finished:
            if self._outgrows():
                await self._extend()
            self._pass_on()
            await caller.drained()
            if answer.ended:
                return
            await self._read(lambda piece: self._take(piece) and not caller.slow)
        if self._outgrows():
            await self._cover_last()
        self._pass_on()
        # From here on the answer is complete, whoever is still listening: it is paid for even if the caller leaves.
        caller.on_gone(None)
        await self._read_rest()

    def _pass_on(self) -> None:
        data = self._answer.ready()
        if data:
            self._head.write(data)

    def _outgrows(self) -> bool:
        """Whether it is time to look at the hold: a cheap question, asked for every piece."""
        answer, quiet = self._answer, self._quiet
        return answer.events > quiet or answer.delivered_bytes > quiet * BYTES_PER_TOKEN

    def _take(self, piece: bytes) -> bool:
        """Pass a piece on while the task sleeps; False where there is more to do than that."""
        answer = self._answer
        try:
            answer.feed(piece)
        except Fault as fault:
            self._broken = fault
            return False
        if answer.finished or answer.ended or self._outgrows():
            return False
        self._pass_on()
        return True

    async def _read(self, sink: Callable[[bytes], bool]) -> None:
        answer = self._answer
        try:
            over = await self._exchange.incoming.pump(sink)
            if self._broken is not None:
                raise self._broken
        except Fault:
            # A reader that translates tells the finish only with its usage; if that is all that is missing, so be it.
            answer.close()
            if not answer.finished:
                raise
            return
        if over:
            answer.close()

    async def _read_rest(self) -> None:
        """Usage and the end mark, if they come soon."""
        answer = self._answer
        if answer.ended:
            return
        try:
            async with asyncio.timeout(FINISH_WAIT_S):
                while not answer.ended:
                    await self._read(self._take)
        except (TimeoutError, Fault):
            # The finish stands; the rest would only have been usage.
            return

    async def _extend(self) -> None:
        """Hold more before what came outgrows its hold; cut it, before it leaves, where wallet or limit end."""
        answer = self._answer
        produced = delivered_tokens(answer.events, answer.delivered_bytes)
        if produced > self._endless:
            raise Fault(
                Kind.PROVIDER_CUT, "The model's provider sent far more than the answer's limit; it was cut."
            )
        held = self._held
        if produced + self._ahead <= held or held >= self._limit:
            return
        over = produced - held  # What came already without being covered.
        more = self._step(over)
        refused = await self._try_extend(more)
        if refused is not None and over > 0 and more > over:
            refused = await self._try_extend(over)  # Enough to let go what is here.
        if refused is not None and over > 0:
            raise refused

    async def _cover_last(self) -> None:
        """Hold what came with the finish as well, before it leaves; not more, for nothing comes after it."""
        answer = self._answer
        produced = delivered_tokens(answer.events, answer.delivered_bytes)
        over = min(produced, self._limit) - self._held
        refused = await self._try_extend(over) if over > 0 else None
        if refused is not None:
            raise refused

    def _step(self, over: int) -> int:
        """Tokens to hold next: 4,096 for each choice, but of a wallet that runs low only a part of what is free."""
        settlement, house, call = self._settlement, self._house, self._call
        usual = max(STREAM_HOLD_TOKENS * call.head.choices, over + _EXTEND_AHEAD)
        worth = self._worth(usual)
        free = house.room.free_nano(call.grant.account.id, worth * SHARES)
        if worth * SHARES > free:
            part = free // SHARES * usual // worth if worth else usual
            usual = min(usual, max(part, LEAST_TOKENS, over + self._ahead))
        if call.max_charge_nano is not None and worth:
            room = call.max_charge_nano - settlement.hold.amount_nano
            usual = min(usual, room * usual // worth if self._worth(usual) > room else usual)
        return min(usual, self._limit - self._held)

    def _worth(self, tokens: int) -> int:
        """What so many tokens more would hold."""
        route = self._exchange.route
        prompt, held = held_prompt(self._settlement.taken.prompt, route), self._held
        return hold_at(prompt, held + tokens, route.price) - hold_at(prompt, held, route.price)

    async def _try_extend(self, more: int) -> Fault | None:
        """Hold so many tokens more, or say why not."""
        call, route = self._call, self._exchange.route
        worth = self._worth(more)
        most, hold = call.max_charge_nano, self._settlement.hold
        if more <= 0 or (most is not None and hold.amount_nano + worth > most):
            return reached(call, route)
        refused = await self._settlement.extend(worth, GREW) if worth > 0 else None
        if isinstance(refused, Overspent):
            return overspent(refused, worth, route.price.rates.currency)
        if refused is not None:
            return outgrown(route, worth, self._house)
        self._held += more
        self._ahead = min(_EXTEND_AHEAD, more // _AHEAD_PART)
        self._quiet = self._quiet_until()
        return None

    @property
    def _endless(self) -> int:
        return self._limit * _ENDLESS_RATIO + _ENDLESS_SLACK

    def _quiet_until(self) -> int:
        return self._endless if self._held >= self._limit else self._held - self._ahead


def write_stream_fault(call: Call, caller: Caller, answer: Answer | None, fault: Fault) -> None:
    """An error inside a stream whose head has left; the body ends without the dialect's end mark."""
    said_by = answer or call.dialect.writer(call.head, names_of(call))
    caller.finish(said_by.fail(fault))
