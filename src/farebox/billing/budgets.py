"""Budgets of keys as their owners see them: how much of each is spent, and letting a stopped key go on."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from farebox.accounts.accounts import read_accounts
from farebox.accounts.budgets import set_paused
from farebox.accounts.keys import Key, read_keys
from farebox.billing.telling.notices import Notice, note
from farebox.ledger.budgets import raise_ceiling
from farebox.store.database import Transaction


class Standing(msgspec.Struct, frozen=True):
    """One budget of a key in its current window."""

    period: str
    amount_nano: int
    spent_nano: int
    held_nano: int

    @property
    def left_nano(self) -> int:
        """What further calls may be held for."""
        return max(0, self.amount_nano - self.spent_nano - self.held_nano)


def read_standing(view: Transaction, key: Key, starts_us: Mapping[str, int]) -> list[Standing]:
    """How a key's budgets stand, given when the current window of each period began."""
    found = []
    for budget in key.limits.budgets:
        row = view.one(
            "SELECT spent, held FROM budget_windows WHERE key_id = ? AND period = ? AND starts = ?",
            *(key.id, budget.period, starts_us[budget.period]),
        )
        spent, held = (0, 0) if row is None else (int(row[0] or 0), int(row[1] or 0))
        found.append(Standing(budget.period, budget.amount_nano, spent, held))
    return found


def pause_tripped(work: Transaction, key_ids: set[int], now_us: int) -> int:
    """Stop the keys whose breaker has refused a hold, and tell their accounts; how many were stopped."""
    paused = 0
    for key_id in sorted(key_ids):
        (key,) = read_keys(work, "WHERE id = ?", key_id)
        if key.paused_us is not None:
            continue
        set_paused(work, key_id, now_us)
        (account,) = read_accounts(work, "WHERE id = ?", key.account_id)
        name = key.name or key.hint
        note(
            work,
            Notice(
                once=f"breaker:{key.public_id}:{now_us}",
                account_id=account.id,
                kind="key.paused",
                subject=f"The key {name} was stopped",
                text=f"The key {name} of {account.name} was about to spend far more in an hour than it usually does, so"
                " it was stopped. If that is what you want of it, let it go on in the console, or ask the operator.",
                data={"key": key.public_id, "account": account.name},
                created_us=now_us,
            ),
        )
        paused += 1
    return paused


def resume_key(work: Transaction, key: Key, now_us: int) -> None:
    """Let a stopped key go on, with as much again for the current hour."""
    set_paused(work, key.id, None)
    raise_ceiling(work, key.id, now_us)
