"""Administrators: the one-time link that makes the first, and the keys they hold.

There is no default password: whoever can read the server's output can open the link, once, within a day. An
administrator's key is kept as a digest and found by it, as a customer's is; it opens nothing of a customer's.
"""

from __future__ import annotations

import hashlib
import secrets

import msgspec

from farebox.accounts.audit import Deed, write_deed
from farebox.store.database import Transaction

LINK_LIFE_US = 86_400 * 1_000_000
KEY_PREFIX = "sk-admin-"
_COLUMNS = "id, name, hint, created, revoked"


class Administrator(msgspec.Struct, frozen=True):
    """One administrator, without the key's secret."""

    id: int
    name: str
    hint: str
    created_us: int
    revoked_us: int | None

    @property
    def actor(self) -> str:
        """What the audit log calls them."""
        return f"{self.name} ({self.id})"


def has_administrator(work: Transaction) -> bool:
    """Whether somebody runs this shop already."""
    return work.one("SELECT id FROM administrators WHERE revoked IS NULL LIMIT 1") is not None


def find_administrator(view: Transaction, secret: str) -> Administrator | None:
    """Whose key it is, if it opens anything."""
    if not secret.startswith(KEY_PREFIX):
        return None
    found = read_administrators(view, "WHERE digest = ? AND revoked IS NULL", digest_of(secret))
    return found[0] if found else None


def read_administrators(view: Transaction, where: str = "", *values: int | bytes) -> list[Administrator]:
    """Administrators in the order they were made; `where` is a clause of this package's own."""
    sql = f"SELECT {_COLUMNS} FROM administrators {where} ORDER BY id"  # noqa: S608 -- as above
    return [
        Administrator(
            int(id_ or 0), str(name), str(hint), int(created or 0), None if revoked is None else int(revoked)
        )
        for id_, name, hint, created, revoked in view.all(sql, *values)
    ]


def mint_administrator(work: Transaction, name: str, now_us: int) -> tuple[Administrator, str]:
    """Make an administrator; the secret of its key is given back here and never again."""
    secret = f"{KEY_PREFIX}{secrets.token_hex(32)}"
    hint = f"{secret[:12]}…{secret[-4:]}"
    row = work.one(
        "INSERT INTO administrators (name, digest, hint, created) VALUES (?, ?, ?, ?) RETURNING id",
        *(name, digest_of(secret), hint, now_us),
    )
    assert row is not None
    return Administrator(int(row[0] or 0), name, hint, now_us, None), secret


def revoke_administrator(work: Transaction, id_: int, now_us: int) -> bool:
    """End an administrator's key; False if it is the last one that opens anything. A repeat changes nothing."""
    others = work.one("SELECT id FROM administrators WHERE revoked IS NULL AND id <> ? LIMIT 1", id_)
    if others is None:
        return False
    work.run("UPDATE administrators SET revoked = ? WHERE id = ? AND revoked IS NULL", now_us, id_)
    return True


def new_link(work: Transaction, now_us: int) -> str:
    """A one-time token, the only one that is good from now on; kept as a digest."""
    token = secrets.token_urlsafe(32)
    value = f"{_digest(token)} {now_us + LINK_LIFE_US}"
    work.run(
        "INSERT INTO settings (name, value) VALUES ('admin_link', ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        value,
    )
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
    work.run("DELETE FROM settings WHERE name = 'admin_link'")
    made, secret = mint_administrator(work, name, now_us)
    after = {"id": made.id, "name": made.name, "hint": made.hint}
    write_deed(
        work, Deed("one-time link", "administrator.create", f"administrator:{made.id}", now_us, after=after)
    )
    return secret


def digest_of(secret: str) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(secret.encode()).digest()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
