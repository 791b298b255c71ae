"""Redemption codes: credit for whoever knows one. Kept as digests, shown once, each good once for an account."""

from __future__ import annotations

import hashlib
import secrets

import msgspec

from farebox.core.clock import Ids
from farebox.core.errors import Fault, Kind
from farebox.ledger.moves import Booked, Move, move
from farebox.ledger.rules import TransferKind
from farebox.store.database import Database, Transaction

_LETTERS = "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # Without those that people mistake for one another: 30 of them.
_LENGTH = 20  # 98 bits.
_GROUP = 5
TRIES_MOST = 10
TRIES_US = 10 * 60 * 1_000_000
USES_MOST = 1_000_000
LIST_MOST = 1_000
_TYPED_MAX = 100
_JOINTS = str.maketrans({"-": "", " ": "", "…": ""})  # What is written between the letters.


class NewCode(msgspec.Struct, frozen=True):
    """A code to be made: what it is worth, how many accounts may redeem it, and until when."""

    credit_nano: int
    currency: str
    uses_max: int = 1
    expires_us: int | None = None
    reason: str | None = None


class Code(msgspec.Struct, frozen=True):
    """A code as it is listed, without itself."""

    hint: str
    credit_nano: int
    currency: str
    uses: int
    uses_max: int
    expires_us: int | None
    revoked_us: int | None
    reason: str | None
    created_us: int


class Redeemed(msgspec.Struct, frozen=True):
    """What a code gave, and the id of its transfer."""

    transfer_id: str
    credit_nano: int
    currency: str


def create_code(work: Transaction, new: NewCode, now_us: int) -> str:
    """Make a code; it is given back here and never again. ValueError if it could not be redeemed."""
    if new.credit_nano <= 0:
        raise ValueError("a code's credit must be more than 0")
    if not 0 < new.uses_max <= USES_MOST:
        raise ValueError(f"a code can be redeemed from 1 to {USES_MOST} times")
    if new.expires_us is not None and new.expires_us <= now_us:
        raise ValueError("that time is over already")
    plain = "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
    work.run(
        "INSERT INTO codes (digest, hint, credit, currency, uses_max, expires, reason, created)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        *(_digest(plain), f"…{plain[-4:]}", new.credit_nano, new.currency, new.uses_max),
        *(new.expires_us, new.reason, now_us),
    )
    return "-".join(plain[at : at + _GROUP] for at in range(0, _LENGTH, _GROUP))


def list_codes(view: Transaction) -> list[Code]:
    """Codes, newest first, at most LIST_MOST."""
    rows = view.all(
        "SELECT hint, credit, currency, uses, uses_max, expires, revoked, reason, created FROM codes"
        " ORDER BY created DESC, hint LIMIT ?",
        LIST_MOST,
    )
    return [msgspec.convert(dict(zip(Code.__struct_fields__, row, strict=True)), Code) for row in rows]


def revoke_code(work: Transaction, typed: str, now_us: int) -> Code:
    """End a code, by the code itself or by the last four letters as they are listed. ValueError if it is not one."""
    if len(letters := _letters(typed)) == _LENGTH:
        digests = [_digest(letters)]
    else:
        rows = work.all("SELECT digest FROM codes WHERE hint = ? AND revoked IS NULL", f"…{letters}")
        digests = [row[0] for row in rows if isinstance(row[0], bytes)]
    if len(digests) > 1:
        raise ValueError(f"{len(digests)} codes end so: write the whole code")
    changed = digests and work.run(
        "UPDATE codes SET revoked = COALESCE(revoked, ?) WHERE digest = ?", now_us, digests[0]
    )
    if not changed:
        raise ValueError("there is no such code")
    row = work.one(
        "SELECT hint, credit, currency, uses, uses_max, expires, revoked, reason, created FROM codes"
        " WHERE digest = ?",
        digests[0],
    )
    assert row is not None
    return msgspec.convert(dict(zip(Code.__struct_fields__, row, strict=True)), Code)


class Codes:
    """Redeems codes for accounts. Belongs in a thread."""

    def __init__(self, database: Database, ids: Ids) -> None:
        self._database = database
        self._ids = ids

    def redeem(self, account_id: int, typed: str, now_us: int, id_: str | None = None) -> Redeemed:
        """Credit a code, by a transfer of that id. Fault NOT_FOUND (not good, whatever the reason), CONFLICT (redeemed
        here before, by another), TOO_FAST.
        """
        with self._database.transaction() as work:
            tries = work.one(
                "SELECT COUNT(*), COALESCE(MIN(created), 0) FROM code_tries WHERE account_id = ? AND created > ?",
                *(account_id, now_us - TRIES_US),
            )
            assert tries is not None
            if int(tries[0] or 0) >= TRIES_MOST:
                raise Fault(
                    Kind.TOO_FAST,
                    f"{TRIES_MOST} codes in a row were not good. Try again in a few minutes.",
                    code="too_many_codes",
                    retry_after_s=max((int(tries[1] or 0) + TRIES_US - now_us) // 1_000_000, 1),
                )
            digest = _digest(_letters(typed[:_TYPED_MAX]))
            used = _use_of(work, digest, account_id)
            if used is not None and used.transfer_id == id_:
                return used
            if used is not None:
                raise Fault(
                    Kind.CONFLICT, "This account has redeemed that code.", code="code_redeemed", param="code"
                )
            redeemed = _use(work, digest, account_id, id_ or self._ids.new(), now_us)
            if redeemed is None:
                work.run(
                    "DELETE FROM code_tries WHERE account_id = ? AND created <= ?",
                    *(account_id, now_us - TRIES_US),
                )
                work.run(
                    "INSERT INTO code_tries (id, account_id, created) VALUES (?, ?, ?)",
                    *(self._ids.new(), account_id, now_us),
                )
        if redeemed is None:
            raise Fault(Kind.NOT_FOUND, "That code is not good.", code="code_not_good", param="code")
        return redeemed


def _use(work: Transaction, digest: bytes, account_id: int, id_: str, now_us: int) -> Redeemed | None:
    """Count the use, note whose it is and move the money: all three, or none of them."""
    code = work.one(
        "UPDATE codes SET uses = uses + 1 WHERE digest = ? AND uses < uses_max AND revoked IS NULL"
        " AND (expires IS NULL OR expires > ?) RETURNING credit, currency, hint",
        *(digest, now_us),
    )
    if code is None:
        return None
    credit, currency = int(code[0] or 0), str(code[1])
    work.run(
        "INSERT INTO code_uses (digest, account_id, transfer_id, created) VALUES (?, ?, ?, ?)",
        *(digest, account_id, id_, now_us),
    )
    grant = Move(id_, account_id, TransferKind.GRANT, credit, currency, "code " + str(code[2]), now_us)
    booked = move(work, grant)
    assert booked == Booked(new=True), f"a code was not booked: {booked}"
    return Redeemed(id_, credit, currency)


def _use_of(work: Transaction, digest: bytes, account_id: int) -> Redeemed | None:
    """What a code gave an account before."""
    row = work.one(
        "SELECT u.transfer_id, c.credit, c.currency FROM code_uses u JOIN codes c ON c.digest = u.digest"
        " WHERE u.digest = ? AND u.account_id = ?",
        *(digest, account_id),
    )
    return None if row is None else Redeemed(str(row[0]), int(row[1] or 0), str(row[2]))


def _letters(typed: str) -> str:
    return typed.upper().translate(_JOINTS)


def _digest(letters: str) -> bytes:
    return hashlib.sha256(b"code:" + letters.encode(errors="replace")).digest()
