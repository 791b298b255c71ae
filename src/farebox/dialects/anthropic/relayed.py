"""A caller's body on its way to a provider of this language: the original members, declared splices only."""

from __future__ import annotations

import msgspec

from farebox.dialects.anthropic.rules import STRIPPED
from farebox.dialects.dialect import Head
from farebox.dialects.own import OWN

_members_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_OUT = (*sorted(OWN), *STRIPPED)


def write_relayed(body: bytes, model: str, head: Head, *, ask_usage: bool = True) -> bytes:
    """The caller's members, each as it was written, but for our own and those that `RULES` strips."""
    del head, ask_usage  # Usage comes unasked, and a caller always says a limit.
    members = _members_decoder.decode(body)
    for name in _OUT:
        members.pop(name, None)
    members["model"] = msgspec.Raw(msgspec.json.encode(model))
    return msgspec.json.encode(members)
