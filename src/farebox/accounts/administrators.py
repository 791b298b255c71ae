"""Administrators: the one-time link that makes the first, and the keys they hold.

There is no default password: whoever can read the server's output can open the link, once, within a day.
"""

from __future__ import annotations

import hashlib
import secrets

from farebox.store.database import Transaction

LINK_LIFE_US = 86_400 * 1_000_000
KEY_PREFIX = "sk-admin-"


def has_administrator(work: Transaction) -> bool:
    """Whether somebody runs this shop already."""
    return work.one("SELECT id FROM administrators LIMIT 1") is not None


def new_link(work: Transaction, now_us: int) -> str:
    """A one-time token, the only one that is good from now on; kept as a digest."""
    token = secrets.token_urlsafe(32)
    value = f"{_digest(token)} {now_us + LINK_LIFE_US}"
    work.run("INSERT OR REPLACE INTO settings (name, value) VALUES ('admin_link', ?)", value)
    return token


def link_is_good(work: Transaction, token: str, now_us: int) -> bool:
    """Whether a token opens the set-up."""
    row = work.one("SELECT value FROM settings WHERE name = 'admin_link'")
    if row is None:
        return False
    digest, _, ends_us = str(row[0]).partition(" ")
    return secrets.compare_digest(digest, _digest(token)) and now_us < int(ends_us)


def use_link(work: Transaction, token: str, *, name: str, now_us: int) -> str | None:
    """Make an administrator and its key, and end the link; None if the token is not good."""
    if not link_is_good(work, token, now_us):
        return None
    secret = f"{KEY_PREFIX}{secrets.token_hex(32)}"
    work.run("DELETE FROM settings WHERE name = 'admin_link'")
    work.run(
        "INSERT INTO administrators (name, digest, hint, created) VALUES (?, ?, ?, ?)",
        *(name, hashlib.sha256(secret.encode()).digest(), f"{secret[:12]}…{secret[-4:]}", now_us),
    )
    return secret


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
