"""Automatic top-ups: a duty that buys for wallets which run low, one top-up at a time, within a month's cap."""

from __future__ import annotations

import logging

from farebox.billing.payments.auto_settings import AutoTopup, claim_run, low_wallets, note_run, wait_until
from farebox.billing.payments.topups import Topups, Wish
from farebox.billing.periods import Calendar, Period
from farebox.core.clock import Clock
from farebox.core.errors import Fault
from farebox.store.database import Database, Transaction

log = logging.getLogger("farebox")
AT_ONCE = 10  # Accounts in one turn of the duty.
RETURN_URL = "https://localhost/"  # Nobody is sent anywhere: the owner is away.


class AutoTopups:
    """The duty. Of all workers one starts an account's top-up: it writes its id into the account's setting first."""

    def __init__(self, database: Database, clock: Clock, topups: Topups, calendar: Calendar) -> None:
        self._database = database
        self._clock = clock
        self._topups = topups
        self._calendar = calendar

    def run(self) -> int:
        """Start what is due; how many top-ups were started."""
        now_us = self._clock.now_us()
        with self._database.read() as view:
            due = low_wallets(view, now_us, AT_ONCE)
        return sum(self._start(setting, now_us) for setting in due)

    def _start(self, setting: AutoTopup, now_us: int) -> bool:
        if setting.processor not in self._topups.processors:
            return False
        month = self._calendar.month(now_us)
        wish = Wish(
            setting.account_id,
            setting.amount,
            RETURN_URL,
            setting.processor,
            reason="automatic top-up",
            by_operator=True,
            method=setting.method,
        )
        try:
            with self._database.transaction() as work:
                if bought_nano(work, setting.account_id, month) + setting.amount > setting.monthly_cap:
                    wait_until(work, setting.account_id, month.end_us)
                    return False
                if not claim_run(work, setting, now_us):
                    return False  # Another worker has its turn.
                topup = self._topups.write_down(work, wish)
                note_run(work, setting.account_id, topup.id)
            self._topups.begin(topup)
        except Fault as fault:
            log.warning("the automatic top-up of account %d failed: %s", setting.account_id, fault.message)
        return True


def bought_nano(view: Transaction, account_id: int, month: Period) -> int:
    """What automatic top-ups have bought an account in a month, those under way included."""
    row = view.one(
        "SELECT COALESCE(SUM(credit), 0) FROM topups WHERE account_id = ? AND automatic = 1 AND created >= ?"
        " AND created < ? AND (paid IS NOT NULL OR status IN ('created', 'pending', 'mismatch'))",
        *(account_id, month.start_us, month.end_us),
    )
    assert row is not None
    return int(row[0] or 0)
