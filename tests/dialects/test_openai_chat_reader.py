"""The oddities of chat completions, each by itself, and parallel tool calls in every interleaving."""

from __future__ import annotations

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
    Media,
    Opaque,
    PartBegan,
    PartGrew,
    Reply,
    Text,
    Thought,
    ToolCall,
    fold,
)
from farebox.dialects.openai_chat.reply import ChatReader

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def chunk(delta: Any = None, finish: str | None = None, **members: Any) -> dict[str, Any]:
    choices = [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    return {"id": "c1", "model": "m1", "choices": choices, **members}


def sse(*chunks: Any) -> bytes:
    return b"".join(
        b"data: %b\n\n" % (one if isinstance(one, bytes) else msgspec.json.encode(one)) for one in chunks
    )


def events_of(*pieces: bytes, stream: bool = True) -> list[Event]:
    reader = ChatReader(stream=stream)
    return [*(event for piece in pieces for event in reader.feed(piece)), *reader.end()]


def streamed(*chunks: Any) -> Reply:
    return fold(events_of(sse(*chunks)))


def plain(message: Any = None, finish: str | None = "stop", **members: Any) -> Reply:
    choices = [{"index": 0, "message": message, "finish_reason": finish}]
    return fold(
        events_of(
            msgspec.json.encode({"id": "c1", "model": "m1", "choices": choices, **members}), stream=False
        )
    )


def failure(*pieces: bytes, stream: bool = True) -> Failed:
    last = events_of(*pieces, stream=stream)[-1]
    assert isinstance(last, Failed)
    return last


STOP = chunk(finish="stop")


# --- Parallel tool calls ----------------------------------------------------------------------------------------

arguments = st.lists(st.text(min_size=1, max_size=6), max_size=4)
calls = st.lists(st.tuples(st.text(min_size=1, max_size=5), arguments), min_size=1, max_size=4)


def deltas_of(at: int, name: str, pieces: list[str]) -> list[dict[str, Any]]:
    first = {"index": at, "id": f"call_{at}", "type": "function", "function": {"name": name, "arguments": ""}}
    return [first, *({"index": at, "function": {"arguments": piece}} for piece in pieces)]


def expected(found: list[tuple[str, list[str]]]) -> list[tuple[str, str, str]]:
    return [(f"call_{at}", name, "".join(pieces)) for at, (name, pieces) in enumerate(found)]


def called(reply: Reply) -> list[tuple[str, str, str]]:
    return [(part.id, part.name, part.arguments) for part in reply.parts if isinstance(part, ToolCall)]


@given(found=calls, grouped=st.booleans(), repeats_id=st.booleans(), data=st.data())
def test_calls_in_any_interleaving_are_the_same_calls(
    found: list[tuple[str, list[str]]], grouped: bool, repeats_id: bool, data: st.DataObject
) -> None:
    queues = [deltas_of(at, name, pieces) for at, (name, pieces) in enumerate(found)]
    # OpenAI begins them in order; what follows comes as it likes.
    mixed = [queue.pop(0) for queue in queues]
    while any(queues):
        mixed.append(data.draw(st.sampled_from([queue for queue in queues if queue])).pop(0))
    if repeats_id:
        mixed = [{**delta, "id": f"call_{delta['index']}"} for delta in mixed]
    wire = [chunk({"tool_calls": mixed})] if grouped else [chunk({"tool_calls": [delta]}) for delta in mixed]
    reply = streamed(*wire, chunk(finish="tool_calls"))
    assert called(reply) == expected(found)
    assert reply.reason == "tool_calls"


@given(
    found=calls,
    way=st.sampled_from(["index", "no index", "index 0", "index 0, one a chunk", "no index, no id"]),
)
def test_whole_calls_are_told_apart_however_they_are_numbered(
    found: list[tuple[str, list[str]]], way: str
) -> None:
    wire: list[dict[str, Any]] = [
        {"index": at, "id": f"call_{at}", "function": {"name": name, "arguments": "".join(pieces)}}
        for at, (name, pieces) in enumerate(found)
    ]
    for call in wire:
        if way.startswith("index 0"):
            call["index"] = 0
        if way.startswith("no index"):
            del call["index"]
        if way.endswith("no id"):
            del call["id"]
    if way.endswith("one a chunk"):
        reply = streamed(*(chunk({"tool_calls": [call]}) for call in wire), STOP)
    else:
        reply = streamed(chunk({"tool_calls": wire}), STOP)
    assert [call[1:] for call in called(reply)] == [call[1:] for call in expected(found)]
    assert len({call[0] for call in called(reply)}) == len(found)


@pytest.mark.parametrize(
    "deltas",
    [
        # An id made up for each delta, and the name only in the first.
        [
            ("x1", {"name": "f", "arguments": ""}, 0),
            ("x2", {"arguments": '{"a":'}, 0),
            ("x3", {"arguments": "1}"}, 0),
        ],
        # No index after the first.
        [
            ("x1", {"name": "f"}, None),
            (None, {"arguments": '{"a":'}, None),
            (None, {"arguments": "1}"}, None),
        ],
        # The name comes after the first arguments.
        [("x1", {"arguments": '{"a":'}, 0), (None, {"name": "f"}, 0), (None, {"arguments": "1}"}, 0)],
        # The name comes again and again.
        [("x1", {"name": "f", "arguments": '{"a":'}, 0), ("x1", {"name": "f", "arguments": "1}"}, 0)],
        # An object instead of its text.
        [("x1", {"name": "f", "arguments": {"a": 1}}, 0)],
    ],
    ids=["new ids", "no index", "late name", "repeated name", "object"],
)
def test_one_call_stays_one_call(deltas: list[tuple[str | None, dict[str, Any], int | None]]) -> None:
    wire = [chunk({"tool_calls": [{"id": id_, "index": index, "function": f}]}) for id_, f, index in deltas]
    assert called(streamed(*wire, STOP)) == [("x1", "f", '{"a":1}')]


def test_what_a_provider_adds_to_a_call_stays_with_it() -> None:
    call = {"index": 0, "id": "x", "function": {"name": "f", "arguments": "{}"}}
    signed, odd = {"google": {"thought_signature": "s"}}, {"google": {"other": 1}}
    assert streamed(chunk({"tool_calls": [{**call, "extra_content": signed}]}), STOP).parts == (
        ToolCall("x", "f", "{}", "s"),
    )
    assert streamed(chunk({"tool_calls": [{**call, "extra_content": odd}]}), STOP).parts == (
        ToolCall("x", "f", "{}", extra=(("extra_content", b'{"google":{"other":1}}'),)),
    )


def test_words_before_and_after_calls_keep_their_places() -> None:
    call = {"tool_calls": [{"index": 0, "id": "x", "function": {"name": "f", "arguments": "{}"}}]}
    reply = streamed(chunk({"content": "a"}), chunk(call), chunk({"content": "b"}), STOP)
    assert reply.parts == (Text("a"), ToolCall("x", "f", "{}"), Text("b"))


# --- Thoughts, refusals, and what else a message has ------------------------------------------------------------


@pytest.mark.parametrize("member", ["reasoning_content", "reasoning"])
def test_thoughts_have_several_names(member: str) -> None:
    deltas = ({member: "a", "content": None}, {member: "b", "content": ""}, {member: None, "content": "c"})
    assert streamed(*map(chunk, deltas), STOP).parts == (Thought("ab"), Text("c"))
    assert plain({member: "ab", "content": "c"}).parts == (Thought("ab"), Text("c"))


def detail(text: str | None, signature: str | None = None, index: int = 0) -> dict[str, Any]:
    entry = {"type": "reasoning.text", "index": index, "format": "anthropic-claude-v1"}
    return entry | ({"text": text} if text else {}) | ({"signature": signature} if signature else {})


def test_signatures_are_put_to_the_thoughts_they_sign() -> None:
    reply = streamed(
        chunk({"reasoning": "a", "reasoning_details": [detail("a")]}),
        chunk({"reasoning_details": [detail(None, "s1")]}),
        chunk({"reasoning": "b", "reasoning_details": [detail("b", "s2", index=1)]}),
        chunk({"reasoning_details": [{"type": "reasoning.encrypted", "data": "sealed"}]}),
        chunk({"content": "c"}),
        STOP,
    )
    assert [
        (part.text, part.signature, part.signed_by) for part in reply.parts if isinstance(part, Thought)
    ] == [
        ("a", "s1", "anthropic"),
        ("b", "s2", "anthropic"),
        ("", "sealed", None),
    ]


def test_a_detail_without_text_leaves_the_text_beside_it() -> None:
    sealed = [{"type": "reasoning.encrypted", "data": "s"}]
    assert plain({"reasoning": "a", "reasoning_details": sealed, "content": "b"}).parts == (
        Thought("a"),
        Thought("", "s", redacted=True),
        Text("b"),
    )


def test_a_refusal_is_told_from_words_and_is_a_reason() -> None:
    reply = streamed(chunk({"refusal": "I can"}), chunk({"refusal": "not."}), STOP)
    assert reply.parts == (Text("I cannot.", refusal=True),)
    assert (reply.reason, reply.native_reason) == ("refusal", "stop")


def test_images_citations_and_sound_are_parts() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    reply = plain({"content": "x", "images": [image], "annotations": [{"a": 1}], "audio": {"id": "b"}})
    assert reply.parts == (
        Text("x"),
        Media("image", data="QUJD", media_type="image/png"),
        Opaque("openai_chat", "annotations", "annotations", b'{"a":1}'),
        Opaque("openai_chat", "audio", "audio", b'{"id":"b"}'),
    )


# --- Ends -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("model_length", "length"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("sensitive", "content_filter"),
        ("something new", "stop"),
    ],
)
def test_every_word_for_an_end_has_one_meaning_and_is_kept(native: str, reason: str) -> None:
    reply = streamed(chunk({"content": "x"}), chunk(finish=native))
    assert (reply.reason, reply.native_reason) == (reason, native)


def test_stop_after_a_call_means_that_tools_are_called() -> None:
    call = {"tool_calls": [{"index": 0, "id": "x", "function": {"name": "f", "arguments": "{}"}}]}
    assert streamed(chunk(call), STOP).reason == "tool_calls"


def test_the_stop_sequence_is_kept_where_a_server_tells_it() -> None:
    choices = [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop", "stop_reason": "END"}]
    body = msgspec.json.encode({"id": "c", "model": "m", "choices": choices})
    assert fold(events_of(body, stream=False)).stop_sequence == "END"


READ = Usage(input_fresh=3, output_visible=2)


@pytest.mark.parametrize(
    "ending",
    [
        [chunk(finish="stop", usage=USAGE)],
        [STOP, {"choices": [], "usage": USAGE}],
        [STOP, {"choices": None, "usage": USAGE}],
        [STOP, chunk(finish="stop", usage=USAGE)],
        [chunk(finish="stop", x_groq={"id": "r", "usage": USAGE})],
        [chunk({"content": "x"}, usage=USAGE), chunk(finish="stop", usage=None), b"[DONE]"],
        [
            chunk({"content": "x"}, usage={"prompt_tokens": 3, "completion_tokens": 1}),
            chunk(finish="stop", usage=USAGE),
        ],
        [chunk(finish="stop", usage=USAGE), {"choices": [], "usage": {"prompt_tokens": "?"}}],
    ],
)
def test_usage_is_found_wherever_it_stands(ending: list[Any]) -> None:
    assert streamed(chunk({"content": "a"}), *ending).usage == READ


def test_the_end_is_known_with_the_usage_and_comes_once() -> None:
    reader = ChatReader(stream=True)
    assert not any(isinstance(event, Finished) for event in reader.feed(sse(chunk({"content": "a"}), STOP)))
    assert reader.feed(sse({"choices": [], "usage": USAGE}))[-1:] == [Finished("stop", READ, "stop")]
    assert reader.feed(sse(b"[DONE]", chunk({"content": "late"}))) == []
    assert reader.end() == []
    assert reader.end() == []


@pytest.mark.parametrize("ending", [b"data: [DONE]\n\n", b"data: [DONE]", b"", b'data: {"cho'])
def test_a_finish_without_usage_is_whole_at_the_end_of_the_body(ending: bytes) -> None:
    reply = fold(events_of(sse(chunk({"content": "a"}), STOP) + ending))
    assert (reply.parts, reply.usage) == ((Text("a"),), None)


def test_a_last_event_without_its_blank_line_counts() -> None:
    assert fold(events_of(sse(chunk({"content": "a"}), STOP).rstrip())).parts == (Text("a"),)


# --- Failures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [b"", b"data: [DONE]\n\n", b'data: {"choices":[{"del'])
def test_a_stream_without_a_finish_was_cut(ending: bytes) -> None:
    fault = failure(sse(chunk({"content": "half"})) + ending).fault
    assert (fault.kind, fault.status) == (Kind.PROVIDER_CUT, 502)


@pytest.mark.parametrize(
    "body", [b"", b"data: [DONE]\n\n", b": comment\n\n", sse(chunk({"role": "assistant"}))]
)
def test_a_stream_without_anything_may_be_tried_on_another_route(body: bytes) -> None:
    assert failure(body).fault.kind is Kind.PROVIDER_ERROR


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": "secret of the provider", "code": 500}},
        {"error": "secret of the provider"},
        {"error": ["secret of the provider"]},
        {"object": "error", "message": "secret of the provider", "code": 400},
        chunk({"content": ""}, error={"code": 400, "message": "secret of the provider"}, usage=USAGE),
        {"choices": [{"index": 0, "delta": {}, "error": {"message": "secret of the provider"}}]},
        chunk(finish="error"),
        chunk(finish="network_error"),
    ],
    ids=str,
)
def test_an_error_in_a_stream_of_any_shape_fails_it_in_our_words(error: Any) -> None:
    failed = failure(b"event: error\n" + sse(error))
    assert failed.fault.kind is Kind.PROVIDER_ERROR
    assert "secret" not in failed.fault.message
    assert failure(sse(chunk({"content": "half"}), STOP, error)).fault.kind is Kind.PROVIDER_CUT
    assert failed.usage == (READ if isinstance(error, dict) and "usage" in error else None)


@pytest.mark.parametrize("finish", ["null", '""'])
def test_an_error_that_is_null_is_none(finish: str) -> None:
    body = (
        b'data: {"id":"c","error":null,"choices":[{"delta":{"content":"a"},"finish_reason":%b}]}\n\n'
        % finish.encode()
    )
    assert fold(events_of(body + sse(STOP))).parts == (Text("a"),)


@pytest.mark.parametrize(
    "data",
    [
        b"not json",
        b'{"choices":[{"delta":{"content":5}}]}',
        b'{"choices":{}}',
        b'{"choices":[{"delta":{"content":"\xff"}}]}',
        b'{"choices":[{"delta":{"content":"\\ud83d"}}]}',
        b'{"choices":[{"delta":{"content":[{"type":"text"}]}}]}',
        b'{"x":' + b"[" * 3000 + b"]" * 3000 + b"}",
        b"x" * 5_000_000,
    ],
    ids=["text", "number", "object", "bytes", "half a character", "odd part", "deep", "endless"],
)
def test_what_cannot_be_read_fails_the_reply_and_never_the_gateway(data: bytes) -> None:
    events = events_of(
        sse(chunk({"content": "a"})), b"data: %b\n\n" % data, sse(chunk({"content": "b"}), STOP)
    )
    assert isinstance(events[-1], Failed)
    assert events[-1].fault.kind is Kind.PROVIDER_CUT
    assert sum(isinstance(event, PartGrew) for event in events) == 1


def test_several_answers_are_not_taken_for_one() -> None:
    several = sse(chunk({"content": "a"}), {"choices": [{"index": 1, "delta": {"content": "b"}}]}, STOP)
    assert "several answers" in failure(several).fault.message


# --- Plain replies ----------------------------------------------------------------------------------------------


def test_white_space_before_a_plain_reply_is_no_part_of_it() -> None:
    body = b'\n         \n\n {"id":"c","model":"m","choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}'
    assert events_of(*(body[at : at + 1] for at in range(len(body))), stream=False)[:3] == [
        Began("c", "m"),
        PartBegan(0, Text("")),
        PartGrew(0, "a"),
    ]


def test_a_message_beside_a_delta_is_read_once_in_either_form() -> None:
    both = {"index": 0, "delta": {"content": ""}, "message": {"content": "all"}, "finish_reason": "stop"}
    assert fold(events_of(msgspec.json.encode({"choices": [both]}), stream=False)).parts == (Text("all"),)
    step = {"index": 0, "delta": {"content": "l"}, "message": {"content": "all"}, "finish_reason": "stop"}
    assert streamed(chunk({"content": "al"}), {"choices": [step]}).parts == (Text("all"),)


def test_a_filtered_reply_may_have_no_message_at_all() -> None:
    assert plain(None, "content_filter", usage=USAGE).reason == "content_filter"


def test_a_whole_reply_without_a_word_for_its_end_is_whole() -> None:
    assert plain({"content": "a"}, None).reason == "stop"


def test_a_plain_reply_to_a_streamed_call_is_read_all_the_same() -> None:
    body = msgspec.json.encode(
        {"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}], "usage": USAGE}
    )
    assert fold(events_of(body)).parts == (Text("a"),)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"choices":[]}', b'{"detail":"Invalid API Key"}', b'{"choices":']
)
def test_a_body_that_is_no_reply_is_the_providers_error(body: bytes) -> None:
    assert failure(body, stream=False).fault.kind is Kind.PROVIDER_ERROR


def test_an_error_in_the_clothes_of_a_reply_is_an_error() -> None:
    failed = failure(b'{"error":{"message":"secret"}}', stream=False)
    assert "reported an error" in failed.fault.message
    with pytest.raises(Fault):
        fold([failed])
