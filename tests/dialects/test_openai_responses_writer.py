"""The bytes a caller of Responses gets: the whole life of every item, in a form that OpenAI's own types take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from farebox.core.errors import Fault, Kind
from farebox.core.usage import Usage
from farebox.dialects.conversation import (
    Began,
    Event,
    Finished,
    Media,
    Opaque,
    PartBegan,
    PartEnded,
    PartGrew,
    Reason,
    Reply,
    Text,
    Thought,
    ToolCall,
    unfold,
)
from farebox.dialects.dialect import Cost, Head, Names
from farebox.dialects.openai_responses.head import read_head
from farebox.dialects.openai_responses.writer import ResponsesWriter
from farebox.dialects.seal import seal, seal_id
from tests.support.openapi import read_document

EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
NAMES = Names(id="resp_01", model="gpt-5", created_s=1_700_000_000)
USAGE = Usage(input_fresh=5, cache_read=2, output_visible=3, output_thought=1)
COST = Cost(charge="0.000012", currency="INR")
SHOWN_USAGE = {
    "input_tokens": 7,
    "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
    "output_tokens": 4,
    "output_tokens_details": {"reasoning_tokens": 1},
    "total_tokens": 11,
    "cost": 0.000012,
    "cost_details": {"currency": "INR", "total": 0.000012},
}
SOURCE = {"type": "url_citation", "url": "https://a.example", "title": "A", "start_index": 0, "end_index": 1}
SOURCES = (("annotations", msgspec.json.encode([SOURCE])),)
CUSTOM = b'{"id":"ctc_1","type":"custom_tool_call",\n"call_id":"k","name":"run","input":"ls"}'
REPLY = Reply(
    "theirs",
    "their-model",
    (
        Thought("Hm", "sig", signed_by="anthropic"),
        Thought("", "e==", redacted=True, signed_by="openai_responses"),
        Thought("raw", member="content"),
        Text('Hi "é"\n', extra=(("phase", b'"commentary"'), *SOURCES)),
        ToolCall("c1", "look", '{"a":1}', "sig"),
        Media("image", data="QUJD", media_type="image/png"),
        Media("image", "https://a.example/b.png"),
        Opaque("openai_responses", "custom_tool_call", "item", CUSTOM),
        Opaque("elsewhere", "citation", "x", b"{}"),
        Text("No.", refusal=True),
    ),
    "tool_calls",
    USAGE,
)
ASKED = (
    b'{"model":"m","input":"Hi","instructions":"Be\\nbrief.","temperature":0.30,"store":false,"metadata":{"a":"b"},\n'
    b'"tools":[{"type":"function","name":"f"}],"text":{"verbosity":"low"},"reasoning":{"effort":"low"},"top_p":null}'
)


def streamed(events: Iterable[Event], head: Head | None = None, fault: Fault | None = None) -> list[Any]:
    writer = ResponsesWriter(head or Head(model="asked", stream=True), NAMES)
    pieces = [writer.write(event, COST if isinstance(event, Finished) else None) for event in events]
    if fault is not None:
        pieces.append(writer.fail(fault))
    found: list[Any] = []
    for event in b"".join(pieces).decode().split("\n\n")[:-1]:
        name, data = event.split("\n")
        told = msgspec.json.decode(data.removeprefix("data: "))
        assert name == f"event: {told['type']}"
        assert told.pop("sequence_number") == len(found)
        found.append(told)
    return found


def kinds(events: Iterable[Event]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in streamed(events)]


def plain(reply: Reply, head: Head | None = None) -> Any:
    writer = ResponsesWriter(head or Head(model="asked"), NAMES)
    *silent, body = [writer.write(event, COST) for event in unfold(reply)]
    assert not any(silent)
    return msgspec.json.decode(body)


def test_a_text_lives_its_whole_life_in_order() -> None:
    events = streamed(
        [
            Began("theirs", "x"),
            PartBegan(0, Text("")),
            PartGrew(0, "Hi"),
            PartGrew(0, " é"),
            PartEnded(0),
            Finished("stop", USAGE),
        ]
    )
    where = {"item_id": "msg_01_0", "output_index": 0, "content_index": 0}
    empty = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
    item = {
        "id": "msg_01_0",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [{**empty, "text": "Hi é"}],
    }
    assert events[2:-1] == [
        {
            "type": "response.output_item.added",
            "item": {**item, "status": "in_progress", "content": []},
            "output_index": 0,
        },
        {"type": "response.content_part.added", **where, "part": empty},
        {"type": "response.output_text.delta", **where, "delta": "Hi", "logprobs": []},
        {"type": "response.output_text.delta", **where, "delta": " é", "logprobs": []},
        {"type": "response.output_text.done", **where, "text": "Hi é", "logprobs": []},
        {"type": "response.content_part.done", **where, "part": {**empty, "text": "Hi é"}},
        {"type": "response.output_item.done", "item": item, "output_index": 0},
    ]
    created, working, *_, last = events
    assert (created["type"], working["type"], last["type"]) == (
        "response.created",
        "response.in_progress",
        "response.completed",
    )
    assert created["response"] == working["response"]
    assert (
        created["response"] | {"status": "completed", "output": [item], "usage": SHOWN_USAGE}
        == last["response"]
    )


def test_a_thought_tells_its_summary_and_carries_its_signature() -> None:
    thought: list[Event] = [PartBegan(0, Thought("")), PartGrew(0, "Hm"), PartEnded(0, "sig", "anthropic")]
    assert kinds([*thought, Finished("stop")])[2:-1] == [
        "output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta",
        "reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done",
    ]  # fmt: skip
    item = streamed([*thought, Finished("stop")])[-1]["response"]["output"][0]
    summary = [{"type": "summary_text", "text": "Hm"}]
    assert item == {
        "id": "rs_01_0", "type": "reasoning", "summary": summary, "encrypted_content": seal("sig", "anthropic")
    }  # fmt: skip


def test_parallel_calls_grow_side_by_side() -> None:
    events: list[Event] = [PartBegan(0, ToolCall("a", "f", "")), PartBegan(1, ToolCall("b", "g", ""))]
    events += [
        PartGrew(0, "{"),
        PartGrew(1, "["),
        PartGrew(1, "]"),
        PartGrew(0, "}"),
        PartEnded(0),
        PartEnded(1),
    ]
    found = streamed([*events, Finished("tool_calls")])
    assert [(e["output_index"], e["delta"]) for e in found if "delta" in e] == [
        (0, "{"),
        (1, "["),
        (1, "]"),
        (0, "}"),
    ]
    assert [(e["call_id"], e["arguments"]) for e in found[-1]["response"]["output"]] == [
        ("a", "{}"),
        ("b", "[]"),
    ]
    announced = [e["output_index"] for e in found if e["type"] == "response.output_item.added"]
    assert announced == [0, 1]


@pytest.mark.parametrize("signed_first", [True, False])
def test_a_signature_rides_in_the_calls_id_from_its_first_word_on(signed_first: bool) -> None:
    begun = ToolCall("a", "f", "", "sig" if signed_first else None)
    end = PartEnded(0, None if signed_first else "sig")
    events = streamed([PartBegan(0, begun), PartGrew(0, "{}"), end, Finished("tool_calls")])
    named = {e["item"]["call_id"] for e in events if "item" in e}
    assert named == {seal_id("a", "sig")}
    assert [e["delta"] for e in events if "delta" in e] == ["{}"]


def test_a_name_that_was_told_does_not_change() -> None:
    events = streamed(
        [
            PartBegan(0, ToolCall("a", "f", "")),
            PartGrew(0, "{"),
            PartGrew(0, "}"),
            PartEnded(0, "sig"),
            Finished("stop"),
        ]
    )
    assert {e["item"]["call_id"] for e in events if "item" in e} == {"a"}


def test_a_call_without_arguments_is_announced_all_the_same() -> None:
    events: list[Event] = [PartBegan(0, ToolCall("a", "f", "")), PartEnded(0), Finished("tool_calls")]
    assert kinds(events)[2:-1] == ["output_item.added", "function_call_arguments.done", "output_item.done"]


def test_sources_are_told_one_by_one_and_in_the_whole_text() -> None:
    events = streamed([PartBegan(0, Text("a")), PartEnded(0, extra=SOURCES), Finished("stop")])
    (told,) = [e for e in events if e["type"] == "response.output_text.annotation.added"]
    assert (told["annotation"], told["annotation_index"]) == (SOURCE, 0)
    assert events[-1]["response"]["output"][0]["content"][0]["annotations"] == [SOURCE]


def test_sources_of_another_language_under_the_same_name_are_not_said() -> None:
    strange = (("annotations", b'[{"type":"url_citation","url_citation":{}}]'),)
    (item,) = plain(Reply("a", "b", (Text("a", extra=strange),), "stop"))["output"]
    assert item["content"][0]["annotations"] == []


@pytest.mark.parametrize(
    ("reason", "parts", "status", "detail"),
    [
        ("stop", (Text("a"),), "completed", None),
        ("tool_calls", (ToolCall("a", "f", ""),), "completed", None),
        ("length", (), "incomplete", "max_output_tokens"),
        ("content_filter", (), "incomplete", "content_filter"),
        ("refusal", (Text("No.", refusal=True),), "completed", None),
        ("refusal", (), "incomplete", "content_filter"),
    ],
)
def test_every_reason_has_a_state(reason: Reason, parts: Any, status: str, detail: str | None) -> None:
    reply = Reply("a", "b", parts, reason)
    last = streamed(unfold(reply))[-1]
    for response in (last["response"], plain(reply)):
        assert response["status"] == status
        assert response["incomplete_details"] == (None if detail is None else {"reason": detail})
        assert "usage" not in response
    assert last["type"] == f"response.{status}"


def test_a_plain_reply_is_the_response_of_the_last_event() -> None:
    head = read_head(ASKED)
    last = streamed(unfold(REPLY), msgspec.structs.replace(head, stream=True))[-1]
    assert plain(REPLY, head) == last["response"]


def test_a_reply_repeats_what_was_asked_for_with_defaults_for_the_rest() -> None:
    told = plain(REPLY, read_head(ASKED))
    asked = msgspec.json.decode(ASKED)
    for name in ("instructions", "temperature", "store", "metadata", "reasoning"):
        assert told[name] == asked[name]
    assert told["text"] == {"verbosity": "low", "format": {"type": "text"}}
    assert told["tools"] == [{"type": "function", "name": "f", "parameters": None, "strict": None}]
    assert (told["top_p"], told["tool_choice"], told["truncation"]) == (1.0, "auto", "disabled")
    assert (told["id"], told["model"], told["created_at"]) == ("resp_01", "gpt-5", 1_700_000_000)
    assert told["usage"] == SHOWN_USAGE


FAULTS = [
    (Fault(Kind.PROVIDER_CUT, "cut"), "server_error"),
    (Fault(Kind.TOO_FAST, "slow down"), "rate_limit_exceeded"),
    (Fault(Kind.BAD_REQUEST, "no", param="x"), "invalid_prompt"),
]


@pytest.mark.parametrize(("fault", "code"), FAULTS, ids=lambda one: one if isinstance(one, str) else "")
def test_a_failure_is_an_error_and_a_response_that_failed(fault: Fault, code: str) -> None:
    begun: list[Event] = [Began("a", "b"), PartBegan(0, Text("a")), PartEnded(0), PartBegan(1, Text("b"))]
    *_, error, last = streamed(begun, fault=fault)
    assert error == {"type": "error", "code": fault.code, "message": fault.message, "param": fault.param}
    assert last["type"] == "response.failed"
    assert last["response"]["status"] == "failed"
    assert last["response"]["error"] == {"code": code, "message": fault.message}
    assert len(last["response"]["output"]) == 1, "what was whole is still there"
    assert streamed([], fault=fault)[0]["type"] == "error"


@pytest.mark.parametrize("fault", [None, FAULTS[0][0]], ids=["whole", "failed"])
@pytest.mark.parametrize("asked", [None, ASKED], ids=["nothing asked", "much asked"])
@pytest.mark.parametrize("reason", ["stop", "length", "refusal"])
def test_every_event_is_what_openai_documents(
    reason: Reason, asked: bytes | None, fault: Fault | None
) -> None:
    head = read_head(asked) if asked else Head(model="m")
    events = list(unfold(msgspec.structs.replace(REPLY, reason=reason)))
    found = streamed(
        events if fault is None else events[:-1], msgspec.structs.replace(head, stream=True), fault
    )
    document = read_document()
    for at, event in enumerate(found):
        whole = {**event, "sequence_number": at}
        EVENTS.validate_python(whole)
        if document is not None:
            document.check_event(whole)


@pytest.mark.parametrize("asked", [None, ASKED], ids=["nothing asked", "much asked"])
def test_a_plain_reply_is_what_openai_documents(asked: bytes | None) -> None:
    told = plain(REPLY, read_head(asked) if asked else None)
    Response.model_validate(told)
    document = read_document()
    if document is not None:
        document.check("Response", told)


def test_parts_that_nobody_ended_are_ended_by_the_end() -> None:
    events = streamed(
        [PartBegan(0, Text("a")), PartBegan(1, ToolCall("c", "f", "")), PartGrew(1, "{}"), Finished("stop")]
    )
    assert [e["type"] for e in events[-5:]].count("response.output_item.done") == 1
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["message", "function_call"]
