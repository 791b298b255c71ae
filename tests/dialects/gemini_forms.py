"""What the laws need to know of generateContent: its normal form, what it can say, and a plain man's reading of it."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgspec
from hypothesis import strategies as st

from farebox.core.usage import Usage
from farebox.dialects.conversation import Media, Part, Reason, Reply, Text, Thought, ToolCall

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
FREE = ("args", "response", "parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema")
NOT_ENDS = ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL")


class GeminiTold(NamedTuple):
    """What a reply says, read naively."""

    text: str
    calls: list[tuple[str, Json]]
    total: int | None
    whole: bool


# --- The normal form --------------------------------------------------------------------------------------------


def _camel(value: Json) -> Json:
    if isinstance(value, list):
        return [_camel(one) for one in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for key, inner in value.items():
        name = re.sub("(?<=[a-z])_([a-z])", lambda found: found[1].upper(), key)
        out[name] = inner if name in FREE else _camel(inner)
    return out


def _listed(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _goes_on(first: Json, second: Json) -> bool:
    """Whether a text or thought breaks off in one content and goes on in the next."""
    names = {"text", "thought"}
    return (
        first.keys() <= names
        and second.keys() <= {*names, "thoughtSignature"}
        and ("text" in first and "text" in second and first.get("thought") == second.get("thought"))
    )


def _normal_contents(contents: Json) -> list[Json]:
    out: list[Json] = []
    for content in _listed(contents):
        one = {**content, "role": content.get("role") or "user", "parts": _listed(content.get("parts"))}
        for part in one["parts"]:
            if "functionCall" in part:
                part["functionCall"].setdefault("args", {})
        if out and out[-1]["role"] == one["role"] == "model":
            before, behind = out[-1]["parts"], one["parts"]
            if _goes_on(before[-1], behind[0]):
                last = before.pop()
                behind = [{**last, **behind[0], "text": last["text"] + behind[0]["text"]}, *behind[1:]]
            out[-1]["parts"] = before + behind
        else:
            out.append(one)
    return out


def _normal_tools(tools: Json) -> list[Json]:
    functions = [one for tool in _listed(tools) for one in _listed(tool.get("functionDeclarations"))]
    rest = [
        {key: one for key, one in tool.items() if key != "functionDeclarations"} for tool in _listed(tools)
    ]
    return ([{"functionDeclarations": functions}] if functions else []) + [tool for tool in rest if tool]


def normal_gemini(request: Json) -> Json:
    """What `write_prompt(read_prompt(…))` makes of a generateContent request at home."""
    wire = _camel({name: value for name, value in request.items() if name not in OWN})
    wire = {name: value for name, value in wire.items() if name not in ("model", "serviceTier")}
    wire["contents"] = _normal_contents(wire["contents"])
    if "systemInstruction" in wire:
        wire["systemInstruction"]["parts"] = _listed(wire["systemInstruction"].get("parts"))
    if wire.get("tools"):
        wire["tools"] = _normal_tools(wire["tools"])
    settings = wire.get("generationConfig") or {}
    if "stopSequences" in settings:
        settings["stopSequences"] = _listed(settings["stopSequences"])
    calling = (wire.get("toolConfig") or {}).get("functionCallingConfig") or {}
    if "allowedFunctionNames" in calling:
        calling["allowedFunctionNames"] = _listed(calling["allowedFunctionNames"])
    if "store" in wire:
        wire["store"] = False
    return {name: value for name, value in wire.items() if value or name == "store"}


# --- A plain man's reading --------------------------------------------------------------------------------------


def pieces_of(plain: bytes | None, stream: bytes | None) -> list[Json]:
    """The chunks of a reply in any of its three forms."""
    body = plain or stream or b""
    if body.lstrip()[:1] in (b"[", b"{"):
        whole = msgspec.json.decode(body)
        return list(whole) if isinstance(whole, list) else [whole]
    lines = [line[5:] for line in body.replace(b"\r\n", b"\n").split(b"\n") if line.startswith(b"data:")]
    return [msgspec.json.decode(line) for line in lines]


def told_by_gemini(plain: bytes | None, stream: bytes | None) -> GeminiTold:
    """Read a reply without any of our own code."""
    pieces = pieces_of(plain, stream)
    candidates = [one for piece in pieces for one in piece.get("candidates") or ()]
    parts = [part for one in candidates for part in (one.get("content") or {}).get("parts") or ()]
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    usages = [piece["usageMetadata"] for piece in pieces if piece.get("usageMetadata")]
    blocked = (
        any((piece.get("promptFeedback") or {}).get("blockReason") for piece in pieces) and not candidates
    )
    ends = [one["finishReason"] for one in candidates if one.get("finishReason")]
    failed = any(piece.get("error") for piece in pieces) or any(end in NOT_ENDS for end in ends)
    single = all(not one.get("index") for one in candidates)
    return GeminiTold(
        text="".join(part.get("text", "") for part in parts if not part.get("thought")),
        calls=[(call["name"], call.get("args", {})) for call in calls],
        total=usages[-1]["totalTokenCount"] if usages else None,
        whole=(bool(ends) or blocked) and single and not failed,
    )


# --- What it can say --------------------------------------------------------------------------------------------

_WORDS = st.text(min_size=1, max_size=40)
_SIGNERS = st.sampled_from(["anthropic", "gemini", "openai_responses", None])
# Characters that some clients take for a line end leave as escapes: the same JSON, but another text of it.
_VALUES = st.text(st.characters(exclude_characters="\x85\u2028\u2029", exclude_categories=["Cs"]), max_size=8)
_ARGUMENTS = st.dictionaries(_VALUES, st.integers() | _VALUES | st.none(), max_size=3).map(
    lambda found: msgspec.json.encode(found).decode()
)
_TEXTS = st.builds(lambda text, seal: Text(text, signature=seal), _WORDS, st.none() | _WORDS)
_THOUGHTS = st.one_of(
    st.builds(Thought, _WORDS),
    st.builds(
        lambda text, seal, by: Thought(text, seal, signed_by=by), st.text(max_size=9), _WORDS, _SIGNERS
    ),
    st.builds(lambda seal, by: Thought("", seal, redacted=True, signed_by=by), _WORDS, _SIGNERS),
)
_CALLS = st.builds(ToolCall, st.just(""), _WORDS, _ARGUMENTS, st.none() | _WORDS)
_PICTURES = st.just(Media("image", data="aGk=", media_type="image/png"))
_PARTS: st.SearchStrategy[Part] = st.one_of(_TEXTS, _THOUGHTS, _CALLS, _PICTURES)
_TOKENS = st.integers(min_value=0, max_value=10_000)
_USAGE = st.builds(Usage, **dict.fromkeys(Usage.__struct_fields__, _TOKENS))


def _goes_together(first: Part, second: Part) -> bool:
    """Whether two parts in a row would be read as one: a text or thought that no signature closes."""
    alike = isinstance(first, Text | Thought) and type(first) is type(second) and first.signature is None
    return alike and not (isinstance(second, Thought) and second.redacted)


@st.composite
def sayable_in_gemini(draw: st.DrawFn) -> Reply:
    """Replies that generateContent can say: parts in any order."""
    parts: list[Part] = []
    for part in draw(st.lists(_PARTS, max_size=5)):
        if parts and _goes_together(parts[-1], part):
            continue
        parts.append(
            msgspec.structs.replace(part, id=f"call_{len(parts)}") if isinstance(part, ToolCall) else part
        )
    reason: Reason = draw(st.sampled_from(["stop", "length", "content_filter"]))
    native = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}[reason]
    if reason == "stop" and any(isinstance(part, ToolCall) for part in parts):
        reason = "tool_calls"
    return Reply("a-reply", "some-model", tuple(parts), reason, draw(st.none() | _USAGE), native)
