"""The vault: bytes that must not be readable in the database are sealed by keys made of the master secret.

Each purpose has a safe, and each safe a key of its own, so that what was sealed for one purpose opens for no other: a
gateway that used one key for everything let a caller present one kind of sealed text as another (CVE-2026-114612).
A safe seals with the first secret and opens what any of them sealed; hence a secret can be replaced while what the
one before has sealed stays readable.

    sealed = version (1 byte), id of the secret (4), nonce (12), ciphertext and tag of AES-256-GCM

The context (whose it is, and what) is authenticated with it: sealed bytes copied to another row do not open there.
Nonces are random: one key is good for 2^32 seals, by which time the secret should have been replaced.

`cryptography` is imported at a safe's first use: it takes 5 to 25 ms and 6 MiB, which a gateway that seals nothing
need not spend.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Sequence
from typing import Protocol

_VERSION = b"\x01"
_ID_BYTES = 4
_NONCE_BYTES = 12
_KEY_BYTES = 32
_HEAD_BYTES = len(_VERSION) + _ID_BYTES + _NONCE_BYTES


class SealBrokenError(Exception):
    """Bytes that no secret of ours has sealed, for this purpose and in this context."""


class _Cipher(Protocol):
    """AES-256-GCM under one key."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes:
        """Ciphertext and tag."""

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes:
        """What was encrypted."""


class Vault:
    """The master secrets, the current one first. They are given out to nobody."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        if not secrets or not all(secrets):
            raise ValueError("the master secret is empty")
        self._secrets = tuple(secrets)

    def __repr__(self) -> str:
        return f"Vault({len(self._secrets)} secrets)"

    def safe(self, purpose: str) -> Safe:
        """The safe for one purpose; its name is part of its keys, so it can never be changed."""
        return Safe(self._secrets, purpose)


class Safe:
    """Seals and opens for one purpose."""

    def __init__(self, secrets: Sequence[bytes], purpose: str) -> None:
        self._ids = [_derived(secret, "id", _ID_BYTES) for secret in secrets]
        self._keys = [_derived(secret, f"seal {purpose}", _KEY_BYTES) for secret in secrets]
        self._mark_keys = [_derived(secret, f"mark {purpose}", _KEY_BYTES) for secret in secrets]
        self._ciphers: dict[bytes, _Cipher] = {}  # By the secret's id; empty before the first use.

    def __repr__(self) -> str:
        return f"Safe({len(self._keys)} keys)"

    def prepare(self) -> None:
        """Load what seals; the first use does so itself, but that is no work for a loop."""
        if not self._ciphers:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 -- see the module's word

            self._ciphers = {
                id_: AESGCM(key) for id_, key in zip(reversed(self._ids), reversed(self._keys), strict=True)
            }

    def seal(self, data: bytes, context: bytes) -> bytes:
        """Bytes that only `open` with the same context can read."""
        self.prepare()
        nonce = os.urandom(_NONCE_BYTES)
        id_ = self._ids[0]
        return b"".join((_VERSION, id_, nonce, self._ciphers[id_].encrypt(nonce, data, context)))

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """What was sealed; SealBrokenError if it was not sealed here, or was changed since."""
        self.prepare()
        id_, nonce = sealed[1 : 1 + _ID_BYTES], sealed[1 + _ID_BYTES : _HEAD_BYTES]
        cipher = self._ciphers.get(id_)
        if sealed[:1] != _VERSION or cipher is None or len(nonce) < _NONCE_BYTES:
            raise SealBrokenError("no secret of this deployment has sealed this")
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 -- as in `prepare`

        try:
            return cipher.decrypt(nonce, sealed[_HEAD_BYTES:], context)
        except InvalidTag:
            raise SealBrokenError("this was sealed for something else, or changed since") from None

    def mark(self, data: bytes) -> bytes:
        """A digest that tells equal bytes from others, and nothing to whoever lacks the secret: guesses cannot be
        tried on it, as they can on a plain digest.
        """
        return _hmac(self._mark_keys[0], data)

    def marks(self, data: bytes) -> frozenset[bytes]:
        """The marks of these bytes under every secret: one made before a rotation is among them."""
        return frozenset(_hmac(key, data) for key in self._mark_keys)


def _derived(secret: bytes, purpose: str, size: int) -> bytes:
    """HKDF with SHA-256 (RFC 5869), of one block: extract, then expand."""
    assert size <= hashlib.sha256().digest_size
    inner = _hmac(b"farebox vault", secret)
    return _hmac(inner, purpose.encode() + b"\x01")[:size]


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")
