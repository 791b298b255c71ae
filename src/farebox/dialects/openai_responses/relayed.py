"""A caller's body on its way to a provider of this language: the original members, declared splices only."""

from __future__ import annotations

import msgspec

from farebox.dialects.dialect import Head
from farebox.dialects.openai_responses.input import clean_input, include_of
from farebox.dialects.openai_responses.rules import STRIPPED
from farebox.dialects.own import OWN

_members_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_false = msgspec.Raw(b"false")
_nothing = msgspec.Raw()


def write_relayed(body: bytes, model: str, head: Head, *, ask_usage: bool = True) -> bytes:
    """The caller's members, each as it was written, but for those that `RULES` and this module's line name."""
    del ask_usage  # Usage comes unasked.
    members = _members_decoder.decode(body)
    for name in OWN & members.keys():
        del members[name]
    for name in STRIPPED:
        members.pop(name, None)
    include = include_of(
        bytes(members.get("include", _nothing)),
        bytes(members.get("reasoning", _nothing)),
        bytes(members.get("store", _nothing)),
    )
    if include:
        members["include"] = msgspec.Raw(include)
    members["model"] = msgspec.Raw(msgspec.json.encode(model))
    members["input"] = clean_input(members["input"])
    if head.limited:
        members["max_output_tokens"] = msgspec.Raw(b"%d" % (head.output_limit or 0))
    members["store"] = _false  # Absent it is on: OpenAI keeps every answer that nobody tells it not to.
    return msgspec.json.encode(members)
