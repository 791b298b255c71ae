"""The head of a stream and its keep-alives: when nothing was written for a while, a line that says we are still here.

The head goes with the first meaningful chunk, or when the line first falls silent for too long: until then a failure
still has a real status. Everything is written in whole events, so a keep-alive never lands inside one.
"""

from __future__ import annotations

import asyncio

from farebox.gateway.call import Caller


class StreamHead:
    """Sends the head once, and keep-alives whenever `interval_s` passes in silence."""

    def __init__(self, caller: Caller, headers: bytes, *, keep_alive: bytes, interval_s: float) -> None:
        self.sent = False
        self._caller = caller
        self.headers = headers
        self._keep_alive = keep_alive
        self._interval_s = interval_s
        self._loop = asyncio.get_running_loop()
        self._last_s = self._loop.time()
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(interval_s, self._tick)

    def write(self, data: bytes) -> None:
        """Write events, after the head if it has not left yet."""
        self.send()
        self._last_s = self._loop.time()
        self._caller.write(data)

    def send(self) -> None:
        """Send the head if it has not left yet."""
        if not self.sent:
            self.sent = True
            self._caller.begin(200, self.headers)

    def stop(self) -> None:
        """No more keep-alives: the answer is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        # One timer a stream, re-armed for the rest of the silence: nothing is done a chunk but noting the time.
        if self._caller.gone:
            self._timer = None
            return
        silent_s = self._loop.time() - self._last_s
        if silent_s >= self._interval_s * 0.99:
            self.write(self._keep_alive)
            silent_s = 0.0
        self._timer = self._loop.call_later(max(self._interval_s - silent_s, 0.001), self._tick)
