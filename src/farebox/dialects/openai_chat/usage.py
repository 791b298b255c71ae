"""OpenAI's usage object ↔ Usage in disjoint classes.

`prompt_tokens` includes cached, written and audio tokens; `completion_tokens` includes reasoning and audio, but for
xAI and Google, which add reasoning beside it: the provider's own total tells. (OpenAI OpenAPI, CompletionUsage.)
"""

from __future__ import annotations

import msgspec

from farebox.core.usage import Usage
from farebox.dialects.dialect import Cost
from farebox.dialects.splice import UNREADABLE

TOKENS_MAX = 100_000_000  # Far above any context window; a provider that reports more is not believed.


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None
    audio_tokens: int | None = None
    cache_write_tokens: int | None = None  # OpenRouter's name.


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None


class WireUsage(msgspec.Struct):
    """The members of a usage object that are priced."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    prompt_cache_hit_tokens: int | None = None  # DeepSeek's name.


_NO_PROMPT_DETAILS = _PromptDetails()
_NO_COMPLETION_DETAILS = _CompletionDetails()
_decoder = msgspec.json.Decoder(WireUsage)


def read_usage_raw(raw: bytes | msgspec.Raw) -> Usage | None:
    """Read a usage object; None if it is malformed or absurd, so that the charge is estimated and marked."""
    try:
        return read_usage(_decoder.decode(raw))
    except UNREADABLE:
        return None


def read_usage(wire: WireUsage) -> Usage | None:
    """Split the provider's counts into disjoint classes; None where they cannot be true."""
    prompt, completion = wire.prompt_tokens, wire.completion_tokens
    if prompt is None or (completion is None and wire.total_tokens is None):
        return None
    completion = completion if completion is not None else (wire.total_tokens or 0) - prompt
    into = wire.prompt_tokens_details or _NO_PROMPT_DETAILS
    out = wire.completion_tokens_details or _NO_COMPLETION_DETAILS
    cached = into.cached_tokens or wire.prompt_cache_hit_tokens or 0
    written = into.cache_write_tokens or 0
    audio_in, audio_out, thought = into.audio_tokens or 0, out.audio_tokens or 0, out.reasoning_tokens or 0
    beside = (wire.total_tokens or 0) - prompt - completion
    if (
        beside > 0
    ):  # Reasoning stands beside the completion, not inside it; Google names it in the total alone.
        completion += beside
        thought = max(thought, beside)
    thought = min(thought, completion)  # OpenRouter counts thoughts by another tokenizer; the total stands.
    fresh = prompt - cached - written - audio_in
    visible = completion - thought - audio_out
    counts = (fresh, cached, written, audio_in, visible, thought, audio_out)
    if min(counts) < 0 or max(counts) > TOKENS_MAX:
        return None
    return Usage(
        input_fresh=fresh,
        cache_read=cached,
        cache_write=written,
        audio_in=audio_in,
        output_visible=visible,
        output_thought=thought,
        audio_out=audio_out,
    )


def write_usage(usage: Usage, cost: Cost | None) -> bytes:
    """Write the usage object of a chat completion, with its cost where the answer is complete."""
    into, out = usage.input_total, usage.output_total
    text = (
        f'{{"prompt_tokens":{into},"completion_tokens":{out},"total_tokens":{into + out}'
        f',"prompt_tokens_details":{{"cached_tokens":{usage.cache_read}'
        f',"cache_write_tokens":{usage.cache_write + usage.cache_write_1h},"audio_tokens":{usage.audio_in}}}'
        f',"completion_tokens_details":{{"reasoning_tokens":{usage.output_thought},"audio_tokens":{usage.audio_out}}}'
    )
    return f"{text}{cost_members(cost) if cost else ''}}}".encode()


def cost_members(cost: Cost) -> str:
    """The members that every shown usage object gains (OpenRouter's names), to be put before its closing brace."""
    return f',"cost":{cost.charge},"cost_details":{{"currency":"{cost.currency}","total":{cost.charge}}}'
