"""Aside: calls that block for as long as a network pleases, in threads that nobody waits for at the end.

A thread of a pool is joined when the process ends, so a mail server that does not answer would hold up a restart.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


async def aside(call: Callable[[], Answer]) -> Answer:
    """What a blocking call gives, or the OSError or ValueError it raises. How many at once is the asker's to bound."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Answer] = loop.create_future()

    def tell(done: Callable[[], None]) -> None:
        try:
            loop.call_soon_threadsafe(lambda: None if future.done() else done())
        except RuntimeError:  # The loop is closed: nobody waits any more.
            return

    def run() -> None:
        try:
            answer = call()
        except (OSError, ValueError) as error:
            failed = error
            tell(lambda: future.set_exception(failed))
        else:
            tell(lambda: future.set_result(answer))

    threading.Thread(target=run, name="farebox-aside", daemon=True).start()
    return await future
