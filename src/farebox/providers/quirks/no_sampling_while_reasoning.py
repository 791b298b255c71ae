"""Models that choose the next token as they like while they think."""

from __future__ import annotations

import msgspec

from farebox.providers.quirks.body import Body, Dropped, drop
from farebox.providers.quirks.no_sampling import SAMPLING


class _Reasoning(msgspec.Struct):
    effort: object = None


class _Effort(msgspec.Struct):
    reasoning_effort: object = None
    reasoning: _Reasoning | None = None


def no_sampling_while_reasoning(body: Body) -> Dropped:
    """As `no_sampling`, where an effort other than "none" is asked for.

    Source: OpenAI's guide to GPT-5.1 and later (known from memory).
    """
    asked = {name: body[name] for name in _Effort.__struct_fields__ if name in body}
    if not asked:
        return ()
    wire = msgspec.json.decode(msgspec.json.encode(asked), type=_Effort)
    effort = wire.reasoning_effort or (wire.reasoning.effort if wire.reasoning else None)
    return () if effort in (None, "none") else drop(body, *SAMPLING)
