"""What the laws need to know of Responses: its normal form, what it can say, and a plain man's reading of it."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from farebox.core.usage import Usage
from farebox.dialects.conversation import Part, Reason, Reply, Text, Thought, ToolCall

Json = Any

OWN = (
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
STRIPPED = ("service_tier", "stream_options", "background", "model")
WITHOUT_STATE = ("message", "reasoning", "function_call", "function_call_output")
ENCRYPTED = "reasoning.encrypted_content"


Told = tuple[
    str, list[tuple[str, Json]], int | None, bool
]  # Text, calls, tokens in all, whether it is whole.


def _normal_item(item: Json) -> Json:
    item = {"type": "message", **item}
    if not item["type"].startswith("local_shell"):
        item.pop("id", None)
    if item["type"] in WITHOUT_STATE:
        item.pop("status", None)
    if item["type"] == "reasoning" and not item.get("content"):
        item.pop("content", None)
    return item


def normal_responses(request: Json) -> Json:
    """What `write_prompt(read_prompt(…))` makes of a Responses request at home."""
    wire = {name: value for name, value in request.items() if name not in (*OWN, *STRIPPED)}
    if isinstance(wire["input"], str):
        wire["input"] = [{"role": "user", "content": wire["input"]}]
    wire["input"] = [
        _normal_item(item)
        for item in wire["input"]
        if item.get("type") != "reasoning" or item.get("encrypted_content")
    ]
    include = wire.pop("include", None) or []
    if wire.get("reasoning") and wire.get("store") is not False and ENCRYPTED not in include:
        include = [*include, ENCRYPTED]
    if include:
        wire["include"] = include
    wire["store"] = False
    if not wire.get("instructions"):
        wire.pop("instructions", None)
    if isinstance(wire.get("stop"), str):
        wire["stop"] = [wire["stop"]]
    for name in ("tools", "text"):
        if wire.get(name) in ([], {}):
            del wire[name]
    return wire


def told_by_responses(plain: bytes | None, stream: bytes | None) -> Told:
    """Read a Responses reply without any of our own code."""
    pieces = _events(stream or b"")
    if plain is not None:
        whole = msgspec.json.decode(plain)
    else:
        ends = ("response.completed", "response.incomplete")
        whole = next((one["response"] for one in pieces if one.get("type") in ends), {})
    failed = whole.get("error") or any(one.get("type") in ("error", "response.failed") for one in pieces)
    # What was streamed is what was said.
    done = [one for one in pieces if one.get("type") == "response.output_item.done"]
    done.sort(key=lambda one: one.get("output_index", 0))
    items = [one["item"] for one in done] or whole.get("output") or []
    contents = [part for item in items if item["type"] == "message" for part in item["content"]]
    calls = [(item["name"], item["arguments"]) for item in items if item["type"] == "function_call"]
    usage = whole.get("usage") or {}
    return (
        "".join(part.get("text") or part.get("refusal") or "" for part in contents),
        [(name, _parsed(arguments)) for name, arguments in calls],
        usage.get("total_tokens") or None,  # All zeros are an answer that was cut before it was counted.
        whole.get("status") in ("completed", "incomplete") and not failed,
    )


def _events(stream: bytes) -> list[Json]:
    texts = stream.replace(b"\r\n", b"\n").split(b"\n\n")
    lines = [line[5:] for text in texts for line in text.split(b"\n") if line.startswith(b"data:")]
    return [msgspec.json.decode(line) for line in lines if line.strip() != b"[DONE]"]


def _parsed(arguments: str) -> Json:
    try:
        return msgspec.json.decode(arguments)
    except msgspec.DecodeError:
        return arguments


_WORDS = st.text(min_size=1, max_size=40)
_SIGNERS = st.sampled_from(["anthropic", "gemini", "openai_responses"])
_MEMBERS = st.sampled_from([None, "content"])
_TEXTS = st.builds(Text, _WORDS)
_REFUSALS = st.builds(lambda text: Text(text, refusal=True), _WORDS)
_THOUGHTS = st.one_of(
    st.builds(lambda text, member: Thought(text, member=member), _WORDS, _MEMBERS),
    st.builds(lambda text, seal, by: Thought(text, seal, signed_by=by), _WORDS, _WORDS, _SIGNERS),
    st.builds(lambda seal, by: Thought("", seal, redacted=True, signed_by=by), _WORDS, _SIGNERS),
)
_CALLS = st.builds(ToolCall, st.just(""), _WORDS, st.text(max_size=40), st.none() | _WORDS)
_SOURCE = b'{"type":"url_citation","url":"https://a.example","title":"A","start_index":0,"end_index":1}'
_SOURCED = st.builds(lambda text: Text(text, extra=(("annotations", b"[%b]" % _SOURCE),)), _WORDS)
_PARTS: st.SearchStrategy[Part] = st.one_of(_TEXTS, _SOURCED, _REFUSALS, _THOUGHTS, _CALLS)
_TOKENS = st.integers(min_value=0, max_value=10_000)
_USAGE = st.builds(
    Usage,
    input_fresh=st.integers(min_value=1, max_value=10_000),
    cache_read=_TOKENS,
    cache_write=_TOKENS,
    output_visible=_TOKENS,
    output_thought=_TOKENS,
)


@st.composite
def sayable_in_responses(draw: st.DrawFn) -> Reply:
    """Replies that Responses can say: items in any order."""
    parts = tuple(
        msgspec.structs.replace(part, id=f"call_{at}") if isinstance(part, ToolCall) else part
        for at, part in enumerate(draw(st.lists(_PARTS, max_size=5)))
    )
    reason: Reason = draw(st.sampled_from(["stop", "length", "content_filter"]))
    native = {"stop": "completed", "length": "max_output_tokens"}.get(reason, reason)
    if reason == "stop":
        refused = any(isinstance(part, Text) and part.refusal for part in parts)
        called = any(isinstance(part, ToolCall) for part in parts)
        reason = "refusal" if refused else "tool_calls" if called else "stop"
    return Reply("resp_1", "some-model", parts, reason, draw(st.none() | _USAGE), native)
