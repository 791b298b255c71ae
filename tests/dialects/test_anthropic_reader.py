"""What a provider of Anthropic Messages may send, and the events it means."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.errors import Kind
from farebox.core.usage import Usage
from farebox.dialects.anthropic import Anthropic
from farebox.dialects.anthropic.usage import TOKENS_MAX, Counts, read_usage, write_usage
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
from farebox.dialects.dialect import Cost

DIALECT = Anthropic()
START = {
    "type": "message_start",
    "message": {"id": "msg_1", "model": "m", "usage": {"input_tokens": 5, "output_tokens": 1}},
}
TEXT = {"type": "text", "text": ""}
STOP = {"type": "message_stop"}


def started(block: Any, at: int = 0) -> Any:
    return {"type": "content_block_start", "index": at, "content_block": block}


def grown(delta: Any, at: int = 0) -> Any:
    return {"type": "content_block_delta", "index": at, "delta": delta}


def said(text: str, at: int = 0) -> Any:
    return grown({"type": "text_delta", "text": text}, at)


def typed(text: str, at: int = 0) -> Any:
    return grown({"type": "input_json_delta", "partial_json": text}, at)


def stopped(at: int = 0) -> Any:
    return {"type": "content_block_stop", "index": at}


def finish(reason: str = "end_turn", **usage: int) -> Any:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 9, **usage}}


def call(at: int = 0, **more: Any) -> Any:
    return started({"type": "tool_use", "id": f"toolu_{at}", "name": "look", "input": {}, **more}, at)


def sse(*events: Any) -> bytes:
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()


def read(*pieces: bytes, stream: bool = True) -> list[Event]:
    reader = DIALECT.reader(stream=stream)
    return [*(event for piece in pieces for event in reader.feed(piece)), *reader.end()]


def reply_of(*events: Any) -> Reply:
    return fold(read(sse(START, *events, finish(), STOP)))


def plain(**members: Any) -> bytes:
    return json.dumps(
        {"type": "message", "id": "msg_1", "model": "m", "content": [], "usage": None, **members}
    ).encode()


def failure(events: Sequence[Event]) -> Failed:
    assert isinstance(events[-1], Failed)
    return events[-1]


def test_a_stream_is_read_step_by_step() -> None:
    events = read(
        sse(START, started(TEXT), {"type": "ping"}, said("Hi"), said(" é"), stopped(), finish(), STOP)
    )
    assert events == [
        Began("msg_1", "m"),
        PartBegan(0, Text("")),
        PartGrew(0, "Hi"),
        PartGrew(0, " é"),
        PartEnded(0),
        Finished("stop", Usage(input_fresh=5, output_visible=9), "end_turn"),
    ]


def test_blocks_may_grow_interleaved() -> None:
    reply = reply_of(
        call(0),
        call(1),
        typed('{"a"', 0),
        typed('{"b"', 1),
        typed(":1}", 0),
        typed(":2}", 1),
        stopped(0),
        stopped(1),
    )
    assert reply.parts == (ToolCall("toolu_0", "look", '{"a":1}'), ToolCall("toolu_1", "look", '{"b":2}'))


@pytest.mark.parametrize(
    ("events", "arguments"),
    [
        ((call(), typed(""), stopped()), "{}"), ((call(), stopped()), "{}"),
        ((call(input={"a": [1, 2]}), stopped()), '{"a": [1, 2]}'), ((call(), typed('{"a": "half')), '{"a": "half'),
    ],
)  # fmt: skip
def test_arguments_come_in_pieces_whole_or_not_at_all(events: Any, arguments: str) -> None:
    assert reply_of(*events).parts == (ToolCall("toolu_0", "look", arguments),)


def test_who_called_a_tool_is_kept_unless_it_is_the_model() -> None:
    direct, other = {"type": "direct"}, {"type": "code_execution_20250825", "tool_id": "s"}
    assert reply_of(call(caller=direct), stopped()).parts == (ToolCall("toolu_0", "look", "{}"),)
    kept = (("caller", b'{"type":"code_execution_20250825","tool_id":"s"}'),)
    assert reply_of(call(caller=other), stopped()).parts == (ToolCall("toolu_0", "look", "{}", extra=kept),)


def test_thoughts_keep_their_signature_byte_for_byte() -> None:
    thinking = started({"type": "thinking", "thinking": "", "signature": ""})
    thought = grown({"type": "thinking_delta", "thinking": "Hm."})
    pieces = [grown({"type": "signature_delta", "signature": text}) for text in ("EqY+/", "C==")]
    redacted = started({"type": "redacted_thinking", "data": "EvoR=="}, 1)
    assert reply_of(thinking, thought, *pieces, stopped(), redacted, stopped(1)).parts == (
        Thought("Hm.", "EqY+/C==", signed_by="anthropic"),
        Thought("", "EvoR==", redacted=True, signed_by="anthropic"),
    )
    assert reply_of(thinking, thought, stopped()).parts == (Thought("Hm."),)


def test_citations_join_the_words_they_belong_to() -> None:
    cited = grown({"type": "citations_delta", "citation": {"type": "char_location", "cited_text": "a"}})
    (part,) = reply_of(started({"citations": [], **TEXT}), cited, said("a"), cited, stopped()).parts
    citation = b'{"type":"char_location","cited_text":"a"}'
    assert part == Text("a", extra=(("citations", b"[%b,%b]" % (citation, citation)),))


def test_what_hosted_tools_did_is_kept_whole() -> None:
    search = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    found = {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"title": "a\nb"}]}
    reply = reply_of(
        started(search), typed('{"query":'), typed(' "x"}'), stopped(), started(found, 1), stopped(1)
    )
    assert [(part.kind, json.loads(part.raw)) for part in reply.parts if isinstance(part, Opaque)] == [
        ("server_tool_use", {**search, "input": {"query": "x"}}),
        ("web_search_tool_result", found),
    ]
    assert all(isinstance(part, Opaque) and b"\n" not in part.raw for part in reply.parts)


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        ("end_turn", "stop"), ("max_tokens", "length"), ("stop_sequence", "stop"), ("tool_use", "tool_calls"),
        ("pause_turn", "stop"), ("refusal", "refusal"), ("model_context_window_exceeded", "length"), ("new", "stop"),
    ],
)  # fmt: skip
def test_an_end_is_read_in_the_common_words(native: str, reason: str) -> None:
    last = read(sse(START, finish(native), STOP))[-1]
    assert isinstance(last, Finished)
    assert (last.reason, last.native_reason) == (reason, native)


@pytest.mark.parametrize(
    "tail",
    [
        sse(finish(), STOP),
        sse(finish()),
        sse(finish(), STOP).rstrip(),
        sse(finish()) + b"data: [DONE]\n\n",
        sse(finish()) + b"data: {",
    ],
)
def test_a_reply_is_whole_once_it_has_said_why_it_stopped(tail: bytes) -> None:
    events = read(sse(START, started(TEXT), said("Hi")) + tail)
    assert events[-2:] == [PartEnded(0), Finished("stop", Usage(input_fresh=5, output_visible=9), "end_turn")]


def test_a_stream_that_is_answered_in_one_piece_is_read_as_what_it_is() -> None:
    body = plain(content=[TEXT | {"text": "Hi"}])
    assert read(body) == read(body, stream=False)
    assert isinstance(read(body)[-1], Finished)


@pytest.mark.parametrize(
    ("stream", "kind"),
    [
        (b"", Kind.PROVIDER_ERROR), (sse(START), Kind.PROVIDER_ERROR), (sse(START, STOP), Kind.PROVIDER_ERROR),
        (sse(START, started(TEXT), said("Hi"), stopped()), Kind.PROVIDER_CUT),
        (sse(START, started(TEXT), said("Hi"), stopped(), STOP), Kind.PROVIDER_CUT),
        (sse(START, {"type": "error", "error": {"type": "overloaded_error"}}), Kind.PROVIDER_ERROR),
        (sse(START, started(TEXT), {"type": "error", "error": {}}, finish(), STOP), Kind.PROVIDER_CUT),
        (sse(START, typed("{}"), finish(), STOP), Kind.PROVIDER_ERROR),
        (sse(START, started({"text": "no type"}), finish(), STOP), Kind.PROVIDER_ERROR),
        (sse(START, started({"type": "server_tool_use"}), typed("{"), stopped(), finish(), STOP),
         Kind.PROVIDER_ERROR),
        (sse(START, started(TEXT)) + b"data: {oops}\n\n" + sse(finish(), STOP), Kind.PROVIDER_CUT),
        (b'{"type":"error","error":{"type":"api_error","message":"x"}}', Kind.PROVIDER_ERROR),
        (plain(content=[]), Kind.PROVIDER_ERROR), (b"<html>", Kind.PROVIDER_ERROR),
        (b"data: " + b"x" * (5 << 20), Kind.PROVIDER_ERROR),
    ],
    ids=range(15),
)  # fmt: skip
def test_a_stream_that_is_cut_garbled_or_an_error_fails(stream: bytes, kind: Kind) -> None:
    assert failure(read(stream)).fault.kind is kind


def test_a_failure_tells_what_was_counted_so_far() -> None:
    assert failure(read(sse(START, started(TEXT), said("Hi")))).usage == Usage(
        input_fresh=5, output_visible=1
    )


def test_a_server_that_announces_nothing_is_understood() -> None:
    thought = grown({"type": "thinking_delta", "thinking": "Hm."}, 0)
    reply = fold(read(sse(thought, stopped(), said("Hi", 1), finish(), STOP)))
    assert (reply.id, reply.parts) == ("", (Thought("Hm."), Text("Hi")))


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (plain(content=[{"type": "text", "text": "Hi", "citations": None}], stop_reason="end_turn"), (Text("Hi"),)),
        (plain(content=[{"type": "tool_use", "id": "t", "name": "look", "input": {"a": 1}}]),
         (ToolCall("t", "look", '{"a": 1}'),)),
        (plain(stop_reason="end_turn"), ()),
    ],
)  # fmt: skip
def test_a_plain_reply_is_its_blocks(body: bytes, parts: Any) -> None:
    reply = fold(read(body[:9], body[9:], stream=False))
    assert reply.parts == parts
    assert reply.reason == ("tool_calls" if parts and isinstance(parts[0], ToolCall) else "stop")


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"{}", b"[]", plain(), plain(content=None), plain(content=[{}]), plain(content=["x"]),
        plain()[:-1],
        plain(error={"type": "x"}, stop_reason="end_turn"), b'{"type":"error","error":{"type":"api_error"}}',
        plain(content=[TEXT], stop_reason=5), plain(content=[TEXT], x="y").replace(b'"y"', b'"\xff"'),
    ],
    ids=range(13),
)  # fmt: skip
def test_a_plain_reply_that_is_none_fails(body: bytes) -> None:
    assert failure(read(body, stream=False)).fault.kind is Kind.PROVIDER_ERROR


@given(st.lists(st.binary(max_size=60), max_size=4), st.booleans())
def test_no_bytes_at_all_break_the_reader(pieces: list[bytes], stream: bool) -> None:
    events = read(*pieces, stream=stream)
    assert sum(isinstance(event, Finished | Failed) for event in events) == 1


JSONS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=4)
    | st.sampled_from(["text", "tool_use", "text_delta"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["type", "text", "input", "id", "usage"]), inner)
    ),
    max_leaves=6,
)
KINDS = [
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
    "x",
]
MEMBERS = st.sampled_from(["index", "content_block", "delta", "message", "usage", "error"])


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.dictionaries(MEMBERS, JSONS)), max_size=6))
def test_no_events_at_all_break_the_reader(found: list[tuple[str, dict[str, Any]]]) -> None:
    events = read(
        sse(START, started(TEXT), *({"type": kind, **members} for kind, members in found), finish(), STOP)
    )
    assert sum(isinstance(event, Finished | Failed) for event in events) == 1
    if isinstance(events[-1], Finished):
        fold(events)


# --- Usage ------------------------------------------------------------------------------------------------------


def usage(**members: Any) -> bytes:
    return json.dumps(members).encode()


@pytest.mark.parametrize(
    ("raws", "found"),
    [
        ([usage(input_tokens=5, output_tokens=9)], Usage(input_fresh=5, output_visible=9)),
        ([usage(input_tokens=5, cache_read_input_tokens=7, cache_creation_input_tokens=30, output_tokens=9,
                cache_creation={"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20})],
         Usage(input_fresh=5, cache_read=7, cache_write=10, cache_write_1h=20, output_visible=9)),
        ([usage(input_tokens=5, cache_creation_input_tokens=30, output_tokens=9)],
         Usage(input_fresh=5, cache_write=30, output_visible=9)),
        ([usage(input_tokens=5, output_tokens=9, output_tokens_details={"thinking_tokens": 4})],
         Usage(input_fresh=5, output_visible=5, output_thought=4)),
        ([usage(input_tokens=5, output_tokens=9, output_tokens_details={"thinking_tokens": 40})],
         Usage(input_fresh=5, output_thought=9)),
        # A stream tells it twice, each time in part.
        ([usage(input_tokens=25, output_tokens=1), usage(output_tokens=9)], Usage(input_fresh=25, output_visible=9)),
        ([usage(input_tokens=25, output_tokens=1), usage(input_tokens=0, output_tokens=0)], Usage(input_fresh=25)),
        ([usage(input_tokens=0, output_tokens=0), usage(input_tokens=25, output_tokens=9)],
         Usage(input_fresh=25, output_visible=9)),
        # What the end adds to the cache was kept as what the start tells of.
        ([usage(input_tokens=5, output_tokens=1, cache_creation_input_tokens=20,
         cache_creation={"ephemeral_1h_input_tokens": 20}),
          usage(output_tokens=9, cache_creation_input_tokens=50)],
          Usage(input_fresh=5, cache_write_1h=50, output_visible=9)),
        ([usage(input_tokens=5, output_tokens=9, server_tool_use={"web_search_requests": 1})],
         Usage(input_fresh=5, output_visible=9)),
        ([usage(output_tokens=9)], None), ([usage(input_tokens=5)], None), ([b"null"], None), ([b"5"], None),
        ([usage(input_tokens="5", output_tokens=9)], None), ([usage(input_tokens=-5, output_tokens=9)], None),
        ([usage(input_tokens=TOKENS_MAX + 1, output_tokens=9)], None),
    ],
    ids=range(17),
)  # fmt: skip
def test_usage_is_split_into_disjoint_classes(raws: list[bytes], found: Usage | None) -> None:
    counts = Counts()
    assert [counts.take(raw) for raw in raws][-1] == found


def test_usage_is_written_in_anthropics_convention_with_its_cost() -> None:
    told = Usage(5, 7, 10, 20, 9, 4, 1, 2, 3, 6)
    assert json.loads(write_usage(told, Cost("0.000012", "INR"))) == {
        "input_tokens": 9, "cache_creation_input_tokens": 30, "cache_read_input_tokens": 7,
        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20}, "output_tokens": 21,
        "output_tokens_details": {"thinking_tokens": 4}, "cost": 0.000012,
        "cost_details": {"currency": "INR", "total": 0.000012},
    }  # fmt: skip
    again = read_usage(write_usage(told, None))
    assert again is not None
    assert again.total == told.total
