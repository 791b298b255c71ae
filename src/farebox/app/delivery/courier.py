"""The courier: takes notices out of the outbox and sends them, a bounded number at once, on one worker of all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from farebox.app.lease import Lease, drop_lease, keep_lease
from farebox.billing.telling.outbox import (
    Channel,
    Delivery,
    Directions,
    Outcome,
    anything_to_send,
    claim_due,
    forget_old,
    record,
    route_notices,
)
from farebox.core.clock import Clock
from farebox.store.database import Database, StoreUnavailableError

log = logging.getLogger("farebox")
AT_ONCE = 16
LEASE_US = 10_000_000
END_S = 2.0  # What is being sent at the end of a worker has so long; then its claim runs out and another sends it.


class Courier:
    """Sends what is due, turn by turn."""

    def __init__(
        self,
        database: Database,
        channels: Mapping[str, Channel],
        directions: Directions,
        *,
        clock: Clock,
        owner: str,
    ) -> None:
        self._database = database
        self._channels = channels
        self._directions = directions
        self._clock = clock
        self._lease = Lease("deliver notices", owner, LEASE_US)
        self._under_way: dict[asyncio.Task[None], Delivery] = {}

    async def turn(self) -> None:
        """Begin to send what is due, as far as there is room."""
        room = AT_ONCE - len(self._under_way)
        if not room:
            return
        busy = [delivery.notice.account_id for delivery in self._under_way.values()]
        for delivery in await asyncio.to_thread(self._claim, busy, room):
            task = asyncio.create_task(self._deliver(delivery))
            self._under_way[task] = delivery
            task.add_done_callback(self._under_way.pop)

    def forget_old(self) -> None:
        """Delete what was told long ago; for a thread."""
        with self._database.transaction() as work:
            forget_old(work, self._clock.now_us())

    async def stop(self) -> None:
        """Let what is being sent come to its end, for a moment, and let the lease go."""
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=END_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        try:
            await asyncio.to_thread(drop_lease, self._database, self._lease)
        except StoreUnavailableError:
            log.warning("the lease on deliveries could not be dropped; it runs out by itself")

    def _claim(self, busy: list[int | None], room: int) -> list[Delivery]:
        now_us = self._clock.now_us()
        if not keep_lease(self._database, self._lease, now_us):
            return []
        with self._database.read() as view:
            if not anything_to_send(view, now_us):
                return []
        with self._database.transaction() as work:
            route_notices(work, self._channels, self._directions, now_us)
            return claim_due(work, self._directions, busy, room, now_us)

    async def _deliver(self, delivery: Delivery) -> None:
        channel = self._channels.get(delivery.channel)
        if channel is None or not channel.reaches(delivery.recipient):
            # It was taken away after the notice was routed. It may come back within the day.
            outcome = Outcome(delivered=False, answer="there is no address to send to any more")
        else:
            outcome = await channel.send(delivery.recipient, delivery.notice)
        if not outcome.delivered:
            log.warning(
                "the %s of %s was not delivered at attempt %d: %s",
                *(delivery.channel, delivery.notice.id, delivery.attempts + 1, outcome.answer),
            )
        try:
            await asyncio.to_thread(self._record, delivery, outcome)
        except StoreUnavailableError:
            log.warning("what became of %s could not be written; it is sent again", delivery.notice.id)

    def _record(self, delivery: Delivery, outcome: Outcome) -> None:
        with self._database.transaction() as work:
            record(work, delivery, outcome, self._clock.now_us())
