"""The entrance: an administrator's key opens it, nothing else does, and whoever guesses is stopped.

The addresses that guessed are remembered by each worker for itself, in memory: a key has 256 random bits, so what the
limit saves is work, not the key.
"""

from __future__ import annotations

import math
import threading
from ipaddress import IPv6Address, IPv6Network, ip_address

from farebox.accounts.administrators import Administrator, find_administrator
from farebox.core.clock import Clock
from farebox.core.errors import Fault, Kind
from farebox.store.database import Database

WRONG_MOST = 10
WITHIN_S = 600.0
ADDRESSES_MAX = 10_000  # Remembered at once; of more the oldest is forgotten.
_NETWORK_BITS = 64  # One subscriber's share of the addresses of IPv6.


class Entrance:
    """Lets administrators in."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._wrong_s: dict[str, list[float]] = {}  # When each address was wrong.

    def admit(self, secret: str | None, peer: str) -> Administrator:
        """Who asks. Fault TOO_FAST after too many wrong keys, else BAD_KEY with one text for every way to be wrong."""
        address = _address(peer)
        self._check(address)
        found = None
        if secret:
            with self._database.read() as view:
                found = find_administrator(view, secret)
        if found is None:
            if secret:
                self._note(address)
            raise Fault(
                Kind.BAD_KEY,
                "This needs the key of an administrator: send Authorization: Bearer sk-admin-….",
            )
        return found

    def _check(self, address: str) -> None:
        with self._lock:
            wrong_s = self._recent(address)
            if len(wrong_s) < WRONG_MOST:
                return
            wait_s = wrong_s[0] + WITHIN_S - self._clock.monotonic_s()
        raise Fault(
            Kind.TOO_FAST,
            f"{WRONG_MOST} wrong keys came from your address. Try again in {math.ceil(wait_s)} s.",
            retry_after_s=max(wait_s, 0.001),
            retry=False,
        )

    def _note(self, address: str) -> None:
        with self._lock:
            wrong_s = [*self._recent(address), self._clock.monotonic_s()][-WRONG_MOST:]
            self._wrong_s.pop(address, None)  # The latest stands last.
            self._wrong_s[address] = wrong_s
            if len(self._wrong_s) > ADDRESSES_MAX:
                del self._wrong_s[next(iter(self._wrong_s))]

    def _recent(self, address: str) -> list[float]:
        since_s = self._clock.monotonic_s() - WITHIN_S
        return [at for at in self._wrong_s.get(address, ()) if at > since_s]


def _address(peer: str) -> str:
    """Whom to count as one."""
    try:
        address = ip_address(peer)
    except ValueError:
        return peer
    if not isinstance(address, IPv6Address):
        return peer
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((address, _NETWORK_BITS), strict=False))
