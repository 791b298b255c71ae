"""API keys: minted once, kept as a digest, found by it.

A key is `sk-` and 64 hexadecimal digits (AICredits' form): 256 random bits, so a fast digest is enough and a look-up
by digest tells an attacker nothing.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence

import msgspec

from farebox.accounts.budgets import UNLIMITED, Limits, copy_limits, read_limits
from farebox.accounts.changes import announce
from farebox.core.clock import Ids
from farebox.store.database import Transaction, Value


class Key(msgspec.Struct, frozen=True):
    """One key, without its secret."""

    id: int
    public_id: str
    account_id: int
    hint: str  # First and last characters, to recognise it by.
    name: str
    created_us: int
    expires_us: int | None
    revoked_us: int | None
    last_used_us: int | None
    paused_us: int | None = None  # A breaker stopped it, until somebody lets it go on.
    limits: Limits = UNLIMITED

    def usable_at(self, now_us: int) -> bool:
        """Whether the key opens anything at that time."""
        ends = [at for at in (self.expires_us, self.revoked_us) if at is not None]
        return not ends or now_us < min(ends)


_COLUMNS = "id, public_id, account_id, hint, name, created, expires, revoked, last_used, paused"


def digest_of(secret: str) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(secret.encode()).digest()


def mint_key(work: Transaction, ids: Ids, *, account_id: int, name: str, now_us: int) -> tuple[Key, str]:
    """Make a key; its secret is given back here and never again."""
    secret = f"sk-{secrets.token_hex(32)}"
    hint = f"{secret[:7]}…{secret[-4:]}"
    public_id = ids.new()
    row = work.one(
        "INSERT INTO keys (public_id, account_id, digest, hint, name, created) VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
        *(public_id, account_id, digest_of(secret), hint, name, now_us),
    )
    assert row is not None
    key_id = int(row[0] or 0)
    announce(work, "key", key_id)
    return Key(key_id, public_id, account_id, hint, name, now_us, None, None, None), secret


def end_key(work: Transaction, key: Key, at_us: int) -> None:
    """Close a key from a time on; an end that is already set earlier stays."""
    work.run(
        "UPDATE keys SET revoked = ? WHERE id = ? AND (revoked IS NULL OR revoked > ?)", at_us, key.id, at_us
    )
    announce(work, "key", key.id)


def rotate_key(work: Transaction, ids: Ids, old: Key, *, overlap_s: int, now_us: int) -> tuple[Key, str]:
    """Make a key in the place of another, which stays good for an overlap; its secret. ValueError if that has ended.

    The new one has what is left of the old one's budgets: nobody gets a fresh budget by rotating.
    """
    if not old.usable_at(now_us):
        raise ValueError(f"{old.hint} is revoked already; create a key instead")
    key, secret = mint_key(work, ids, account_id=old.account_id, name=old.name, now_us=now_us)
    copy_limits(work, old.id, key.id)
    work.run("UPDATE keys SET expires = ?, paused = ? WHERE id = ?", old.expires_us, old.paused_us, key.id)
    end_key(work, old, now_us + overlap_s * 1_000_000)
    return key, secret


def find_key(work: Transaction, name: str) -> Key | None:
    """The key that a person means: by its secret, its id, or its hint or label if only one has it."""
    for column, value in (("digest", digest_of(name)), ("public_id", name)):
        rows = read_keys(work, f"WHERE {column} = ?", value)
        if rows:
            return rows[0]
    rows = read_keys(work, "WHERE hint = ? OR name = ?", name, name)
    return rows[0] if len(rows) == 1 else None


def get_key(work: Transaction, name: str) -> Key:
    """The key that a person means. ValueError if there is none."""
    key = find_key(work, name)
    if key is None:
        raise ValueError("there is no such key; farebox keys list shows their ids")
    return key


def read_keys(work: Transaction, where: str = "", *values: str | int | bytes) -> list[Key]:
    """Keys in the order they were made; `where` is a clause of this package's own."""
    sql = f"SELECT {_COLUMNS} FROM keys {where} ORDER BY id"  # noqa: S608 -- as above
    rows = work.all(sql, *values)
    limits = _limits_of(work, [row[0] for row in rows])
    return [_key(row, limits) for row in rows]


def read_keys_with_digests(work: Transaction, where: str = "", *values: int) -> list[tuple[bytes, Key]]:
    """Keys and the digests they are found by, for the directory."""
    sql = f"SELECT digest, {_COLUMNS} FROM keys {where}"  # noqa: S608 -- as above
    rows = work.all(sql, *values)
    limits = _limits_of(work, [row[1] for row in rows])
    return [(digest, _key(row, limits)) for digest, *row in rows if isinstance(digest, bytes)]


def _limits_of(work: Transaction, key_ids: Sequence[Value]) -> dict[int, Limits]:
    """The limits of the only key, or of all."""
    return read_limits(work, int(key_ids[0] or 0) if len(key_ids) == 1 else None)


def _key(row: Sequence[Value], limits: dict[int, Limits]) -> Key:
    # Columns and fields have the same order; the conversion checks their types.
    members = dict(zip(Key.__struct_fields__, row, strict=False))
    return msgspec.convert({**members, "limits": limits.get(int(row[0] or 0), UNLIMITED)}, Key)


def note_use(work: Transaction, used: dict[int, int]) -> None:
    """Keep when each key was last used, in microseconds."""
    work.run_many("UPDATE keys SET last_used = ? WHERE id = ?", [(at, key_id) for key_id, at in used.items()])
