"""Deliver: the answer to the caller piece by piece, its end withheld until the charge is durable.

A caller who hangs up is an outcome, not an error: the provider is stopped at once and what was produced is charged.
"""

from __future__ import annotations

import asyncio

from farebox.billing.pricing import hold_nano
from farebox.core.errors import Fault, Kind
from farebox.gateway.call import Call, Caller, Exchange
from farebox.gateway.faults import error_object
from farebox.gateway.hold import STREAM_HOLD_TOKENS, held_output, no_credit, prompt_tokens
from farebox.gateway.house import House
from farebox.gateway.keep_alive import StreamHead
from farebox.gateway.send import names_of
from farebox.gateway.settle import Ending, Settlement, delivered_tokens, output_limit
from farebox.ledger.books import Refused

FINISH_WAIT_S = 5.0  # How long usage may follow the finish.
_EXTEND_AHEAD = 1024  # Tokens before the hold is used up at which it is extended.
_ENDLESS_RATIO = 4  # A provider that sends this many times the limit is not going to stop.


async def deliver_reply(
    call: Call, exchange: Exchange, caller: Caller, settlement: Settlement, headers: bytes
) -> None:
    """A plain answer: it is all end."""
    caller.on_gone(None)
    cost, usage = await settlement.settle(exchange.route, exchange.answer, Ending())
    caller.answer(200, headers, exchange.answer.end(cost, usage))


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

    async def run(self, caller: Caller) -> None:
        """Pump until the end, settle, then let the end go."""
        answer = self._answer
        try:
            await self._pump(caller)
        finally:
            self._exchange.incoming.cancel()
        if answer.fault is not None and not answer.finished:
            raise answer.fault
        caller.on_gone(None)
        cost, usage = await self._settlement.settle(self._exchange.route, answer, Ending())
        self._head.send()
        caller.finish(answer.end(cost, usage))

    async def _pump(self, caller: Caller) -> None:
        answer, incoming = self._answer, self._exchange.incoming
        while not answer.finished:
            data = answer.ready()
            if data:
                self._head.write(data)
                await caller.drained()
            if answer.ended:
                return
            if answer.events + _EXTEND_AHEAD > self._held or answer.delivered_bytes > self._held:
                await self._extend()
            piece = await incoming.read()
            if piece:
                answer.feed(piece)
            else:
                answer.close()
        data = answer.ready()
        if data:
            self._head.write(data)
        # From here on the answer is complete, whoever is still listening: it is paid for even if the caller leaves.
        caller.on_gone(None)
        await self._read_rest()

    async def _read_rest(self) -> None:
        """Usage and the end mark, if they come soon."""
        answer, incoming = self._answer, self._exchange.incoming
        if answer.ended:
            return
        try:
            async with asyncio.timeout(FINISH_WAIT_S):
                while not answer.ended:
                    piece = await incoming.read()
                    if piece:
                        answer.feed(piece)
                    else:
                        answer.close()
        except (TimeoutError, Fault):
            # The finish stands; the rest would only have been usage.
            return

    async def _extend(self) -> None:
        """Hold more before the stream outgrows its hold; cut it where the wallet or its limit ends."""
        answer = self._answer
        produced = delivered_tokens(answer.events, answer.delivered_bytes)
        if produced > self._limit * _ENDLESS_RATIO + _EXTEND_AHEAD:
            raise Fault(
                Kind.PROVIDER_CUT, "The model's provider sent far more than the answer's limit; it was cut."
            )
        if produced + _EXTEND_AHEAD <= self._held or self._held >= self._limit:
            return
        more = min(STREAM_HOLD_TOKENS * self._call.head.choices, self._limit - self._held)
        route = self._exchange.route
        prompt = prompt_tokens(self._call, route)
        rates = route.price.rates
        step = hold_nano(prompt, self._held + more, rates) - hold_nano(prompt, self._held, rates)
        if step > 0 and not await self._house.wallets.extend(self._settlement.hold, step):
            if produced + 1 >= self._held:
                raise no_credit(self._call, route, Refused(0, 0), step, self._house)
            return
        self._held += more


def write_stream_fault(call: Call, caller: Caller, fault: Fault) -> None:
    """An error inside a stream whose head has left; the body ends without the dialect's end mark."""
    caller.finish(call.dialect.stream_error(names_of(call), error_object(fault, call.profile)))
