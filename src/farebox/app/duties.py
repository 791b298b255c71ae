"""Duties: what a worker does from time to time beside answering calls.

Each runs by itself at its own pace; one that fails is logged and tried again at its next turn, never given up.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable

import msgspec

from farebox.store.database import StoreUnavailableError

log = logging.getLogger("farebox")
LAST_TURN_S = 5.0


class Duty(msgspec.Struct, frozen=True):
    """One duty: what (awaited, if it can be), how often in seconds, whether it may take long: then in a thread."""

    name: str
    every_s: float
    run: Callable[[], object]
    in_thread: bool = False
    at_start: bool = False  # The first time at once, not only after its pause.


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
    away = False  # The database was, at the last turn: one line says so, and one that it is back.
    rest = not duty.at_start
    while True:
        if rest:
            await asyncio.sleep(duty.every_s)
        rest = True
        try:
            if duty.in_thread:
                await _in_thread(duty)
            else:
                begun = duty.run()
                if inspect.isawaitable(begun):
                    await begun
            if away:
                log.warning("the duty %s is done again", duty.name)
            away = False
        except StoreUnavailableError as error:
            if not away:
                log.warning("the duty %s waits for the database: %s", duty.name, error)
            away = True
        except Exception:  # A duty is never given up: whatever stopped it may be gone at its next turn.
            log.exception("the duty %s failed; it is tried again in %s s", duty.name, duty.every_s)


async def _in_thread(duty: Duty) -> None:
    """Run a turn in a thread. A thread cannot be stopped: whoever ends the duty waits for it, for a while."""
    turn = asyncio.ensure_future(asyncio.to_thread(duty.run))
    try:
        await asyncio.shield(turn)
    except asyncio.CancelledError:
        await asyncio.wait({turn}, timeout=LAST_TURN_S)
        raise
