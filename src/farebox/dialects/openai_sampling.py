"""Sampling in OpenAI's words, which both of its dialects use, and what compatible servers added to them."""

from __future__ import annotations

import msgspec

from farebox.dialects.conversation import Sampling
from farebox.dialects.members import NUMBER, WHOLE, Fields

_MEMBERS = frozenset(Sampling.__struct_fields__)
_NOTHING = Sampling()
_stop: msgspec.json.Decoder[str | list[str]] = msgspec.json.Decoder(str | list[str])


def read_sampling(fields: Fields) -> Sampling:
    """Take the members of a body that say how the next token is chosen, and where the text ends."""
    if not fields.says(_MEMBERS):
        return _NOTHING
    stop = fields.take("stop", _stop) or ()
    return Sampling(
        temperature=fields.take("temperature", NUMBER),
        top_p=fields.take("top_p", NUMBER),
        top_k=fields.take("top_k", WHOLE),
        frequency_penalty=fields.take("frequency_penalty", NUMBER),
        presence_penalty=fields.take("presence_penalty", NUMBER),
        seed=fields.take("seed", WHOLE),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
    )


def write_sampling(sampling: Sampling) -> dict[str, object]:
    """The members that say something."""
    wire = {name: getattr(sampling, name) for name in Sampling.__struct_fields__}
    return {name: value for name, value in wire.items() if value is not None and value != ()}
