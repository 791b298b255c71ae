"""A provider's Responses reply → events, whatever the provider does to the documented form."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.errors import Fault, Kind
from farebox.core.usage import Usage
from farebox.dialects.conversation import (
    Began,
    Event,
    Failed,
    Finished,
    Opaque,
    PartBegan,
    PartEnded,
    PartGrew,
    Reply,
    Text,
    Thought,
    ToolCall,
    fold,
)
from farebox.dialects.openai_responses.reader import ResponsesReader
from farebox.dialects.openai_responses.usage import read_usage
from farebox.dialects.seal import seal, seal_id

FIXTURES = Path(__file__).parent / "fixtures" / "openai_responses"
USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 14,
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Hi"}],
}
CALL = {"id": "fc_1", "type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}


def whole(*output: Any, **members: Any) -> dict[str, Any]:
    return {"id": "resp_1", "model": "m", "status": "completed", "output": output, "usage": USAGE, **members}


def stream_of(*events: dict[str, Any]) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (e["type"].encode(), msgspec.json.encode(e)) for e in events)


def read(data: bytes, *, stream: bool = True) -> list[Event]:
    reader = ResponsesReader(stream=stream)
    return [*reader.feed(data), *reader.end()]


def told(*events: dict[str, Any], end: dict[str, Any] | None = None) -> Reply:
    last = {"type": "response.completed", "response": whole() if end is None else end}
    return fold(read(stream_of(*events, last)))


def plain(*output: Any, **members: Any) -> Reply:
    return fold(read(msgspec.json.encode(whole(*output, **members)), stream=False))


def failed(events: Iterable[Event]) -> Failed:
    *_, last = events
    assert isinstance(last, Failed)
    return last


def added(item: dict[str, Any], at: int | None = 0) -> dict[str, Any]:
    place = {} if at is None else {"output_index": at}
    return {"type": "response.output_item.added", "item": item, **place}


def delta(kind: str, text: str, at: int | None = 0, **members: Any) -> dict[str, Any]:
    place = {} if at is None else {"output_index": at}
    return {"type": f"response.{kind}.delta", "delta": text, **place, **members}


def done(item: dict[str, Any], at: int | None = 0) -> dict[str, Any]:
    return {**added(item, at), "type": "response.output_item.done"}


# --- Items ------------------------------------------------------------------------------------------------------


def test_a_stream_is_read_event_by_event() -> None:
    stream = stream_of(
        {"type": "response.created", "response": {"id": "resp_1", "model": "m"}},
        {"type": "response.in_progress", "response": {"id": "resp_1", "model": "m"}},
        added({**MESSAGE, "content": []}),
        delta("output_text", "Hi", item_id="msg_1", content_index=0),
        done(MESSAGE),
        {"type": "response.completed", "response": whole(MESSAGE)},
    )
    usage = Usage(input_fresh=4, cache_read=4, cache_write=1, output_visible=3, output_thought=2)
    assert read(stream) == [
        Began("resp_1", "m"),
        PartBegan(0, Text("")),
        PartGrew(0, "Hi"),
        PartEnded(0),
        Finished("stop", usage, "completed"),
    ]


def test_parallel_calls_grow_side_by_side() -> None:
    other = {**CALL, "id": "fc_2", "call_id": "c2", "name": "find", "arguments": '{"a":1}'}
    reply = told(
        added({**CALL, "arguments": ""}, 0),
        added({**other, "arguments": ""}, 1),
        delta("function_call_arguments", '{"a"', 1),
        delta("function_call_arguments", "{}", 0),
        delta("function_call_arguments", ":1}", 1),
        done(other, 1),
        done(CALL, 0),
    )
    assert reply.parts == (ToolCall("c1", "look", "{}"), ToolCall("c2", "find", '{"a":1}'))
    assert reply.reason == "tool_calls"


def test_items_are_told_apart_by_their_ids_where_nothing_is_counted() -> None:
    other = {**CALL, "id": "fc_2", "call_id": "c2"}
    reply = told(
        added({**CALL, "arguments": ""}, None),
        added({**other, "arguments": ""}, None),
        delta("function_call_arguments", "{", None, item_id="fc_2"),
        delta("function_call_arguments", "[", None, item_id="fc_1"),
        done(CALL, None),
        done(other, None),
    )
    assert reply.parts == (ToolCall("c1", "look", "["), ToolCall("c2", "look", "{"))


def test_an_id_that_changes_with_every_event_does_not_matter_where_items_are_counted() -> None:
    reply = told(
        added({**MESSAGE, "content": []}),
        delta("output_text", "H", item_id="x"),
        delta("output_text", "i", item_id="y"),
    )
    assert reply.parts == (Text("Hi"),)


def test_arguments_before_their_call_or_only_at_its_end_are_not_lost() -> None:
    early = told(
        delta("function_call_arguments", "{", 0), delta("function_call_arguments", "}", 0), done(CALL)
    )
    late = told(added({**CALL, "arguments": ""}), done(CALL))
    whole_call = told(done({**CALL, "arguments": {"a": 1}}))
    assert early.parts == late.parts == (ToolCall("c1", "look", "{}"),)
    assert whole_call.parts == (ToolCall("c1", "look", '{"a":1}'),)


def test_a_thought_is_its_summary_and_signed_at_its_end() -> None:
    item = {"id": "rs_1", "type": "reasoning", "summary": []}
    pieces = [{"type": "summary_text", "text": text} for text in ("One.", "Two.")]
    signed = {**item, "summary": pieces, "encrypted_content": "e=="}
    streamed = told(
        added(item),
        delta("reasoning_summary_text", "One", summary_index=0),
        delta("reasoning_summary_text", ".", summary_index=0),
        delta("reasoning_summary_text", "Two.", summary_index=1),
        done(signed),
    )
    thought = Thought("One.\n\nTwo.", "e==", signed_by="openai_responses")
    assert streamed.parts == plain(signed).parts == (thought,)


def test_thoughts_in_full_hidden_and_empty() -> None:
    full = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "raw"}]}
    hidden = {"type": "reasoning", "summary": [], "encrypted_content": "e"}
    nothing: dict[str, Any] = {"type": "reasoning", "summary": []}
    sealed = {**hidden, "encrypted_content": seal("c2ln", "anthropic")}
    parts = (
        Thought("raw", member="content"),
        Thought("", "e", redacted=True, signed_by="openai_responses"),
        Thought("", "c2ln", redacted=True, signed_by="anthropic"),
    )
    assert plain(full, hidden, nothing, sealed).parts == parts
    streamed = told(
        added(nothing, 0),
        delta("reasoning_text", "raw", 0),
        done(full, 0),
        done(hidden, 1),
        done(nothing, 2),
        done(sealed, 3),
    )
    assert streamed.parts == parts


def test_a_refusal_is_a_text_and_the_reason() -> None:
    item = {**MESSAGE, "content": [{"type": "refusal", "refusal": "No."}]}
    for reply in (told(added(item), delta("refusal", "No."), done(item)), plain(item)):
        assert (reply.parts, reply.reason) == ((Text("No.", refusal=True),), "refusal")


def test_a_text_keeps_its_sources_and_its_message_its_phase() -> None:
    source = {
        "type": "url_citation",
        "url": "https://a.example",
        "title": "A",
        "start_index": 0,
        "end_index": 1,
    }
    item = {
        **MESSAGE,
        "phase": "final_answer",
        "content": [{"type": "output_text", "text": "Hi", "annotations": [source]}],
    }
    (text,) = plain(item).parts
    assert isinstance(text, Text)
    assert [name for name, _ in text.extra] == ["phase", "annotations"]
    assert told(added(item), delta("output_text", "Hi"), done(item)).parts == (text,)


def test_hosted_tools_and_custom_calls_are_opaque() -> None:
    search = {"id": "ws_1", "type": "web_search_call", "status": "completed"}
    custom = {"id": "ctc_1", "type": "custom_tool_call", "call_id": "k", "name": "run", "input": "ls"}
    reply = told(
        added(search), {"type": "response.web_search_call.searching", "output_index": 0}, done(search),
        delta("custom_tool_call_input", "ls", 1), done(custom, 1),
    )  # fmt: skip
    assert [part.kind for part in reply.parts if isinstance(part, Opaque)] == [
        "web_search_call",
        "custom_tool_call",
    ]
    assert reply.reason == "tool_calls"


def test_a_sealed_id_is_opened() -> None:
    assert plain({**CALL, "call_id": seal_id("c1", "sig")}).parts == (ToolCall("c1", "look", "{}", "sig"),)


def test_items_told_by_the_last_event_alone_are_read_from_it() -> None:
    assert told(end=whole(MESSAGE, CALL)).parts == (Text("Hi"), ToolCall("c1", "look", "{}"))
    both = told(added(MESSAGE), delta("output_text", "Hi"), done(MESSAGE), end=whole(MESSAGE, CALL))
    assert both.parts == (Text("Hi"), ToolCall("c1", "look", "{}"))


# --- Ends -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("native", "reason"),
    [("max_output_tokens", "length"), ("content_filter", "content_filter"), ("tomorrow", "length")],
)
def test_an_incomplete_reply_says_why(native: str, reason: str) -> None:
    end = whole(status="incomplete", incomplete_details={"reason": native})
    stream = stream_of({"type": "response.incomplete", "response": end})
    for reply in (fold(read(stream)), fold(read(msgspec.json.encode(end), stream=False))):
        assert (reply.reason, reply.native_reason) == (reason, native)


ENDS: dict[str, bytes] = {
    "nothing": b"",
    "no end": stream_of(added(MESSAGE), delta("output_text", "Hi"), done(MESSAGE)),
    "only the other end mark": b"data: [DONE]\n\n",
    "an error": stream_of({"type": "error", "code": "x", "message": "y"}),
    "an error without a type": b'data: {"error":{"message":"x"}}\n\n',
    "a failure": stream_of(
        {"type": "response.failed", "response": {"status": "failed", "error": {"code": "x"}}}
    ),
    "a lie": stream_of(
        {"type": "response.completed", "response": whole(status="failed", error={"code": "x"})}
    ),
    "an end without a reply": stream_of({"type": "response.completed"}),
    "an end of another shape": stream_of({"type": "response.completed", "response": [1]}),
    "an item of another shape": stream_of(done({"type": "message", "content": 7})),
    "half an end": stream_of({"type": "response.completed", "response": whole()})[:-9],
    "no JSON": b"event: response.created\ndata: oops\n\n",
    "an event without an end": b"data: " + b"x" * (5 << 20),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_stream_that_is_not_whole_fails_once(name: str) -> None:
    events = read(ENDS[name])
    assert sum(isinstance(event, Finished | Failed) for event in events) == 1
    began = any(isinstance(event, PartBegan) for event in events)
    assert failed(events).fault.kind is (Kind.PROVIDER_CUT if began else Kind.PROVIDER_ERROR)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"oops",
        b'{"error":{"message":"x"}}',
        b'{"code":"x","error":"y"}',
        b'{"output":[],"status":"in_progress"}',
        b'{"output":[],"status":"failed"}',
        b'{"output":[7],"status":"completed"}',
    ],
)
def test_a_plain_reply_that_is_none_fails(body: bytes) -> None:
    failed(read(body, stream=False))


def test_nothing_after_the_end_is_read() -> None:
    end = {"type": "response.completed", "response": whole()}
    events = read(stream_of(end, end, delta("output_text", "more")) + b"data: [DONE]\n\noops")
    assert [type(event) for event in events] == [Began, Finished]


def test_what_fails_still_tells_what_it_counted() -> None:
    failure = {"type": "response.failed", "response": {"status": "failed", "usage": USAGE}}
    usage = failed(read(stream_of(added(MESSAGE), delta("output_text", "Hi"), failure))).usage
    assert usage is not None
    assert usage.total == 14


def test_a_plain_reply_to_a_streamed_call_is_read_as_one() -> None:
    assert fold(read(msgspec.json.encode(whole(MESSAGE)))).parts == (Text("Hi"),)


def test_a_last_event_may_lack_its_blank_line() -> None:
    stream = stream_of(done(MESSAGE), {"type": "response.completed", "response": whole()})
    assert fold(read(stream.rstrip())).parts == (Text("Hi"),)


@given(st.lists(st.sampled_from(sorted(FIXTURES.glob("*/stream.sse"))), min_size=1, max_size=1), st.data())
def test_no_damage_to_a_stream_breaks_the_reader(paths: list[Path], data: st.DataObject) -> None:
    stream = bytearray(paths[0].read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(stream) - 1))
        stream[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=5))
    with suppress(Fault):
        fold(read(bytes(stream)))


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["type", "item", "response", "output", "delta", "content", "text", "usage", "id"]
                ),
                inner | st.sampled_from(["response.completed", "message", "function_call", "reasoning"]),
                max_size=5,
            )
        ),
        max_leaves=12,
    )
)
def test_no_event_at_all_breaks_the_reader(event: Any) -> None:
    data = msgspec.json.encode(event)
    read(b"data: %b\n\n" % data)
    read(data, stream=False)


# --- Usage ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "usage"),
    [
        ({"input_tokens": 5, "output_tokens": 2}, Usage(input_fresh=5, output_visible=2)),
        (
            {
                "input_tokens": 5,
                "output_tokens": 2,
                "output_tokens_details": {"reasoning_tokens": 3},
                "total_tokens": 10,
            },
            Usage(input_fresh=5, output_visible=2, output_thought=3),
        ),
        ({"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}, None),
        ({"input_tokens": 5}, None),
        ({"input_tokens": 5, "output_tokens": -1}, None),
        ({"input_tokens": 5, "output_tokens": 10**9}, None),
        ({"input_tokens": 5, "input_tokens_details": {"cached_tokens": 6}, "output_tokens": 1}, None),
        ({"input_tokens": "many", "output_tokens": 1}, None),
        ([], None),
    ],
    ids=str,
)
def test_usage_is_split_or_not_believed(wire: Any, usage: Usage | None) -> None:
    assert read_usage(msgspec.json.encode(wire)) == usage
