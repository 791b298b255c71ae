"""Duties: what a worker does from time to time beside answering calls.

Each runs by itself at its own pace; one that fails is logged and tried again at its next turn, never given up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec

log = logging.getLogger("farebox")


class Duty(msgspec.Struct, frozen=True):
    """One duty: what, how often in seconds, and whether it may take long and so belongs in a thread."""

    name: str
    every_s: float
    run: Callable[[], object]
    in_thread: bool = False


class Duties:
    """Runs duties until they are stopped."""

    def __init__(self, duties: list[Duty]) -> None:
        self._tasks = [asyncio.create_task(_repeat(duty), name=duty.name) for duty in duties]

    async def stop(self) -> None:
        """End them all; one that is under way finishes its turn."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _repeat(duty: Duty) -> None:
    while True:
        await asyncio.sleep(duty.every_s)
        try:
            if duty.in_thread:
                await asyncio.to_thread(duty.run)
            else:
                duty.run()
        except Exception:  # A duty is never given up: whatever stopped it may be gone at its next turn.
            log.exception("the duty %s failed; it is tried again in %s s", duty.name, duty.every_s)
