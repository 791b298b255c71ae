"""Events → Gemini replies, in exactly the form that Google's clients read."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any

import pytest

from farebox.core.errors import Fault, Kind
from farebox.core.usage import Usage
from farebox.dialects.conversation import (
    Began,
    Event,
    Finished,
    Media,
    Opaque,
    Part,
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
from farebox.dialects.gemini import Gemini
from farebox.dialects.seal import unseal

NAMES = Names(id="call-1", model="acme/one", created_s=1_700_000_000)
COST = Cost("0.00125", "USD")
USAGE = Usage(input_fresh=3, cache_read=4, output_visible=2, output_thought=5)
FAULT = Fault(
    Kind.TOO_FAST, "Slow down.", retry_after_s=32.5, fields=(("limit", "60"), ("plan", '"free"')), param="p"
)


def written(events: Iterable[Event], *, stream: bool = True, array: bool = False) -> bytes:
    head = Head(model="asked", stream=stream, array=array)
    writer = Gemini().writer(head, NAMES)
    pieces = [writer.write(event, COST if isinstance(event, Finished) else None) for event in events]
    return b"".join(pieces) + (Gemini().done(head) if stream else b"")


def reply(*parts: Part, reason: Reason = "stop", native: str | None = None) -> Reply:
    return Reply("their-id", "their-model", parts, reason, USAGE, native)


def chunks_of(body: bytes) -> list[Any]:
    *lines, rest = body.split(b"\r\n\r\n")
    assert rest == b""
    assert all(line.startswith(b"data: ") and b"\n" not in line for line in lines)
    return [json.loads(line[6:]) for line in lines]


def parts_in(chunks: list[Any]) -> list[Any]:
    return [part for chunk in chunks for part in chunk["candidates"][0]["content"]["parts"]]


def test_a_stream_is_chunks_with_parts_and_ends_with_reason_usage_and_cost() -> None:
    first, second, last = chunks_of(written([
        Began("x", "y"), PartBegan(0, Text("")), PartGrew(0, "Hel"), PartGrew(0, "lo\n"), PartEnded(0),
        Finished("stop", USAGE, "end_turn"),
    ]))  # fmt: skip
    names = {"modelVersion": "acme/one", "responseId": "call-1"}
    assert first == {
        "candidates": [{"content": {"parts": [{"text": "Hel"}], "role": "model"}, "index": 0}],
        **names,
    }
    assert second["candidates"][0]["content"]["parts"] == [{"text": "lo\n"}]
    assert last == {
        "candidates": [{"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {
            "promptTokenCount": 7, "candidatesTokenCount": 2, "totalTokenCount": 14, "cachedContentTokenCount": 4,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 7}], "thoughtsTokenCount": 5,
            "cost": 0.00125, "cost_details": {"currency": "USD", "total": 0.00125},
        },
        **names,
    }  # fmt: skip


def test_an_array_is_one_json_text_of_the_same_chunks() -> None:
    events = list(unfold(reply(Text("Hello."), ToolCall("c1", "f", "{}"))))
    body = written(events, array=True)
    assert body.startswith(b'[{"candidates"')
    assert b"},\r\n{" in body
    assert json.loads(body) == chunks_of(written(events))
    assert json.loads(written([Finished("stop")], array=True))[0]["candidates"][0]["finishReason"] == "STOP"


def test_a_plain_reply_is_the_same_in_one() -> None:
    parts = (Text("Hello."), ToolCall("c1", "f", '{"a":1}', "c2ln"))
    told = json.loads(written(unfold(reply(*parts, reason="tool_calls")), stream=False))
    assert told["candidates"] == [
        {
            "content": {"role": "model", "parts": [
                {"text": "Hello."},
                {"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "c2ln"},
            ]},
            "finishReason": "STOP",
            "index": 0,
        }
    ]  # fmt: skip
    assert (told["responseId"], told["modelVersion"]) == ("call-1", "acme/one")
    assert told["usageMetadata"]["cost"] == 0.00125
    empty = json.loads(written(unfold(reply()), stream=False))
    assert empty["candidates"][0]["content"] == {"parts": [{"text": ""}], "role": "model"}


def test_calls_that_grow_interleaved_leave_whole_and_in_their_order() -> None:
    events: list[Event] = [
        PartBegan(0, ToolCall("c1", "f", "")), PartBegan(1, ToolCall("c2", "g", '{"b"')), PartGrew(0, '{"a":'),
        PartGrew(1, ":2}"), PartEnded(1), PartGrew(0, "1}"), PartEnded(0, "c2ln"),
        PartBegan(2, ToolCall("c3", "h", "")),
        PartGrew(2, '{"half'), Finished("length"),
    ]  # fmt: skip
    assert parts_in(chunks_of(written(events))) == [
        {"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "c2ln"},
        {"functionCall": {"id": "c2", "name": "g", "args": {"b": 2}}},
        {"functionCall": {"id": "c3", "name": "h", "args": {"_raw": '{"half'}}},
    ]


def test_calls_leave_with_the_finish_unless_something_follows_them() -> None:
    call, later = ToolCall("c1", "f", "{}"), ToolCall("c2", "g", "{}")
    chunks = chunks_of(written(unfold(reply(call, Text("and"), later, reason="tool_calls"))))
    assert [parts_in([chunk]) for chunk in chunks] == [
        [{"functionCall": {"id": "c1", "name": "f", "args": {}}}],
        [{"text": "and"}],
        [{"functionCall": {"id": "c2", "name": "g", "args": {}}}],
    ]
    assert "finishReason" in chunks[-1]["candidates"][0]


@pytest.mark.parametrize("stream", [True, False])
def test_foreign_signatures_are_sealed_in_base64_and_native_ones_are_as_they_were(stream: bool) -> None:
    parts = (
        Thought("a", "s\xe4?", signed_by="anthropic"), Thought("b", "bmF0aXZl", signed_by="gemini"),
        Thought("", "red", redacted=True, signed_by="openai_responses"), Thought("c", "who", signed_by=None),
        Text("d", signature="dGV4dA=="),
    )  # fmt: skip
    body = written(unfold(reply(*parts)), stream=stream)
    found = parts_in(chunks_of(body) if stream else [json.loads(body)])
    signatures = [part["thoughtSignature"] for part in found if "thoughtSignature" in part]
    for text in signatures:
        assert base64.b64decode(text, validate=True)
    assert [unseal(text) or text for text in signatures] == [
        ("s\xe4?", "anthropic"), "bmF0aXZl", ("red", "openai_responses"), ("who", ""), "dGV4dA==",
    ]  # fmt: skip
    assert [part for part in found if part.get("thought") and "text" not in part] == [
        {"thought": True, "thoughtSignature": signatures[2]}
    ]


def test_media_and_what_only_google_says_go_home_and_others_ornaments_are_left_out() -> None:
    parts = (
        Media("image", data="aGk=", media_type="image/png"), Media("file", url="https://a.example/x"),
        Opaque("gemini", "executableCode", "parts", b'{"executableCode":\n {}}'),
        Opaque("gemini", "groundingMetadata", "groundingMetadata", b'{"a": 1}'),
        Opaque("openai_chat", "annotations", "annotations", b"{}"),
    )  # fmt: skip
    said = [
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}}, {"fileData": {"fileUri": "https://a.example/x"}},
        {"executableCode": {}},
    ]  # fmt: skip
    chunks = chunks_of(written(unfold(reply(*parts))))
    assert parts_in(chunks)[:3] == said
    assert chunks[3]["candidates"][0]["groundingMetadata"] == {"a": 1}
    plain = json.loads(written(unfold(reply(*parts)), stream=False))["candidates"][0]
    assert plain["content"]["parts"] == said
    assert plain["groundingMetadata"] == {"a": 1}


@pytest.mark.parametrize(
    ("reason", "native", "word"),
    [
        ("stop", "stop", "STOP"), ("stop", "OTHER", "STOP"), ("tool_calls", None, "STOP"),
        ("length", None, "MAX_TOKENS"),
        ("content_filter", "SPII", "SPII"), ("content_filter", "content_filter", "SAFETY"),
        ("refusal", None, "SAFETY"),
        ("length", "STOP", "MAX_TOKENS"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [True, False])
def test_an_end_is_said_in_googles_words(reason: Reason, native: str | None, word: str, stream: bool) -> None:
    body = written(unfold(reply(reason=reason, native=native)), stream=stream)
    last = chunks_of(body)[-1] if stream else json.loads(body)
    assert last["candidates"][0]["finishReason"] == word


@pytest.mark.parametrize("stream", [True, False])
def test_a_refusal_in_words_is_an_answer(stream: bool) -> None:
    body = written(unfold(reply(Text("I cannot.", refusal=True), reason="refusal")), stream=stream)
    chunks = chunks_of(body) if stream else [json.loads(body)]
    assert parts_in(chunks)[0] == {"text": "I cannot."}
    assert chunks[-1]["candidates"][0]["finishReason"] == "STOP"


def test_no_text_ends_a_line_for_any_client() -> None:
    strange = "a\u2028b\u2029c\x85d\x0be\x1ef\r\n"
    body = written(
        unfold(reply(Text(strange), ToolCall("c", "f", json.dumps({"x": strange}, ensure_ascii=False))))
    )
    assert len(body.decode().splitlines()) == 2 * 2
    assert parts_in(chunks_of(body))[0] == {"text": strange}


# --- Failures ---------------------------------------------------------------------------------------------------


def test_an_error_in_a_stream_is_a_chunk_whose_first_member_is_error() -> None:
    writer = Gemini().writer(Head(model="m", stream=True), NAMES)
    said = writer.fail(FAULT)
    assert said.startswith(b'data: {"error":{')
    assert chunks_of(said)[0]["error"]["code"] == 429


def test_an_error_in_an_array_is_its_last_element() -> None:
    head = Head(model="m", stream=True, array=True)
    assert json.loads(Gemini().writer(head, NAMES).fail(FAULT))[0]["error"]["status"] == "RESOURCE_EXHAUSTED"
    writer = Gemini().writer(head, NAMES)
    body = b"".join(
        [writer.write(PartBegan(0, Text(""))), writer.write(PartGrew(0, "Hel")), writer.fail(FAULT)]
    )
    first, last = json.loads(body)
    assert first["candidates"][0]["content"]["parts"] == [{"text": "Hel"}]
    assert list(last) == ["error"]


def test_an_error_says_everything_in_googles_form() -> None:
    assert json.loads(Gemini().error_body(FAULT, "call-1", status_codes=True)) == {
        "error": {
            "code": 429,
            "message": "Slow down.",
            "status": "RESOURCE_EXHAUSTED",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "RATE_LIMIT_EXCEEDED",
                    "metadata": {"param": "p", "limit": "60", "plan": "free"},
                },
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "32.5s"},
            ],
        }
    }


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (Kind.BAD_REQUEST, "INVALID_ARGUMENT"), (Kind.BAD_KEY, "UNAUTHENTICATED"),
        (Kind.NO_CREDIT, "FAILED_PRECONDITION"),
        (Kind.FORBIDDEN, "PERMISSION_DENIED"), (Kind.MODEL_NOT_FOUND, "NOT_FOUND"),
        (Kind.WRONG_METHOD, "INVALID_ARGUMENT"),
        (Kind.TOO_LARGE, "INVALID_ARGUMENT"), (Kind.PROVIDER_ERROR, "UNAVAILABLE"), (Kind.OVERLOADED, "UNAVAILABLE"),
        (Kind.PROVIDER_TIMEOUT, "DEADLINE_EXCEEDED"), (Kind.BROKEN, "INTERNAL"),
    ],
    ids=str,
)  # fmt: skip
def test_a_status_has_googles_name(kind: Kind, status: str) -> None:
    error = json.loads(Gemini().error_body(Fault(kind, "No."), "c", status_codes=False))["error"]
    assert (error["code"], error["status"]) == (kind.row.status, status)


def test_the_table_entry_says_what_the_gateway_needs() -> None:
    dialect = Gemini()
    assert (dialect.name, dialect.keep_alive, dialect.auth_header) == ("gemini", b"\n", "x-goog-api-key")
    assert (dialect.headers, dialect.needs_limit, dialect.reply_id("c")) == ((), False, "c")
    assert dialect.answer_headers("c", 1, 1, 1) == b""
    assert dialect.done(Head(model="m", stream=True)) == b""
    assert dialect.done(Head(model="m", stream=True, array=True)) == b"]"
