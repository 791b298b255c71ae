"""Google's `usageMetadata` ↔ Usage in disjoint classes.

`promptTokenCount` includes what came from the cache, and not what hosted tools put into the prompt, which stands beside
it; `candidatesTokenCount` excludes thoughts. (Google's reference, UsageMetadata; every recorded total adds up so.)
Details by modality tell sound and pictures apart; a film's tokens have no class of their own and cost what text costs.
Cache writes have no word at Google: ours are `cacheWriteTokenCount` and `cacheWrite1hTokenCount`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from farebox.core.usage import Usage
from farebox.dialects.dialect import Cost

TOKENS_MAX: Final = 100_000_000  # Far above any context window; a provider that reports more is not believed.


class _Modality(msgspec.Struct, rename="camel"):
    modality: str | None = None
    token_count: int | None = None


class _Wire(msgspec.Struct, rename="camel"):
    prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    total_token_count: int | None = None
    prompt_tokens_details: list[_Modality] | None = None
    cache_tokens_details: list[_Modality] | None = None
    candidates_tokens_details: list[_Modality] | None = None
    cache_write_token_count: int | None = None
    cache_write_1h_token_count: int | None = msgspec.field(default=None, name="cacheWrite1hTokenCount")


_decoder = msgspec.json.Decoder(_Wire)


def read_usage(raw: bytes | msgspec.Raw) -> Usage | None:
    """Read a usage object; None if it is malformed or cannot be true, so that the charge is estimated and marked."""
    try:
        wire = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if wire.prompt_token_count is None and wire.total_token_count is None:
        return None
    usage = _sorted(wire)
    counts = [getattr(usage, name) for name in usage.__struct_fields__]
    return None if min(counts) < 0 or max(counts) > TOKENS_MAX else usage


def _sorted(wire: _Wire) -> Usage:
    cached, tools = wire.cached_content_token_count or 0, wire.tool_use_prompt_token_count or 0
    written, written_1h = wire.cache_write_token_count or 0, wire.cache_write_1h_token_count or 0
    went_in = (wire.prompt_token_count or 0) + tools
    candidates, thought = wire.candidates_token_count or 0, wire.thoughts_token_count or 0
    total = wire.total_token_count
    if total is not None:
        beside = total - went_in - candidates - thought
        if beside > 0:  # Older models name their thoughts in the total alone.
            thought += beside
        elif beside < 0:  # Somebody counted thoughts among the candidates, or the total cannot be true.
            candidates += beside
    uncached = went_in - cached - written - written_1h
    pictures, sound = _of(wire, "IMAGE"), _of(wire, "AUDIO")
    image_in = min(pictures, max(uncached, 0))
    audio_in = min(sound, max(uncached - image_in, 0))
    image_out = min(_count(wire.candidates_tokens_details, "IMAGE"), max(candidates, 0))
    audio_out = min(_count(wire.candidates_tokens_details, "AUDIO"), max(candidates - image_out, 0))
    return Usage(
        input_fresh=uncached - image_in - audio_in,
        cache_read=cached,
        cache_write=written,
        cache_write_1h=written_1h,
        output_visible=candidates - image_out - audio_out,
        output_thought=thought,
        audio_in=audio_in,
        audio_out=audio_out,
        image_in=image_in,
        image_out=image_out,
    )


def _of(wire: _Wire, modality: str) -> int:
    """Tokens of one modality that did not come from the cache."""
    return max(_count(wire.prompt_tokens_details, modality) - _count(wire.cache_tokens_details, modality), 0)


def _count(details: list[_Modality] | None, modality: str) -> int:
    return sum(one.token_count or 0 for one in details or () if one.modality == modality)


def write_usage(usage: Usage, cost: Cost | None) -> bytes:
    """Write `usageMetadata`, with its cost where the answer is complete."""
    into, thought = usage.input_total, usage.output_thought
    out = usage.output_total - thought
    pieces = [f'{{"promptTokenCount":{into}']
    if out:
        pieces.append(f'"candidatesTokenCount":{out}')
    pieces.append(f'"totalTokenCount":{usage.total}')
    if usage.cache_read:
        pieces.append(f'"cachedContentTokenCount":{usage.cache_read}')
    pieces.append(f'"promptTokensDetails":{_details(into, usage.image_in, usage.audio_in)}')
    if usage.image_out or usage.audio_out:
        pieces.append(f'"candidatesTokensDetails":{_details(out, usage.image_out, usage.audio_out)}')
    if thought:
        pieces.append(f'"thoughtsTokenCount":{thought}')
    if usage.cache_write:
        pieces.append(f'"cacheWriteTokenCount":{usage.cache_write}')
    if usage.cache_write_1h:
        pieces.append(f'"cacheWrite1hTokenCount":{usage.cache_write_1h}')
    return f"{','.join(pieces)}{cost_members(cost) if cost else ''}}}".encode()


def _details(total: int, pictures: int, sound: int) -> str:
    counts = (("TEXT", total - pictures - sound), ("IMAGE", pictures), ("AUDIO", sound))
    told = (f'{{"modality":"{name}","tokenCount":{count}}}' for name, count in counts if count)
    return f"[{','.join(told)}]"


def cost_members(cost: Cost) -> str:
    """The members that every shown usage object gains (OpenRouter's names), to be put before its closing brace."""
    return f',"cost":{cost.charge},"cost_details":{{"currency":"{cost.currency}","total":{cost.charge}}}'
