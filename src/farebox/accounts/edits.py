"""Edits: what an administrator changes of an account or a key that is there."""

from __future__ import annotations

from farebox.accounts.changes import announce
from farebox.store.database import Transaction


def set_plan(work: Transaction, account_id: int, plan: str) -> None:
    """Put an account on another plan."""
    work.run("UPDATE accounts SET plan = ? WHERE id = ?", plan, account_id)
    announce(work, "account", account_id)


def rename_key(work: Transaction, key_id: int, name: str) -> None:
    """Give a key another label."""
    work.run("UPDATE keys SET name = ? WHERE id = ?", name, key_id)
    announce(work, "key", key_id)


def set_expiry(work: Transaction, key_id: int, expires_us: int | None) -> None:
    """Let a key end at a time, or not by itself."""
    work.run("UPDATE keys SET expires = ? WHERE id = ?", expires_us, key_id)
    announce(work, "key", key_id)
