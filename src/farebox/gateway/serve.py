"""Serve: the steps of one call in order, and the only file with its control flow.

    admit → (prepare) → route → hold → send (relay or translate) → deliver, its end withheld → settle

Whatever happens after the hold, the call is settled once: by `deliver` before the end leaves, or here.
"""

from __future__ import annotations

import asyncio
import re

from farebox.core.errors import Fault, Kind
from farebox.gateway.call import Answer, Call, Caller, Exchange, Route
from farebox.gateway.deliver import StreamDelivery, deliver_reply, write_stream_fault
from farebox.gateway.hold import take_hold
from farebox.gateway.house import House
from farebox.gateway.keep_alive import StreamHead
from farebox.gateway.route import routes_for
from farebox.gateway.say import Sayings
from farebox.gateway.send import send
from farebox.gateway.settle import Ending, Settlement

READ_OUT_S = (
    30.0  # How long a stream without a listener may go on, where stopping it would not stop its bill.
)
CALLER_GONE = 499  # nginx's word for a caller who hung up; it stands in the books, never on the wire.
# Of what is told in x-farebox-dropped: clients refuse headers beyond some kilobytes.
NAMES_MAX = 40
NAME_LETTERS_MAX = 80
_UNSAFE = re.compile(r"[^!-+\--~ ]")  # All but the visible letters of ASCII, the comma apart, and the space.
_STREAM = (
    b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n"
)
_JSON = b"content-type: application/json\r\n"


async def serve(call: Call, house: House, caller: Caller) -> Settlement:
    """Answer one admitted call. A Fault raised here has not been written; nothing of an answer has left then."""
    sayings = Sayings(call)
    routes = sayings.speakable(routes_for(call, house))
    taken = await take_hold(call, routes, house)
    if taken.call is not call:
        call = taken.call
        sayings.limit(call)
    settlement = Settlement(taken, house)
    run = _Run(sayings, routes, house, settlement)
    task = caller.task
    if not caller.gone:
        caller.on_gone(task.cancel)
    try:
        await run.answer(caller)
    except asyncio.CancelledError:
        # Taken back, so that nothing can break in on the settlement, and its time-outs are still told as such.
        caller.on_gone(None)
        task.uncancel()
        await run.settle_rest(Ending(CALLER_GONE, "caller_gone", partial=True))
        if not caller.gone:  # The gateway has to go: its patience at the end of a drain is over.
            restarting = Fault(Kind.DRAINING, "This server is restarting. Try again.", retry_after_s=1)
            _tell(run, call, caller, restarting)
    except Fault as fault:
        caller.on_gone(None)
        status, error = (CALLER_GONE, "caller_gone") if caller.gone else (fault.status, fault.code)
        await run.settle_rest(Ending(status, error, partial=True))
        _tell(run, call, caller, fault)
    finally:
        run.close()
        if not settlement.done:  # A bug of ours is on its way out: the customer does not pay for it.
            await run.settle_rest(
                Ending(Kind.BROKEN.row.status, Kind.BROKEN.row.code, partial=True), free=True
            )
    return settlement


def _tell(run: _Run, call: Call, caller: Caller, fault: Fault) -> None:
    """Tell a fault inside the stream if its head has left; else it gets a status of its own."""
    if not run.head_sent:
        raise fault
    write_stream_fault(call, caller, run.answered, fault)


def _read_out(caller: Caller, exchange: Exchange) -> None:
    """This provider bills a stream to its end, whoever listens: read on for its usage, for a while."""
    if caller.gone:
        asyncio.get_running_loop().call_later(READ_OUT_S, exchange.incoming.cancel)
    else:
        caller.task.cancel()


def _listed(names: tuple[str, ...]) -> bytes:
    """Names for a header line. Some are a caller's own, so no letter may end the line or fake another name."""
    told = [_UNSAFE.sub("?", name[:NAME_LETTERS_MAX]) for name in names[:NAMES_MAX]]
    if len(names) > NAMES_MAX:
        told.append("...")
    return ", ".join(told).encode("ascii")


class _Run:
    """The part of a call after its hold."""

    def __init__(
        self, sayings: Sayings, routes: tuple[Route, ...], house: House, settlement: Settlement
    ) -> None:
        self._call = sayings.call
        self._sayings = sayings
        self._routes = routes
        self._house = house
        self._settlement = settlement
        self._exchange: Exchange | None = None
        self._head: StreamHead | None = None

    @property
    def answered(self) -> Answer | None:
        """The answer, if it has begun."""
        return self._exchange.answer if self._exchange else None

    @property
    def head_sent(self) -> bool:
        """Whether an error must be told inside the stream."""
        return self._head is not None and self._head.sent

    async def answer(self, caller: Caller) -> None:
        """Send, then deliver."""
        call, house, settlement = self._call, self._house, self._settlement
        if caller.gone:
            raise asyncio.CancelledError
        headers = self._headers(self._routes[0])
        if call.head.stream:
            provider = self._routes[0].provider
            self._head = StreamHead(
                caller, headers, keep_alive=call.dialect.keep_alive, interval_s=provider.keep_alive_s
            )
        exchange = self._exchange = await send(self._sayings, self._routes, settlement.attempts, house.clock)
        if exchange.route is not self._routes[0]:
            headers = self._headers(exchange.route)
        settlement.first_byte_s = house.clock.monotonic_s() - call.began_s
        if self._head is None:
            await deliver_reply(call, exchange, caller, settlement, headers)
        else:
            if not exchange.route.provider.cancel_stops_billing:
                caller.on_gone(lambda: _read_out(caller, exchange))
            self._head.headers = headers
            await StreamDelivery(call, exchange, self._head, settlement, house).run(caller)

    async def settle_rest(self, ending: Ending, *, free: bool = False) -> None:
        """Settle what `deliver` did not get to: what was delivered is charged, an answer that never began is not."""
        settlement, exchange = self._settlement, self._exchange
        if settlement.done:
            return
        route = exchange.route if exchange else self._routes[0]
        if exchange is not None:
            exchange.answer.discard()
        # Of a plain answer nothing has left, so nothing is due.
        delivered = exchange.answer if exchange and self.head_sent and not free else None
        await settlement.settle(route, delivered, ending)

    def close(self) -> None:
        """Stop the provider and the keep-alives, whatever happened."""
        if self._exchange is not None:
            self._exchange.incoming.cancel()
        if self._head is not None:
            self._head.stop()

    def _headers(self, route: Route) -> bytes:
        head = self._call.head
        lines = [self._call.headers, _JSON if head.array or not head.stream else _STREAM]
        if head.limited:
            lines.append(b"x-farebox-output-limit: %d\r\n" % (head.output_limit or 0))
        if route.provider.sandbox:
            lines.append(b"x-sandbox: true\r\n")
        dropped = self._sayings.dropped(route)
        if dropped:
            lines.append(b"x-farebox-dropped: %b\r\n" % _listed(dropped))
        return b"".join(lines)
