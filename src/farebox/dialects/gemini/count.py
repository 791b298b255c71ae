"""Counting tokens: the bodies of `:countTokens`, on the way to a provider and back. (Google's reference, countTokens.)

A count may be asked of contents alone, or of a whole request; what stands beside contents is put into a request, for
Google counts it only there. No member that a call may not pass on passes here.
"""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import quote

import msgspec

from farebox.dialects.gemini.rules import STRIPPED
from farebox.dialects.gemini.spelling import respelled
from farebox.dialects.own import OWN
from farebox.dialects.splice import UNREADABLE

REQUEST: Final = "generateContentRequest"
_CONTENTS: Final = "contents"


class _Counted(msgspec.Struct, rename="camel"):
    total_tokens: Annotated[int, msgspec.Meta(ge=0)] = 0  # ProtoJSON leaves out a zero.


_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_counted = msgspec.json.Decoder(_Counted)


def count_path(model: str) -> str:
    """Where a provider counts, below its base URL."""
    return f"/{quote(resource(model), safe='/')}:countTokens"


def write_count(body: bytes, model: str) -> bytes:
    """A caller's body, which passed the checks of a call, for a provider of this dialect that knows it as `model`."""
    members = _members.decode(respelled(body))
    whole = members.get(REQUEST)
    inside = members if whole is None else _members.decode(whole)
    inside = {name: raw for name, raw in inside.items() if name not in OWN and name not in STRIPPED}
    inside.pop("store", None)
    if inside.keys() == {_CONTENTS}:
        return msgspec.json.encode(inside)
    return msgspec.json.encode({REQUEST: {"model": resource(model), **inside}})


def resource(model: str) -> str:
    """The name of a model as Google's paths have it."""
    return model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"


def read_count(body: bytes) -> int | None:
    """The count in a provider's answer; None if there is none."""
    try:
        return _counted.decode(body).total_tokens
    except UNREADABLE:
        return None


def write_counted(tokens: int) -> bytes:
    """A count for a caller."""
    return b'{"totalTokens":%d}' % tokens
