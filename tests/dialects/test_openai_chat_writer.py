"""The bytes a caller of chat completions gets: exactly OpenAI's form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from farebox.core.errors import Fault, Kind
from farebox.core.usage import Usage
from farebox.dialects.conversation import (
    Began,
    Event,
    Failed,
    Finished,
    Media,
    Opaque,
    PartBegan,
    PartEnded,
    PartGrew,
    Reply,
    Text,
    Thought,
    ToolCall,
    unfold,
)
from farebox.dialects.dialect import Cost, Head, Names
from farebox.dialects.openai_chat.reply import ChatWriter
from farebox.dialects.seal import seal_id

NAMES = Names(id="chatcmpl-01", model="gpt-4o", created_s=1_700_000_000)
OPEN = '"id":"chatcmpl-01","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o"'
USAGE = Usage(input_fresh=5, cache_read=2, output_visible=3, output_thought=1)
COST = Cost(charge="0.000012", currency="INR")
FINISH = Finished("stop", USAGE)
USAGE_TEXT = (
    '{"prompt_tokens":7,"completion_tokens":4,"total_tokens":11,"prompt_tokens_details":{"cached_tokens":2,'
    '"cache_write_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":1,"audio_tokens":0}'
    ',"cost":0.000012,"cost_details":{"currency":"INR","total":0.000012}}'
)


def streamed(events: Iterable[Event], *, wants_usage: bool = False) -> list[str]:
    writer = ChatWriter(Head(model="asked", stream=True, wants_usage=wants_usage), NAMES)
    pieces = [writer.write(event, COST if isinstance(event, Finished) else None) for event in events]
    assert all(piece.endswith(b"\n\n") for piece in pieces if piece)
    return [line for piece in pieces for line in piece.decode().split("\n\n") if line]


def deltas(events: Iterable[Event]) -> list[Any]:
    chunks = [msgspec.json.decode(line.removeprefix("data: ")) for line in streamed(events)]
    return [one["choices"][0]["delta"] for one in chunks]


def plain(reply: Reply) -> Any:
    writer = ChatWriter(Head(model="asked"), NAMES)
    *silent, body = [writer.write(event, COST) for event in unfold(reply)]
    assert not any(silent)
    return msgspec.json.decode(body)


def line_of(choices: str) -> str:
    return f'data: {{{OPEN},"choices":{choices}}}'


def test_a_stream_is_in_the_documented_form_to_the_byte() -> None:
    events: list[Event] = [
        Began("theirs", "their-model"),
        PartBegan(0, Text("")),
        PartGrew(0, "Hi"),
        PartGrew(0, ' "é"\n'),
    ]
    assert streamed([*events, PartEnded(0), FINISH]) == [
        line_of('[{"index":0,"delta":{"role":"assistant","content":"Hi"},"finish_reason":null}]'),
        line_of('[{"index":0,"delta":{"content":" \\"é\\"\\n"},"finish_reason":null}]'),
        line_of('[{"index":0,"delta":{},"finish_reason":"stop"}]'),
    ]


def test_usage_comes_last_and_only_to_those_who_asked() -> None:
    events: list[Event] = [PartBegan(0, Text("")), PartGrew(0, "Hi"), PartEnded(0), FINISH]
    *chunks, usage = streamed(events, wants_usage=True)
    assert all(line.endswith('],"usage":null}') for line in chunks)
    assert usage == f'data: {{{OPEN},"choices":[],"usage":{USAGE_TEXT}}}'
    assert not any("usage" in line for line in streamed(events))
    assert len(streamed([*events[:-1], Finished("stop")], wants_usage=True)) == len(chunks)


def test_calls_are_numbered_and_their_arguments_stream() -> None:
    events: list[Event] = [
        PartBegan(0, Text("")),
        PartEnded(0),
        PartBegan(1, ToolCall("a", "f", "")),
        PartBegan(2, ToolCall("b", "g", "", "seal")),
        PartGrew(2, "{"),
        PartGrew(1, "{}"),
        PartEnded(1, "late"),
        Finished("tool_calls"),
    ]
    first = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
    second = {
        "index": 1,
        "id": seal_id("b", "seal"),
        "type": "function",
        "function": {"name": "g", "arguments": ""},
    }
    signed = {"extra_content": {"google": {"thought_signature": "seal"}}}
    assert deltas(events) == [
        {"role": "assistant", "content": None, "tool_calls": [first]},
        {"tool_calls": [second | signed]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "{"}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
        {"tool_calls": [{"index": 0, "extra_content": {"google": {"thought_signature": "late"}}}]},
        {},
    ]


def test_a_signature_comes_with_the_whole_of_its_thought() -> None:
    events: list[Event] = [
        PartBegan(0, Thought("")),
        PartGrew(0, "a"),
        PartGrew(0, "b"),
        PartEnded(0, "seal", "anthropic"),
        FINISH,
    ]
    entry = {"type": "reasoning.text", "text": "ab", "signature": "seal", "format": "anthropic-claude-v1"}
    assert deltas(events) == [
        {"role": "assistant", "content": None, "reasoning_content": "a"},
        {"reasoning_content": "b"},
        {"reasoning_details": [entry]},
        {},
    ]


def test_an_empty_answer_still_has_its_role() -> None:
    assert deltas([Began("a", "b"), Finished("length")]) == [{"role": "assistant", "content": ""}]


def test_what_goes_home_as_written_cannot_break_a_line_of_the_stream() -> None:
    opaque = Opaque("openai_chat", "annotations", "annotations", b'{\n  "a": "x\\n y"\r\n}')
    call = ToolCall("a", "f", "{}", extra=(("more", b"[\n1]"),))
    found = deltas([PartBegan(0, opaque), PartBegan(1, call), FINISH])
    assert found[0]["annotations"] == [{"a": "x\n y"}]
    assert found[1]["tool_calls"][0]["more"] == [1]


def test_another_dialects_ornaments_are_not_said() -> None:
    assert deltas([PartBegan(0, Opaque("elsewhere", "citation", "x", b"{}")), PartEnded(0), FINISH]) == [
        {"role": "assistant", "content": ""}
    ]


def test_images_go_out_as_they_come() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    assert deltas([PartBegan(0, Media("image", data="QUJD", media_type="image/png")), FINISH])[0][
        "images"
    ] == [image]


def test_a_failure_is_left_to_the_one_who_writes_errors() -> None:
    failed = Failed(Fault(Kind.PROVIDER_CUT, "cut"))
    assert streamed([PartBegan(0, Text("")), failed]) == []
    assert ChatWriter(Head(model="asked"), NAMES).write(failed) == b""


def test_a_plain_reply_is_in_the_documented_form() -> None:
    parts = (Thought("Hm"), Text("Hi"), Text(" there"), ToolCall("a", "f", "{"))
    assert plain(Reply("theirs", "their-model", parts, "tool_calls", USAGE, "tool_use")) == {
        "id": "chatcmpl-01",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "gpt-4o",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Hi there",
                    "refusal": None,
                    "annotations": [],
                    "reasoning_content": "Hm",
                    "tool_calls": [
                        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{"}}
                    ],
                },
                "logprobs": None,
                "finish_reason": "tool_calls",
            }
        ],
        "usage": msgspec.json.decode(USAGE_TEXT),
    }


def test_a_plain_reply_says_null_where_there_are_no_words() -> None:
    called = plain(Reply("a", "b", (ToolCall("a", "f", "{}"),), "tool_calls"))["choices"][0]["message"]
    assert called["content"] is None
    refused = plain(Reply("a", "b", (Text("No.", refusal=True),), "refusal"))["choices"][0]
    assert (refused["message"]["content"], refused["message"]["refusal"]) == (None, "No.")
    assert refused["finish_reason"] == "stop"
    empty = plain(Reply("a", "b", (), "length"))
    assert empty["choices"][0]["message"]["content"] == ""
    assert "usage" not in empty


def test_a_refusal_without_words_is_a_filter() -> None:
    assert plain(Reply("a", "b", (), "refusal"))["choices"][0]["finish_reason"] == "content_filter"
