"""Counting tokens (`/v1/messages/count_tokens`): the caller's question for a provider, its answer, and ours."""

from __future__ import annotations

import msgspec

from farebox.dialects.anthropic.fit import fit_prompt
from farebox.dialects.anthropic.prompt import read_prompt, write_prompt
from farebox.dialects.anthropic.relayed import write_relayed
from farebox.dialects.dialect import Head
from farebox.dialects.seal import holds_seals

# Members of a message's body that a count does not know, and refuses.
_UNCOUNTED = ("max_tokens", "stream", "temperature", "top_p", "top_k", "stop_sequences", "metadata")
_members_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Counted(msgspec.Struct):
    input_tokens: int


_counted = msgspec.json.Decoder(_Counted)


def count_path(model: str) -> str:
    """Where a provider counts, below its base URL, whatever the model."""
    del model
    return "/v1/messages/count_tokens"


def write_count(body: bytes, model: str) -> bytes:
    """The caller's question for a provider of this language; `body` has passed `read_head` but for its limit."""
    if holds_seals(body):
        body = write_prompt(fit_prompt(read_prompt(body)), model)
    members = _members_decoder.decode(write_relayed(body, model, Head(model=model)))
    for name in _UNCOUNTED:
        members.pop(name, None)
    return msgspec.json.encode(members)


def read_count(body: bytes) -> int | None:
    """The tokens a provider counted; None if it did not."""
    try:
        tokens = _counted.decode(body).input_tokens
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return tokens if tokens >= 0 else None


def write_counted(tokens: int) -> bytes:
    """The answer to a caller who asked."""
    return b'{"input_tokens":%d}' % tokens
