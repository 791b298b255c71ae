"""The usage object of a Responses reply ↔ Usage in disjoint classes.

`input_tokens` includes cached and written tokens, `output_tokens` includes reasoning. (OpenAI OpenAPI, ResponseUsage.)
A server that adds reasoning beside its output is told by its own total.
"""

from __future__ import annotations

import msgspec

from farebox.core.usage import Usage
from farebox.dialects.dialect import Cost

TOKENS_MAX = 100_000_000  # Far above any context window; a provider that reports more is not believed.


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None


class _WireUsage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None


_NO_INPUT_DETAILS = _InputDetails()
_NO_OUTPUT_DETAILS = _OutputDetails()
_decoder = msgspec.json.Decoder(_WireUsage)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_usage(raw: bytes | msgspec.Raw) -> Usage | None:
    """Split the provider's counts into disjoint classes; None if they are malformed or cannot be true."""
    try:
        wire = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    read, written = wire.input_tokens, wire.output_tokens
    # No prompt is empty: all zeros are an answer that was cut before it was counted.
    if not read or written is None:
        return None
    into = wire.input_tokens_details or _NO_INPUT_DETAILS
    out = wire.output_tokens_details or _NO_OUTPUT_DETAILS
    cached, kept, audio_in = into.cached_tokens or 0, into.cache_write_tokens or 0, into.audio_tokens or 0
    thought, audio_out = out.reasoning_tokens or 0, out.audio_tokens or 0
    beside = (wire.total_tokens or 0) - read - written
    if beside > 0:
        written += beside
        thought = max(thought, beside)
    thought = min(thought, written)
    fresh = read - cached - kept - audio_in
    visible = written - thought - audio_out
    counts = (fresh, cached, kept, audio_in, visible, thought, audio_out)
    if min(counts) < 0 or max(counts) > TOKENS_MAX:
        return None
    return Usage(
        input_fresh=fresh,
        cache_read=cached,
        cache_write=kept,
        audio_in=audio_in,
        output_visible=visible,
        output_thought=thought,
        audio_out=audio_out,
    )


def write_usage(usage: Usage, cost: Cost | None) -> bytes:
    """The usage object of a reply, with its cost where the answer is complete."""
    into, out = usage.input_total, usage.output_total
    details = (
        f'"cached_tokens":{usage.cache_read},"cache_write_tokens":{usage.cache_write + usage.cache_write_1h}'
    )
    if usage.audio_in:
        details += f',"audio_tokens":{usage.audio_in}'
    out_details = f'"reasoning_tokens":{usage.output_thought}'
    if usage.audio_out:
        out_details += f',"audio_tokens":{usage.audio_out}'
    text = (
        f'{{"input_tokens":{into},"input_tokens_details":{{{details}}},"output_tokens":{out}'
        f',"output_tokens_details":{{{out_details}}},"total_tokens":{into + out}'
    )
    return f"{text}{_cost_members(cost) if cost else ''}}}".encode()


def show_usage(raw: bytes, cost: Cost | None) -> bytes:
    """The provider's own usage object with our charge in it, and nothing of what the provider charges us."""
    if b"cost" in raw:
        members = _members.decode(raw)
        raw = msgspec.json.encode({name: value for name, value in members.items() if "cost" not in name})
    if cost is None:
        return raw
    return raw.rstrip()[:-1].rstrip() + _cost_members(cost).encode() + b"}"


def _cost_members(cost: Cost) -> str:
    """OpenRouter's names for what an answer costs, to be put before the closing brace."""
    return f',"cost":{cost.charge},"cost_details":{{"currency":"{cost.currency}","total":{cost.charge}}}'
