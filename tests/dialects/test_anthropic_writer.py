"""The bytes a caller of Anthropic Messages gets: exactly Anthropic's form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from farebox.core.errors import Fault, Kind
from farebox.core.usage import Usage
from farebox.dialects import DIALECTS
from farebox.dialects.conversation import (
    Began,
    Event,
    Failed,
    Finished,
    Media,
    Opaque,
    Part,
    PartBegan,
    PartEnded,
    PartGrew,
    Reply,
    Text,
    Thought,
    ToolCall,
    fold,
    unfold,
)
from farebox.dialects.dialect import Cost, Head, Names
from farebox.dialects.seal import seal, seal_id
from tests.dialects.recordings import Exchange, over_exchanges

DIALECT = DIALECTS["anthropic"]
NAMES = Names(id="msg_01", model="gpt-4o", created_s=1_700_000_000)
USAGE = Usage(input_fresh=5, cache_read=2, output_visible=3, output_thought=1)
COST = Cost(charge="0.000012", currency="INR")
FINISH = Finished("stop", USAGE)
STREAM_EVENTS: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
CITATION = {"type": "char_location", "cited_text": "a", "document_index": 0, "document_title": None,
            "start_char_index": 0, "end_char_index": 1}  # fmt: skip


def streamed(events: Iterable[Event]) -> list[tuple[str, Any]]:
    """Each event's name and data, in the strict form: one line of each."""
    writer = DIALECT.writer(Head(model="asked", stream=True), NAMES)
    body = b"".join(writer.write(event, COST if isinstance(event, Finished) else None) for event in events)
    found = []
    for text in (body + DIALECT.done(Head(model="asked", stream=True))).decode().split("\n\n")[:-1]:
        name, data = text.split("\n")
        told = msgspec.json.decode(data.removeprefix("data: "))
        assert name == f"event: {told['type']}"
        found.append((told["type"], told))
    return found


def plain(events: Sequence[Event]) -> Any:
    writer = DIALECT.writer(Head(model="asked"), NAMES)
    *silent, body = [writer.write(event, COST) for event in events]
    assert not any(silent)
    return msgspec.json.decode(body)


def whole(*parts: Part) -> list[Event]:
    return [*unfold(Reply("theirs", "their-model", parts, "stop", USAGE))]


def blocks(events: Iterable[Event]) -> list[Any]:
    """The blocks as a client puts them together; they come one after another."""
    found: list[Any] = []
    opened = -1
    for name, told in streamed(events):
        if name == "content_block_start":
            assert (opened, told["index"]) == (-1, len(found))
            opened = told["index"]
            found.append({**told["content_block"], "partial": ""})
        elif name == "content_block_delta":
            assert told["index"] == opened
            delta, block = told["delta"], found[-1]
            block["partial"] += delta.get("partial_json", "")
            for member in ("text", "thinking", "signature"):
                if member in delta:
                    block[member] += delta[member]
            if "citation" in delta:
                block.setdefault("citations", []).append(delta["citation"])
        elif name == "content_block_stop":
            assert told["index"] == opened
            opened = -1
    assert opened == -1
    for block in found:
        partial = block.pop("partial")
        if partial:
            block["input"] = msgspec.json.decode(partial)
    return found


def line(kind: str, members: str) -> str:
    return f'event: {kind}\ndata: {{"type":"{kind}",{members}}}\n\n'


def counted(fresh: int, read: int, out: int, thought: int) -> str:
    return (
        f'"usage":{{"input_tokens":{fresh},"cache_creation_input_tokens":0,"cache_read_input_tokens":{read},'
        '"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},'
        f'"output_tokens":{out},"output_tokens_details":{{"thinking_tokens":{thought}}}'
    )


def test_a_stream_is_in_the_documented_form_to_the_byte() -> None:
    writer = DIALECT.writer(Head(model="asked", stream=True), NAMES)
    events: list[Event] = [
        Began("theirs", "m"),
        PartBegan(0, Text("")),
        PartGrew(0, ' "é"\n'),
        PartEnded(0),
        FINISH,
    ]
    message = (
        '"message":{"id":"msg_01","type":"message","role":"assistant","model":"gpt-4o","content":[],'
        f'"stop_reason":null,"stop_sequence":null,"stop_details":null,{counted(0, 0, 0, 0)}}}}}'
    )
    end = '"delta":{"stop_reason":"end_turn","stop_sequence":null,"stop_details":null},'
    cost = ',"cost":0.000012,"cost_details":{"currency":"INR","total":0.000012}}'
    written = [
        writer.write(event, COST if isinstance(event, Finished) else None).decode() for event in events
    ]
    assert written == [
        line("message_start", message),
        line("content_block_start", '"index":0,"content_block":{"type":"text","text":""}'),
        line("content_block_delta", '"index":0,"delta":{"type":"text_delta","text":" \\"é\\"\\n"}'),
        line("content_block_stop", '"index":0'),
        line("message_delta", end + counted(5, 2, 4, 1) + cost),
    ]
    assert DIALECT.done(Head(model="asked")) == b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (Text("Hi"), {"type": "text", "text": "Hi"}), (Text("No.", refusal=True), {"type": "text", "text": "No."}),
        (Text("a", extra=(("citations", msgspec.json.encode([CITATION])),)),
         {"type": "text", "text": "a", "citations": [CITATION]}),
        (Text("a", extra=(("citations", b'["https://a.example"]'), ("annotations", b"[]"))),
         {"type": "text", "text": "a"}),
        (Thought("Hm."), {"type": "thinking", "thinking": "Hm.", "signature": ""}),
        (Thought("Hm.", "EqYC", signed_by="anthropic"), {"type": "thinking", "thinking": "Hm.", "signature": "EqYC"}),
        (Thought("Hm.", "s", signed_by="gemini"),
         {"type": "thinking", "thinking": "Hm.", "signature": seal("s", "gemini")}),
        (Thought("Hm.", "s"), {"type": "thinking", "thinking": "Hm.", "signature": seal("s", "")}),
        (Thought("", "EvoR", redacted=True, signed_by="anthropic"), {"type": "redacted_thinking", "data": "EvoR"}),
        (Thought("", "s", redacted=True, signed_by="openai_responses"),
         {"type": "redacted_thinking", "data": seal("s", "openai_responses")}),
        (ToolCall("c", "look", '{"a": 1}'), {"type": "tool_use", "id": "c", "name": "look", "input": {"a": 1}}),
        (ToolCall("c", "look", '{"a": 1}', "sig"),
         {"type": "tool_use", "id": seal_id("c", "sig"), "name": "look", "input": {"a": 1}}),
        (ToolCall("c", "look", ""), {"type": "tool_use", "id": "c", "name": "look", "input": {}}),
        (Opaque("anthropic", "x", "content", b'{"type": "server_tool_use",\n"id":"s","name":"w","input":{}}'),
         {"type": "server_tool_use", "id": "s", "name": "w", "input": {}}),
    ],
    ids=str,
)  # fmt: skip
def test_a_part_is_one_block_streamed_and_plain(part: Part, block: Any) -> None:
    assert blocks(whole(part)) == [block]
    assert plain(whole(part))["content"] == [block]


@pytest.mark.parametrize(
    "part", [Media("image", data="iV"), Opaque("openai_chat", "annotations", "annotations", b"{}")], ids=str
)
def test_what_has_no_word_here_is_left_out(part: Part) -> None:
    events = whole(Text("a"), part, Text("b"))
    expected = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert blocks(events) == expected
    assert plain(events)["content"] == expected


def test_half_written_arguments_are_streamed_as_they_are_and_kept_in_a_plain_reply() -> None:
    call = ToolCall("c", "look", '{"a": "half')
    deltas = [told["delta"] for name, told in streamed(whole(call)) if name == "content_block_delta"]
    assert deltas == [{"type": "input_json_delta", "partial_json": '{"a": "half'}]
    assert plain(whole(call))["content"][0]["input"] == {"_raw": '{"a": "half'}


def test_arguments_that_come_in_pieces_are_streamed_in_pieces() -> None:
    events: list[Event] = [
        PartBegan(0, ToolCall("c", "look", "")),
        *(PartGrew(0, text) for text in ('{"a"', ":", "1}")),
    ]
    deltas = [
        told["delta"]["partial_json"]
        for name, told in streamed([*events, PartEnded(0), FINISH])
        if name == "content_block_delta"
    ]
    assert deltas == ['{"a":', "1}"]


def test_parts_that_grow_at_once_are_written_one_after_another() -> None:
    events: list[Event] = [
        PartBegan(0, Text("")), PartGrew(0, "Both"), PartBegan(1, ToolCall("a", "look", "")),
        PartBegan(2, ToolCall("b", "look", "")),
        PartGrew(2, '{"b"'), PartGrew(1, '{"a"'), PartGrew(0, "."), PartGrew(2, ":"), PartGrew(1, ":1}"),
        PartGrew(2, "2}"),
        PartEnded(2, "sig"), PartEnded(0), PartEnded(1), FINISH,
    ]  # fmt: skip
    assert blocks(events) == [
        {"type": "text", "text": "Both."},
        {"type": "tool_use", "id": "a", "name": "look", "input": {"a": 1}},
        {"type": "tool_use", "id": seal_id("b", "sig"), "name": "look", "input": {"b": 2}},
    ]


@given(st.data())
def test_any_interleaving_of_calls_gives_the_same_calls(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 4))
    pieces = {at: [f'{{"n{at}"', ":", f"{at}", "}"][: data.draw(st.integers(1, 4))] for at in range(count)}
    events: list[Event] = [PartBegan(at, ToolCall(f"c{at}", "look", "")) for at in range(count)]
    queues: dict[int, list[Event]] = {
        at: [*(PartGrew(at, text) for text in texts), PartEnded(at)] for at, texts in pieces.items()
    }
    while left := [at for at, queue in queues.items() if queue]:
        events.append(queues[data.draw(st.sampled_from(left))].pop(0))
    reader = DIALECT.reader(stream=True)
    writer = DIALECT.writer(Head(model="asked", stream=True), NAMES)
    again = fold([*reader.feed(b"".join(writer.write(event) for event in [*events, FINISH])), *reader.end()])
    assert again.parts == tuple(ToolCall(f"c{at}", "look", "".join(texts)) for at, texts in pieces.items())


@pytest.mark.parametrize(
    ("finish", "reason", "sequence"),
    [
        (Finished("stop", USAGE), "end_turn", None), (Finished("stop", USAGE, "stop", "END"), "stop_sequence", "END"),
        (Finished("length", USAGE, "length"), "max_tokens", None), (Finished("tool_calls", USAGE), "tool_use", None),
        (Finished("content_filter", USAGE), "refusal", None),
        (Finished("refusal", USAGE, "refusal"), "refusal", None),
        (Finished("stop", USAGE, "pause_turn"), "pause_turn", None),
        (Finished("length", USAGE, "end_turn"), "max_tokens", None),
        (Finished("length", USAGE, "model_context_window_exceeded"), "model_context_window_exceeded", None),
    ],
)  # fmt: skip
def test_an_end_is_said_in_anthropics_words(finish: Finished, reason: str, sequence: str | None) -> None:
    delta = streamed([finish])[-2][1]["delta"]
    assert (delta["stop_reason"], delta["stop_sequence"]) == (reason, sequence)
    told = plain([finish])
    assert (told["stop_reason"], told["stop_sequence"], told["content"]) == (reason, sequence, [])


def test_a_finish_ends_whatever_is_still_open() -> None:
    events: list[Event] = [
        PartBegan(0, Text("")),
        PartGrew(0, "a"),
        PartBegan(1, ToolCall("c", "look", "")),
        PartGrew(1, "{}"),
        FINISH,
    ]
    assert [block["type"] for block in blocks(events)] == ["text", "tool_use"]


def test_a_fault_in_a_stream_is_anthropics_error_event() -> None:
    fault = Fault(Kind.PROVIDER_CUT, 'It "broke".', fields=(("retryable", "true"),))
    writer = DIALECT.writer(Head(model="asked", stream=True), NAMES)
    assert writer.write(Failed(fault)) == b""
    name, data = writer.fail(fault).decode().rstrip("\n").split("\n")
    error = {"type": "api_error", "message": 'It "broke".', "code": "provider_error", "retryable": True}
    assert name == "event: error"
    assert msgspec.json.decode(data.removeprefix("data: ")) == {
        "type": "error",
        "error": error,
        "request_id": "01",
    }


@pytest.mark.parametrize(
    ("kind", "status", "word"),
    [
        (Kind.BAD_REQUEST, None, "invalid_request_error"), (Kind.BAD_KEY, None, "authentication_error"),
        (Kind.NO_CREDIT, None, "billing_error"), (Kind.FORBIDDEN, None, "permission_error"),
        (Kind.MODEL_NOT_FOUND, None, "not_found_error"), (Kind.WRONG_METHOD, None, "invalid_request_error"),
        (Kind.TOO_LARGE, None, "request_too_large"), (Kind.WRONG_MEDIA, None, "invalid_request_error"),
        (Kind.TOO_FAST, None, "rate_limit_error"), (Kind.BROKEN, None, "api_error"),
        (Kind.PROVIDER_ERROR, None, "api_error"),
        (Kind.OVERLOADED, None, "overloaded_error"), (Kind.OVERLOADED, 529, "overloaded_error"),
        (Kind.PROVIDER_TIMEOUT, None, "timeout_error"), (Kind.PROVIDER_REFUSED, 422, "invalid_request_error"),
    ],
)  # fmt: skip
def test_an_error_has_the_type_of_its_status(kind: Kind, status: int | None, word: str) -> None:
    body = DIALECT.error_body(Fault(kind, "x", status=status, param="p"), "01", status_codes=True)
    told = msgspec.json.decode(body)
    assert (told["type"], told["request_id"]) == ("error", "01")
    assert (told["error"]["type"], told["error"]["message"], told["error"]["param"]) == (word, "x", "p")


def test_the_doors_say_what_anthropics_clients_rely_on() -> None:
    assert DIALECT.answer_headers("01J", 60, 59, 1_700_000_040) == (
        b"request-id: 01J\r\nanthropic-ratelimit-requests-limit: 60\r\n"
        b"anthropic-ratelimit-requests-remaining: 59\r\nanthropic-ratelimit-requests-reset: 2023-11-14T22:14:00Z\r\n"
    )
    assert DIALECT.keep_alive == b'event: ping\ndata: {"type": "ping"}\n\n'
    assert (DIALECT.reply_id("01J"), DIALECT.path("any", stream=True)) == ("msg_01J", "/v1/messages")
    assert (DIALECT.auth_header, DIALECT.headers) == ("x-api-key", (("anthropic-version", "2023-06-01"),))
    assert DIALECT.needs_limit


@pytest.mark.recordings
@over_exchanges(lambda exchange: exchange.plain or exchange.stream)
def test_every_reply_of_any_dialect_is_one_that_anthropics_own_types_know(exchange: Exchange) -> None:
    for stream, body in ((True, exchange.stream), (False, exchange.plain)):
        if body is None:
            continue
        reader = DIALECTS[exchange.dialect].reader(stream=stream)
        events = [*reader.feed(body), *reader.end()]
        if isinstance(events[-1], Failed):
            continue
        found = blocks(events)
        for _, told in streamed(events):
            STREAM_EVENTS.validate_python(told)
        message = plain(events)
        Message.model_validate(message)
        assert [block["type"] for block in message["content"]] == [block["type"] for block in found]
        assert message["usage"]["cost"] == 0.000012
