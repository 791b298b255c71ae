"""Anthropic's usage object ↔ Usage in disjoint classes.

`input_tokens` excludes what the cache gave and took; `cache_creation` splits what it took by how long it is kept;
`output_tokens` includes thoughts. A stream tells usage twice, at its start and at its end, each time in part: the last
count that is not zero holds, member by member. (Anthropic, "Messages", Usage; "Streaming", message_delta.)
"""

from __future__ import annotations

import msgspec

from farebox.core.usage import Usage
from farebox.dialects.dialect import Cost

TOKENS_MAX = 100_000_000  # Far above any context window; a provider that reports more is not believed.


class _CacheCreation(msgspec.Struct):
    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    thinking_tokens: int | None = None


class _WireUsage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: _CacheCreation | None = None
    output_tokens_details: _OutputDetails | None = None


_decoder = msgspec.json.Decoder(_WireUsage)
_NO_SPLIT = _CacheCreation()
_NO_DETAILS = _OutputDetails()


class Counts:
    """The counts of one reply, as they come in."""

    def __init__(self) -> None:
        self._input: int | None = None
        self._output: int | None = None
        self._read = 0
        self._written = 0
        self._written_5m = 0
        self._written_1h = 0
        self._thought = 0

    def take(self, raw: bytes | msgspec.Raw) -> Usage | None:
        """Take in one usage object; what is known so far, or None where it cannot be true."""
        try:
            wire = _decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        split, details = wire.cache_creation or _NO_SPLIT, wire.output_tokens_details or _NO_DETAILS
        if wire.input_tokens is not None:
            self._input = wire.input_tokens or self._input or 0
        if wire.output_tokens is not None:
            self._output = wire.output_tokens
        self._read = wire.cache_read_input_tokens or self._read
        self._written = wire.cache_creation_input_tokens or self._written
        self._written_5m = split.ephemeral_5m_input_tokens or self._written_5m
        self._written_1h = split.ephemeral_1h_input_tokens or self._written_1h
        self._thought = details.thinking_tokens or self._thought
        return self._usage()

    def _usage(self) -> Usage | None:
        if self._input is None or self._output is None:
            return None
        five, hour = self._written_5m, self._written_1h
        beside = self._written - five - hour
        # The start splits what was written by then; what the end adds to it was kept as the rest was.
        if beside > 0 and hour and not five:
            hour += beside
        elif beside > 0:
            five += beside
        thought = min(self._thought, self._output)
        counts = (self._input, self._read, five, hour, self._output - thought, thought)
        if min(counts) < 0 or max(counts) > TOKENS_MAX:
            return None
        return Usage(
            input_fresh=self._input,
            cache_read=self._read,
            cache_write=five,
            cache_write_1h=hour,
            output_visible=self._output - thought,
            output_thought=thought,
        )


def read_usage(raw: bytes | msgspec.Raw) -> Usage | None:
    """Read the usage object of a plain reply; None if it is malformed or absurd, so that the charge is estimated."""
    return Counts().take(raw)


def write_usage(usage: Usage, cost: Cost | None) -> bytes:
    """Write a usage object, with its cost where the answer is complete. Sounds and images are tokens like others."""
    fresh = usage.input_fresh + usage.audio_in + usage.image_in
    text = (
        f'{{"input_tokens":{fresh}'
        f',"cache_creation_input_tokens":{usage.cache_write + usage.cache_write_1h}'
        f',"cache_read_input_tokens":{usage.cache_read}'
        f',"cache_creation":{{"ephemeral_5m_input_tokens":{usage.cache_write}'
        f',"ephemeral_1h_input_tokens":{usage.cache_write_1h}}}'
        f',"output_tokens":{usage.output_total}'
        f',"output_tokens_details":{{"thinking_tokens":{usage.output_thought}}}'
    )
    return f"{text}{cost_members(cost) if cost else ''}}}".encode()


def cost_members(cost: Cost) -> str:
    """The members that every shown usage object gains, to be put before its closing brace."""
    return f',"cost":{cost.charge},"cost_details":{{"currency":"{cost.currency}","total":{cost.charge}}}'
