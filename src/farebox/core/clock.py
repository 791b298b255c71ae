"""Time and ids as ports: the system's for the product, manual ones for tests. The only reader of the clock."""

from __future__ import annotations

import os
import time
from typing import Protocol

_BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's, as the ULID specification says.
_PAIRS = [a + b for a in _BASE32 for b in _BASE32]
_RANDOM_BYTES = 10
_POOL_BYTES = _RANDOM_BYTES * 400  # One system call for four hundred ids.


class Clock(Protocol):
    """Wall time for records, monotonic time for durations."""

    def now_us(self) -> int:
        """Microseconds since the Unix epoch."""

    def monotonic_s(self) -> float:
        """Seconds that only move forward."""


class Ids(Protocol):
    """Unique ids that sort by the time they were made."""

    def new(self) -> str:
        """A 26-character ULID."""


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        """Microseconds since the Unix epoch."""
        return time.time_ns() // 1000

    def monotonic_s(self) -> float:
        """Seconds that only move forward."""
        return time.monotonic()


class ManualClock:
    """A clock that moves when told to."""

    def __init__(self, now_us: int = 1_700_000_000_000_000) -> None:
        self._now_us = now_us

    def now_us(self) -> int:
        """Microseconds since the Unix epoch."""
        return self._now_us

    def monotonic_s(self) -> float:
        """Seconds that only move forward."""
        return self._now_us / 1e6

    def forward(self, seconds: float) -> None:
        """Let time pass."""
        self._now_us += round(seconds * 1e6)


class Ulids:
    """ULIDs from a clock: 48 bits of milliseconds, 80 random bits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pool = b""
        self._at = 0
        self._ms = -1
        self._time = ""

    def new(self) -> str:
        """A 26-character ULID."""
        if self._at >= len(self._pool):
            self._pool, self._at = os.urandom(_POOL_BYTES), 0
        random = int.from_bytes(self._pool[self._at : self._at + _RANDOM_BYTES])
        self._at += _RANDOM_BYTES
        now_ms = self._clock.now_us() // 1000
        if (
            now_ms != self._ms
        ):  # Under load several ids share a millisecond, and with it their first ten letters.
            self._ms, self._time = now_ms, _letters(now_ms, _TIME_SHIFTS)
        return self._time + _letters(random, _RANDOM_SHIFTS)


_TIME_SHIFTS = range(40, -1, -10)
_RANDOM_SHIFTS = range(70, -1, -10)


def _letters(value: int, shifts: range) -> str:
    pairs = _PAIRS
    return "".join([pairs[(value >> shift) & 1023] for shift in shifts])


def first_ulid(at_us: int) -> str:
    """The smallest ULID that could be made at a time: a bound for ranges of ids."""
    return _letters(at_us // 1000, _TIME_SHIFTS).ljust(26, "0")


class ManualIds:
    """Ids that count upwards, in the form of ULIDs."""

    def __init__(self) -> None:
        self._last = 0

    def new(self) -> str:
        """A 26-character id."""
        self._last += 1
        return f"{self._last:026d}"
