"""Deliver: the answer to the caller piece by piece, its end withheld until the charge is durable.

A caller who hangs up is an outcome, not an error: the provider is stopped at once and what was produced is charged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from farebox.billing.pricing import hold_at
from farebox.core.errors import Fault, Kind
from farebox.gateway.call import Answer, Call, Caller, Exchange
from farebox.gateway.hold import STREAM_HOLD_TOKENS, held_output, outgrown, prompt_tokens
from farebox.gateway.house import House
from farebox.gateway.keep_alive import StreamHead
from farebox.gateway.send import names_of
from farebox.gateway.settle import BYTES_PER_TOKEN, Ending, Settlement, delivered_tokens, output_limit

FINISH_WAIT_S = 5.0  # How long usage may follow the finish.
_EXTEND_AHEAD = 1024  # Tokens before the hold is used up at which it is extended.
_ENDLESS_RATIO = 4  # A provider that sends this many times the limit is not going to stop.
_ENDLESS_SLACK = 256  # Tokens: the estimate of a short answer is coarse.


async def deliver_reply(
    call: Call, exchange: Exchange, caller: Caller, settlement: Settlement, headers: bytes
) -> None:
    """A plain answer: it is all end."""
    caller.on_gone(None)
    cost, usage = await settlement.settle(exchange.route, exchange.answer, Ending())
    end = exchange.answer.end(cost, usage)
    if call.keep is not None:
        await call.keep(end)
    caller.answer(200, headers, end)


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
        self._held = held_output(call, exchange.route)
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
        cost, usage = await self._settlement.settle(self._exchange.route, answer, Ending())
        end = answer.end(cost, usage)
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
        if produced + _EXTEND_AHEAD <= self._held or self._held >= self._limit:
            return
        more = min(STREAM_HOLD_TOKENS * self._call.head.choices, self._limit - self._held)
        route = self._exchange.route
        prompt = prompt_tokens(self._call, route)
        price = route.price
        step = hold_at(prompt, self._held + more, price) - hold_at(prompt, self._held, price)
        if step > 0 and not await self._house.wallets.extend(self._settlement.hold, step):
            if produced > self._held:
                raise outgrown(route, step, self._house)
            return
        self._held += more
        self._quiet = self._quiet_until()

    @property
    def _endless(self) -> int:
        return self._limit * _ENDLESS_RATIO + _ENDLESS_SLACK

    def _quiet_until(self) -> int:
        return self._endless if self._held >= self._limit else self._held - _EXTEND_AHEAD


def write_stream_fault(call: Call, caller: Caller, answer: Answer | None, fault: Fault) -> None:
    """An error inside a stream whose head has left; the body ends without the dialect's end mark."""
    said_by = answer or call.dialect.writer(call.head, names_of(call))
    caller.finish(said_by.fail(fault))
