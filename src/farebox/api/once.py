"""Once: whatever is asked with an `idempotency-key` is done once; who asks again gets what was answered the first time.

One mechanism for every surface that costs money or changes something: the handler answers on a recording, and what it
answered is kept for the next one who asks the same with the same key. Who comes while it is being done waits for it.
"""

from __future__ import annotations

import asyncio
import re
from functools import partial

from farebox.api.http import Request
from farebox.api.recording import Recording
from farebox.api.visit import Handler, Visit
from farebox.core.errors import Fault, Kind
from farebox.features.idempotency.feature import Ask, Claim, Idempotency, Scope, in_progress
from farebox.features.idempotency.reply import Reply

Running = asyncio.Future[Fault | None]  # Done when the first is; what it failed of.

HEADER = b"idempotency-key"
PATIENCE_S = (
    30.0  # How long a repeat waits for the first: below the time-outs that clients have by themselves.
)
LOOK_FIRST_S = 0.05
LOOK_MOST_S = 1.0
WAITING_MAX = 1_000  # Repeats that wait on one worker; beyond, they are told to come again.
_KEY = re.compile(rb"[!-~]{1,255}")
_SUCCESS = range(200, 300)
_REPLAYED = b"idempotent-replayed: true\r\n"


class Once:
    """Answers each key once. `patience_s` is how long a repeat waits for the first."""

    def __init__(self, idempotency: Idempotency, *, patience_s: float = PATIENCE_S) -> None:
        self._idempotency = idempotency
        self.patience_s = patience_s
        self.waiting = 0

    async def handle(self, visit: Visit, account_id: int, scope: Scope, handler: Handler) -> None:
        """Have a request answered by its handler; one with a key once in its scope, and then as it was answered.

        The caller has been let in. What the ledger does not know (`scope.in_books`) its handler must be able to do
        again under the same `visit.id`: after a crash it is called so with the id of the first time.
        """
        key = visit.request.headers.get(HEADER)
        if key is None:
            await handler(visit)
            return
        if _KEY.fullmatch(key) is None:
            raise Fault(
                Kind.BAD_REQUEST,
                "The header idempotency-key must be 1 to 255 visible ASCII characters, such as a UUID.",
                param="idempotency-key",
            )
        ask = await self._idempotency.ask(account_id, scope, key, *_parts(visit.request))
        got = await self._claim(visit, ask)
        if isinstance(got, Claim):
            await self._run(visit, got, handler)
        elif got is not None:
            visit.exchange.answer(got.status, visit.headers + _REPLAYED + got.headers, got.body)

    async def _claim(self, visit: Visit, ask: Ask) -> Claim | Reply | None:
        """The right to do it, or what was answered; None if the caller has left."""
        loop = asyncio.get_running_loop()
        end_s, look_s = loop.time() + self.patience_s, LOOK_FIRST_S
        while True:
            running = self._idempotency.running(ask)
            if running is None:
                got = await self._idempotency.claim(ask, visit.id)
                if got is not None:
                    return got
            left_s = end_s - loop.time()
            if left_s <= 0 or self.waiting >= WAITING_MAX:
                raise in_progress()
            if not await self._wait(visit, running, left_s if running else min(look_s, left_s)):
                return None
            look_s = min(look_s * 2, LOOK_MOST_S)

    async def _wait(self, visit: Visit, running: Running | None, seconds: float) -> bool:
        """Wait for the first, or for a while; False if the caller left. The Fault that the first failed of."""
        exchange = visit.exchange
        left: Running = asyncio.get_running_loop().create_future()
        exchange.on_gone(partial(_tell, left))
        if exchange.gone:
            _tell(left)
        self.waiting += 1
        try:
            await asyncio.wait(
                {left, running} if running else {left}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            self.waiting -= 1
            exchange.on_gone(None)
        if left.done():
            if exchange.gone:
                return False
            raise Fault(Kind.DRAINING, "This server is restarting. Try again shortly.", retry_after_s=1)
        failed = running.result() if running is not None and running.done() else None
        if failed is not None:
            raise failed
        return True

    async def _run(self, visit: Visit, claim: Claim, handler: Handler) -> None:
        exchange, id_, common = visit.exchange, visit.id, visit.headers
        recording = Recording(exchange)
        kept = False

        async def pledge(headers: bytes, end: bytes) -> None:
            nonlocal kept
            kept = await self._idempotency.keep(claim, recording.reply_with(headers, end, common))

        failed: Fault | None = None
        visit.exchange, visit.id = recording, claim.call_id
        visit.pledge = pledge if claim.ask.scope.in_books else None
        try:
            await handler(visit)
        except Fault as fault:
            failed = fault
            raise
        finally:
            visit.exchange, visit.id, visit.pledge = exchange, id_, None
            whole = failed is None and recording.done and _went_well(visit, recording.status)
            if whole and not kept:
                await self._idempotency.keep(claim, recording.reply(common))
            elif not whole:
                await self._idempotency.release(claim, failed)
            self._idempotency.over(claim, failed)
        recording.let_go()


def _parts(request: Request) -> tuple[bytes, ...]:
    """What makes a request what it is. An API key in its query does not: another of the account may ask again."""
    query = b"&".join(part for part in request.query.split(b"&") if not part.startswith(b"key="))
    return request.method.encode(), request.path.encode("latin-1"), query, request.body


def _went_well(visit: Visit, status: int) -> bool:
    return status in _SUCCESS and (visit.row is None or visit.row.error is None)


def _tell(left: Running) -> None:
    if not left.done():
        left.set_result(None)
