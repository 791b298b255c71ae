"""API keys: minted once, kept as a digest, found by it.

A key is `sk-` and 64 hexadecimal digits (AICredits' form): 256 random bits, so a fast digest is enough and a look-up
by digest tells an attacker nothing.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence

import msgspec

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

    def usable_at(self, now_us: int) -> bool:
        """Whether the key opens anything at that time."""
        ends = [at for at in (self.expires_us, self.revoked_us) if at is not None]
        return not ends or now_us < min(ends)


_COLUMNS = "id, public_id, account_id, hint, name, created, expires, revoked, last_used"


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


def find_key(work: Transaction, name: str) -> Key | None:
    """The key that a person means: by its secret, its id, or its hint or label if only one has it."""
    for column, value in (("digest", digest_of(name)), ("public_id", name)):
        rows = read_keys(work, f"WHERE {column} = ?", value)
        if rows:
            return rows[0]
    rows = read_keys(work, "WHERE hint = ? OR name = ?", name, name)
    return rows[0] if len(rows) == 1 else None


def read_keys(work: Transaction, where: str = "", *values: str | int | bytes) -> list[Key]:
    """Keys in the order they were made; `where` is a clause of this package's own."""
    sql = f"SELECT {_COLUMNS} FROM keys {where} ORDER BY id"  # noqa: S608 -- as above
    return [_key(row) for row in work.all(sql, *values)]


def read_keys_with_digests(work: Transaction, where: str = "", *values: int) -> list[tuple[bytes, Key]]:
    """Keys and the digests they are found by, for the directory."""
    sql = f"SELECT digest, {_COLUMNS} FROM keys {where}"  # noqa: S608 -- as above
    return [(digest, _key(row)) for digest, *row in work.all(sql, *values) if isinstance(digest, bytes)]


def _key(row: Sequence[Value]) -> Key:
    # Columns and fields have the same order; the conversion checks their types.
    return msgspec.convert(dict(zip(Key.__struct_fields__, row, strict=True)), Key)


def note_use(work: Transaction, used: dict[int, int]) -> None:
    """Keep when each key was last used, in microseconds."""
    work.run_many("UPDATE keys SET last_used = ? WHERE id = ?", [(at, key_id) for key_id, at in used.items()])
