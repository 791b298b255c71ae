"""Room: what wallets have free, as remembered for a moment; a guess for the size of a hold, never a permission.

Calls that arrive together must not each take the wallet for their own, so a call asks how much is free before it
decides how much to hold. The books alone say whether it may. A wallet with plenty is read every few seconds, one that
runs low ten times a second; what this worker held since is taken off.
"""

from __future__ import annotations

from farebox.core.clock import Clock
from farebox.core.money import MAX_NANO
from farebox.store.database import Database, StoreUnavailableError

PLENTY_MS = 5_000
LOW_MS = 100
ACCOUNTS_MAX = 10_000  # Remembered at once; then all are forgotten.


class Room:
    """What each account's wallet has free."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._free: dict[int, tuple[int, int]] = {}  # Nano-units, and the moment of the read in milliseconds.

    def free_nano(self, account_id: int, enough_nano: int) -> int:
        """About how much is free; exactness matters only below what is enough."""
        now_ms = self._now_ms()
        known = self._free.get(account_id)
        if known is not None:
            free, read_ms = known
            if now_ms - read_ms < (PLENTY_MS if free >= enough_nano else LOW_MS):
                return free
        free = self._read(account_id)
        if len(self._free) >= ACCOUNTS_MAX:
            self._free.clear()
        self._free[account_id] = free, now_ms
        return free

    def take(self, account_id: int, amount_nano: int) -> None:
        """Note a hold that is about to be taken."""
        known = self._free.get(account_id)
        if known is not None:
            self._free[account_id] = known[0] - amount_nano, known[1]

    def note(self, account_id: int, free_nano: int) -> None:
        """Learn what the books have just said."""
        self._free[account_id] = free_nano, self._now_ms()

    def _now_ms(self) -> int:
        return int(self._clock.monotonic_s() * 1000)

    def _read(self, account_id: int) -> int:
        if not self._database.inline:
            return (
                MAX_NANO  # The loop does not wait for a server's answer: what a hold is refused by says more.
            )
        try:
            with self._database.read() as view:
                row = view.one("SELECT balance - held FROM wallets WHERE account_id = ?", account_id)
        except StoreUnavailableError:
            return MAX_NANO  # The hold itself will say so.
        return int(row[0] or 0) if row is not None else 0
