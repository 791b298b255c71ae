"""Webhooks: what payment processors tell. Whatever they say, they are asked; an unsigned word is not heard at all."""

from __future__ import annotations

import asyncio

from farebox.api.visit import Visit
from farebox.billing.payments.processors.processor import ForgedEventError, Processor, ProcessorAwayError
from farebox.billing.payments.topups import Topups
from farebox.core.errors import Fault, Kind

BODY_MOST = 256 << 10
AT_ONCE = 8  # Of one worker: each waits for its processor. Those beyond are sent again.


class Webhooks:
    """The one surface, for every processor that has a secret to sign with."""

    def __init__(self, topups: Topups) -> None:
        self._topups = topups
        self._hearing = 0

    async def handle(self, visit: Visit) -> None:
        """`POST /webhooks/{processor}`: 200 once it has been acted upon, or there is nothing to act upon."""
        name, request = visit.rest, visit.request
        processor = self._topups.processors.get(name)
        if processor is None or not processor.listens:
            raise Fault(
                Kind.NOT_FOUND,
                f"There is nothing at {request.path[:200]!r}. Check the path and its settings.",
            )
        if request.too_large or len(request.body) > BODY_MOST:
            raise Fault(Kind.TOO_LARGE, f"An event may have {BODY_MOST} bytes.")
        if self._hearing >= AT_ONCE:
            raise Fault(Kind.OVERLOADED, "Many events at once. Send it again.", retry_after_s=1)
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in request.headers.items()}
        self._hearing += 1
        try:
            # The first event loads the processor's library, and every one may wait for its answer.
            await asyncio.to_thread(self._hear, name, processor, request.body, headers)
        except ForgedEventError as error:
            raise Fault(
                Kind.BAD_REQUEST, "The event's signature is not good, or too old.", code="bad_signature"
            ) from error
        except ProcessorAwayError as error:
            raise Fault(
                Kind.PROVIDER_ERROR,
                "The payment processor gives no answer. Send the event again.",
                code="processor_unavailable",
                retry_after_s=30,
            ) from error
        finally:
            self._hearing -= 1
        visit.answer({"received": True})

    def _hear(self, name: str, processor: Processor, body: bytes, headers: dict[str, str]) -> None:
        self._topups.hear(name, processor.read_event(body, headers))
