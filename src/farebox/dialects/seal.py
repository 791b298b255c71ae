"""Seals: a provider's signed or hidden state, carried through a language that has no place for it, and back.

Providers sign what a model thought and refuse the next turn without the signature, byte for byte. Where the caller's
language has a place for one signature but not for its signer, the signer goes into it (`seal`, `unseal`); where it has
none, as for the signature of a tool call, it rides in the call's id (`seal_id`, `unseal_id`), which every client
returns as it came. Both forms are base64 of a text that begins with `farebox:`, so that one search of a body's bytes
tells whether any is in it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable

_SCHEME = "farebox:"
# Base64 of "farebox:" is this but for its last, shared letter.
_BEGINNING = "ZmFyZWJveD"
_SEAL = re.compile(rf"{_BEGINNING}[A-Za-z0-9+/]+={{0,2}}")
_ID_MARK = "_fbx_"  # Ids may hold letters, digits, "_" and "-" alone, says Anthropic's pattern for them.
_ID_SEAL = re.compile(rf"^(.*){_ID_MARK}({_BEGINNING}[A-Za-z0-9_-]+)$", re.DOTALL)
_MARK = _BEGINNING.encode()


def holds_seals(body: bytes) -> bool:
    """Whether a body may hold a seal; false alarms cost a rewrite, nothing more."""
    return _MARK in body


def seal(signature: str, signed_by: str) -> str:
    """One text for a signature and the dialect whose provider can read it."""
    return base64.b64encode(f"{_SCHEME}{signed_by}:{signature}".encode()).decode()


def unseal(text: str) -> tuple[str, str] | None:
    """The signature and its signer; None where it is no seal of ours."""
    if not _SEAL.fullmatch(text):
        return None
    return _opened(text)


def seal_id(call_id: str, signature: str) -> str:
    """A tool call's id that carries the call's signature."""
    sealed = base64.urlsafe_b64encode(f"{_SCHEME}{signature}".encode()).decode().rstrip("=")
    return f"{call_id}{_ID_MARK}{sealed}"


def unseal_id(call_id: str) -> tuple[str, str | None]:
    """The id as it was, and the call's signature if it carries one."""
    if _ID_MARK not in call_id:
        return call_id, None
    found = _ID_SEAL.match(call_id)
    inside = found and _decoded(found[2] + "=" * (-len(found[2]) % 4), base64.urlsafe_b64decode)
    return (found[1], inside) if found and inside is not None else (call_id, None)


def _opened(text: str) -> tuple[str, str] | None:
    inside = _decoded(text, base64.b64decode) or ""
    signed_by, colon, signature = inside.partition(":")
    return (signature, signed_by) if colon else None


def _decoded(text: str, decode: Callable[[str], bytes]) -> str | None:
    """What follows the scheme."""
    try:
        inside = decode(text).decode()
    except (binascii.Error, ValueError):
        return None
    return inside.removeprefix(_SCHEME) if inside.startswith(_SCHEME) else None
