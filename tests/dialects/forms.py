"""What the laws need to know of one dialect: its normal form, what it can say, and a plain man's reading of it.

Each table is keyed by the dialect's name; a new dialect adds a row to each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from hypothesis import strategies as st

from farebox.core.usage import Usage
from farebox.dialects.conversation import Part, Reason, Reply, Text, Thought, ToolCall
from tests.dialects.anthropic_forms import normal_messages, sayable_in_messages, told_by_messages
from tests.dialects.gemini_forms import normal_gemini, sayable_in_gemini, told_by_gemini
from tests.dialects.responses_forms import normal_responses, sayable_in_responses, told_by_responses

Json = Any


class Told(NamedTuple):
    """What a reply says, read naively."""

    text: str
    calls: list[tuple[str, Json]]  # Name, and arguments as JSON (or as text, where they are none).
    total: int | None  # Tokens, as the provider added them up.
    whole: bool  # One answer, with a finish and without an error.


# --- OpenAI Chat ------------------------------------------------------------------------------------------------

_OWN = (
    "character_id",
    "cache",
    "no_cache",
    "models",
    "route",
    "provider",
    "session_id",
    "usage",
    "debug",
    "preset",
)
_INNER = ("function", "json_schema", "image_url", "video_url", "input_audio", "file")


def _without_nulls(value: Json, *, inside: bool = False) -> Json:
    """Leave out the nulls of objects that are understood; schemas and unknown members stay as they are."""
    if isinstance(value, list):
        return [_without_nulls(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: inner if name in ("parameters", "schema") else _without_nulls(inner, inside=name in _INNER)
        for name, inner in value.items()
        if not (inside and inner is None)
    }


def normal_chat(request: Json) -> Json:
    """What `write_prompt(read_prompt(…))` makes of a chat completion's request at home."""
    wire = {name: value for name, value in request.items() if name not in (*_OWN, "service_tier", "model")}
    for name in ("messages", "tools", "response_format"):
        if name in wire:
            wire[name] = _without_nulls(wire[name])
    for message in wire["messages"]:
        for call in message.get("tool_calls") or ():
            call.setdefault("type", "function")
            if "function" in call:
                call["function"].setdefault("arguments", "")
    if wire.get("store") is not None:
        wire["store"] = False
    if wire.get("stream"):
        wire["stream_options"] = {"include_usage": True}
    if isinstance(wire.get("stop"), str):
        wire["stop"] = [wire["stop"]]
    if wire.get("stop") == []:
        del wire["stop"]
    return wire


def _chat_pieces(exchange_plain: bytes | None, exchange_stream: bytes | None) -> list[Json]:
    if exchange_plain is not None:
        return [msgspec.json.decode(exchange_plain)]
    texts = (exchange_stream or b"").replace(b"\r\n", b"\n").split(b"\n\n")
    lines = [line for text in texts for line in text.split(b"\n") if line.startswith(b"data:")]
    return [msgspec.json.decode(line[5:]) for line in lines if line[5:].strip() != b"[DONE]"]


def told_by_chat(plain: bytes | None, stream: bytes | None) -> Told:
    """Read a chat completion without any of our own code."""
    pieces = _chat_pieces(plain, stream)
    choices = [choice for piece in pieces for choice in piece.get("choices") or ()]
    said = [choice.get("message" if plain else "delta") or {} for choice in choices]
    content = [one.get("content") or "" for one in said]
    text = "".join(
        inner if isinstance(inner, str) else inner.get("text", "")
        for one in content
        for inner in ([one] if isinstance(one, str) else one)
    )
    text += "".join(one.get("refusal") or "" for one in said)
    usages = [piece.get("usage") or (piece.get("x_groq") or {}).get("usage") for piece in pieces]
    failed = any(piece.get("error") for piece in pieces) or any(choice.get("error") for choice in choices)
    finished = plain is not None or any(choice.get("finish_reason") for choice in choices)
    single = all(not choice.get("index") for choice in choices)
    return Told(
        text=text,
        calls=_chat_calls(said),
        total=next((_total(usage) for usage in reversed(usages) if usage), None),
        whole=finished and single and not failed and bool(choices),
    )


def _total(usage: Json) -> int:
    return int(usage.get("total_tokens") or usage["prompt_tokens"] + usage["completion_tokens"])


def _chat_calls(said: list[Json]) -> list[tuple[str, Json]]:
    names: list[str] = []
    arguments: list[str] = []
    places: dict[object, int] = {}
    for one in said:
        legacy = [{"function": one["function_call"]}] if one.get("function_call") else []
        for call in [*(one.get("tool_calls") or ()), *legacy]:
            key = call.get("index", call.get("id"))
            function = call.get("function") or {}
            if key not in places:
                places[key] = len(names)
                names.append(function.get("name") or "")
                arguments.append("")
            arguments[places[key]] += function.get("arguments") or ""
    return [(name, parsed(text)) for name, text in zip(names, arguments, strict=True)]


def parsed(arguments: str) -> Json:
    """Arguments as JSON, or as they are."""
    try:
        return msgspec.json.decode(arguments)
    except msgspec.DecodeError:
        return arguments


_SIGNERS = st.sampled_from([None, "anthropic", "gemini", "openai_responses"])
_WORDS = st.text(min_size=1, max_size=40)
_THOUGHTS = st.one_of(
    st.just(()),
    st.builds(lambda text: (Thought(text),), _WORDS),
    st.lists(
        st.one_of(
            st.builds(lambda text, seal, by: Thought(text, seal, signed_by=by), _WORDS, _WORDS, _SIGNERS),
            st.builds(lambda seal, by: Thought("", seal, redacted=True, signed_by=by), _WORDS, _SIGNERS),
        ),
        max_size=3,
    ).map(tuple),
)
_CALLS = st.lists(st.tuples(_WORDS, st.text(max_size=40), st.none() | _WORDS), max_size=3).map(
    lambda found: tuple(ToolCall(f"call_{at}", *call) for at, call in enumerate(found))
)
_TOKENS = st.integers(min_value=0, max_value=10_000)
_CHAT_USAGE = st.builds(
    Usage,
    input_fresh=_TOKENS,
    cache_read=_TOKENS,
    cache_write=_TOKENS,
    output_visible=_TOKENS,
    output_thought=_TOKENS,
    audio_in=_TOKENS,
    audio_out=_TOKENS,
)


@st.composite
def sayable_in_chat(draw: st.DrawFn) -> Reply:
    """Replies that a chat completion can say: thoughts, then words, then calls."""
    parts: tuple[Part, ...] = draw(_THOUGHTS)
    words = draw(st.none() | _WORDS)
    refused = draw(st.booleans())
    if words is not None:
        parts += (Text(words, refusal=refused),)
    calls = () if refused else draw(_CALLS)
    reasons: list[Reason] = ["length", "content_filter"]
    reasons.append("tool_calls" if calls else "refusal" if refused and words is not None else "stop")
    reason = draw(st.sampled_from(reasons))
    native = "stop" if reason == "refusal" else reason
    return Reply("chatcmpl-1", "some-model", (*parts, *calls), reason, draw(st.none() | _CHAT_USAGE), native)


# --- The tables -------------------------------------------------------------------------------------------------

NORMAL_FORMS: dict[str, Callable[[Json], Json]] = {
    "openai_chat": normal_chat,
    "openai_responses": normal_responses,
    "anthropic": normal_messages,
    "gemini": normal_gemini,
}
TOLD: dict[str, Callable[[bytes | None, bytes | None], Told]] = {
    "openai_chat": told_by_chat,
    "openai_responses": lambda plain, stream: Told(*told_by_responses(plain, stream)),
    "anthropic": lambda plain, stream: Told(*told_by_messages(plain, stream)),
    "gemini": lambda plain, stream: Told(*told_by_gemini(plain, stream)),
}
SAYABLE: dict[str, st.SearchStrategy[Reply]] = {
    "openai_chat": sayable_in_chat(),
    "openai_responses": sayable_in_responses(),
    "anthropic": sayable_in_messages(),
    "gemini": sayable_in_gemini(),
}
# What a reader does to a fixture that is no whole answer: named, not skipped.
NOT_WHOLE: dict[str, frozenset[str]] = {
    "openai_chat": frozenset({"error_in_stream", "error_after_finish", "several_choices"}),
    "openai_responses": frozenset({"failed", "cancelled"}),
    "anthropic": frozenset({"error_in_stream", "error_after_finish"}),
    "gemini": frozenset({"error_in_stream", "error_in_array", "malformed_call", "several_candidates"}),
}
# Dialects whose bodies do not name the model: the path of a call does.
MODEL_IN_PATH = frozenset({"gemini"})
