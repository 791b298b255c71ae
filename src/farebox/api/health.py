"""Health: is the process up, and can it take calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from farebox.api.visit import Visit
from farebox.store.database import StoreUnavailableError


class Health:
    """The two health surfaces; `pings` are the parts that must answer, by the name the reply gives them."""

    def __init__(self, pings: Mapping[str, Callable[[], None]]) -> None:
        self.draining = False
        self._pings = pings

    async def health(self, visit: Visit) -> None:
        """`GET /health`: the process answers."""
        visit.answer({"status": "ok"})

    async def ready(self, visit: Visit) -> None:
        """`GET /health/ready`: everything a call needs answers, and we are not on our way out."""
        parts = {name: _state(ping) for name, ping in self._pings.items()}
        well = not self.draining and all(state == "ok" for state in parts.values())
        status = "ready" if well else "draining" if self.draining else "unavailable"
        if not well:
            visit.headers += b"retry-after: 1\r\n"
        visit.answer({"status": status, **parts}, 200 if well else 503)


def _state(ping: Callable[[], None]) -> str:
    try:
        ping()
    except StoreUnavailableError:
        return "down"
    return "ok"
