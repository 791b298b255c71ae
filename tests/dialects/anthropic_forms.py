"""What the laws need to know of Anthropic Messages."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import msgspec
from hypothesis import strategies as st

from farebox.core.usage import Usage
from farebox.dialects.conversation import Part, Reason, Reply, Text, Thought, ToolCall
from farebox.dialects.own import OWN

Json = Any
STRIPPED = ("service_tier", "speed", "inference_geo", "model")


class Heard(NamedTuple):
    """A naive reading: text, calls, the provider's total, and whether it is an answer."""

    text: str
    calls: list[tuple[str, Json]]
    total: int | None
    whole: bool


def normal_messages(request: Json) -> Json:
    """What `write_prompt(read_prompt(…))` makes of a message's request at home."""
    wire = {name: value for name, value in request.items() if name not in (*OWN, *STRIPPED)}
    older = wire.pop("output_format", None)
    if older is not None:
        wire["output_config"] = {**wire.get("output_config", {}), "format": older}
    if wire.get("stop_sequences") == []:
        del wire["stop_sequences"]
    for tool in wire.get("tools") or ():
        if tool.get("type") == "custom":
            del tool["type"]
    for message in wire["messages"]:
        for block in message["content"] if isinstance(message["content"], list) else ():
            if block["type"] == "tool_result" and block.get("is_error") is False:
                del block["is_error"]
    return wire


def _pieces(plain: bytes | None, stream: bytes | None) -> list[Json]:
    """Every event; a plain reply is made into one of each kind."""
    if plain is not None:
        message = msgspec.json.decode(plain)
        if message["type"] == "error":
            return [message]
        blocks = [
            {"type": "content_block_start", "index": at, "content_block": block}
            for at, block in enumerate(message["content"])
        ]
        return [*blocks, {"type": "message_delta", "delta": message, "usage": message["usage"]}]
    texts = (stream or b"").replace(b"\r\n", b"\n").split(b"\n\n")
    lines = [line for text in texts for line in text.split(b"\n") if line.startswith(b"data:")]
    return [msgspec.json.decode(line[5:]) for line in lines]


def told_by_messages(plain: bytes | None, stream: bytes | None) -> Heard:
    """Read a message without any of our own code."""
    pieces = _pieces(plain, stream)
    blocks: dict[int, Json] = {}
    for piece in pieces:
        if piece["type"] == "content_block_start":
            blocks[piece["index"]] = {"partial": "", **piece["content_block"]}
        if piece["type"] == "content_block_delta":
            block, delta = blocks[piece["index"]], piece["delta"]
            block["partial"] += delta.get("partial_json", "")
            if "text" in delta:
                block["text"] += delta["text"]
    calls = [
        (block["name"], json.loads(block["partial"]) if block["partial"] else block["input"])
        for block in blocks.values()
        if block["type"] == "tool_use"
    ]
    stopped = any(piece["type"] == "message_delta" for piece in pieces)
    return Heard(
        text="".join(block["text"] for block in blocks.values() if block["type"] == "text"),
        calls=calls,
        total=_total(pieces),
        whole=stopped and not any(piece["type"] == "error" for piece in pieces),
    )


def _total(pieces: list[Json]) -> int | None:
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    usages = [piece.get("usage") or piece.get("message", {}).get("usage") for piece in pieces]
    told = [usage for usage in usages if usage]
    if not told:
        return None
    return sum(next((one[name] for one in reversed(told) if one.get(name)), 0) for name in names)


_WORDS = st.text(min_size=1, max_size=40)
_CITED = (("citations", b'[{"type":"char_location","cited_text":"a","document_index":0}]'),)
_TEXTS = st.builds(Text, _WORDS, extra=st.sampled_from([(), _CITED]))
_THOUGHTS = st.one_of(
    st.builds(Thought, _WORDS),
    st.builds(lambda text, signature: Thought(text, signature, signed_by="anthropic"), _WORDS, _WORDS),
    st.builds(lambda data: Thought("", data, redacted=True, signed_by="anthropic"), _WORDS),
)
_ARGUMENTS = st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.integers(), max_size=3).map(
    json.dumps
)
_TOKENS = st.integers(min_value=0, max_value=10_000)
_USAGE = st.builds(
    Usage,
    input_fresh=_TOKENS,
    cache_read=_TOKENS,
    cache_write=_TOKENS,
    cache_write_1h=_TOKENS,
    output_visible=_TOKENS,
    output_thought=_TOKENS,
)
_ENDS: list[tuple[Reason, str, str | None]] = [
    ("stop", "end_turn", None),
    ("stop", "stop_sequence", "END"),
    ("stop", "pause_turn", None),
    ("length", "max_tokens", None),
    ("length", "model_context_window_exceeded", None),
    ("tool_calls", "tool_use", None),
    ("refusal", "refusal", None),
]


@st.composite
def sayable_in_messages(draw: st.DrawFn) -> Reply:
    """Replies that a message can say: any parts in any order."""
    drawn = draw(
        st.lists(
            st.tuples(st.one_of(_TEXTS, _THOUGHTS, st.none()), _WORDS, _ARGUMENTS, st.none() | _WORDS),
            max_size=5,
        )
    )
    parts: list[Part] = [
        part if part is not None else ToolCall(f"toolu_{at}", name, arguments, signature)
        for at, (part, name, arguments, signature) in enumerate(drawn)
    ]
    reason, native, sequence = draw(st.sampled_from(_ENDS))
    return Reply("msg_1", "some-model", tuple(parts), reason, draw(_USAGE), native, sequence)
