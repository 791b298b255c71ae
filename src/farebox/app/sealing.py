"""Sealing: the days that are over in the wallet's time zone, and the duty by which one worker of all seals them."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from farebox.app.duties import Duty
from farebox.app.lease import Lease, keep_lease
from farebox.app.office import Office
from farebox.billing.periods import Calendar
from farebox.ledger.seal import Day, make_seals, unsealed_from_us
from farebox.store.database import Database

log = logging.getLogger("farebox")
SEAL_S = 600.0
LEASE_US = 3_600_000_000  # Longer than any day takes to be read; who dies with it only delays the seals.


def sealing_duty(office: Office, owner: str) -> Duty:
    """Makes the seals that are missing."""
    calendar = Calendar(office.settings.wallet.time_zone)
    lease = Lease("seal", owner, LEASE_US)

    def seal() -> None:
        now_us = office.clock.now_us()
        if keep_lease(office.database, lease, now_us):
            made = seal_finished(office.database, calendar, now_us)
            if made:
                log.info("sealed the books of %d days", made)

    return Duty("seal the books", SEAL_S, seal, in_thread=True)


def seal_finished(database: Database, calendar: Calendar, now_us: int) -> int:
    """Seal every day that is over and is not; how many were."""
    return make_seals(database, finished_days(database, calendar, now_us), now_us)


def finished_days(database: Database, calendar: Calendar, now_us: int) -> Iterator[Day]:
    """The days that are over since the last seal."""
    with database.read() as view:
        from_us = unsealed_from_us(view)
    if from_us is not None:
        for period in calendar.days(from_us, now_us):
            if period.end_us <= now_us:
                yield Day(period.name, period.end_us)
