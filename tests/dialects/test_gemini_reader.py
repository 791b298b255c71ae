"""Gemini replies → events: every form they come in, and everything that is no whole answer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.errors import Kind
from farebox.core.usage import Usage
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
    Text,
    Thought,
    ToolCall,
    fold,
)
from farebox.dialects.gemini.array import ArraySplitter
from farebox.dialects.gemini.chunk import FAILURES, REASONS
from farebox.dialects.gemini.reader import GeminiReader
from farebox.dialects.gemini.usage import TOKENS_MAX, read_usage, write_usage
from farebox.dialects.seal import seal
from farebox.dialects.sse import EVENT_BYTES_MAX

USAGE = {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}
NAMES = {"modelVersion": "gemini-2.5-flash", "responseId": "abc"}
COUNTED = Usage(input_fresh=3, output_visible=2)


def chunk(*parts: Any, finish: str | None = None, usage: Any = USAGE, **more: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0, **more}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], **({"usageMetadata": usage} if usage else {}), **NAMES}


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"text": words, **more}


def events_of(pieces: Iterable[bytes], *, stream: bool = True) -> list[Event]:
    reader = GeminiReader(stream=stream)
    return [*(event for piece in pieces for event in reader.feed(piece)), *reader.end()]


def lines(*chunks: Any, end: str = "\r\n") -> bytes:
    return "".join(f"data: {json.dumps(one)}{end}{end}" for one in chunks).encode()


def array(*chunks: Any) -> bytes:
    return ("[" + "\r\n,\r\n".join(json.dumps(one, indent=2) for one in chunks) + "\n]").encode()


def parts_of(*chunks: Any) -> tuple[Part, ...]:
    return fold(events_of([lines(*chunks)])).parts


# --- What it says -----------------------------------------------------------------------------------------------


def test_words_grow_until_the_chunk_that_finishes() -> None:
    assert events_of([lines(chunk(text("Hel")), chunk(text("lo."), finish="STOP"))]) == [
        Began("abc", "gemini-2.5-flash"), PartBegan(0, Text("")), PartGrew(0, "Hel"), PartGrew(0, "lo."),
        PartEnded(0), Finished("stop", COUNTED, "STOP"),
    ]  # fmt: skip


def test_words_leave_as_soon_as_they_come() -> None:
    reader = GeminiReader(stream=True)
    assert reader.feed(b"\r\n") == []
    assert reader.feed(lines(chunk(text("Hel"))))[-1] == PartGrew(0, "Hel")
    assert reader.feed(lines(chunk(text("lo."), finish="STOP")))[-1] == Finished("stop", COUNTED, "STOP")
    assert reader.feed(lines(chunk(text("More")))) == []
    assert reader.end() == []


@pytest.mark.parametrize(
    ("chunks", "parts"),
    [
        ([[text("a"), text("b")]], [Text("ab")]),
        ([[text("a", thoughtSignature="s"), text("b")]], [Text("a", signature="s"), Text("b")]),
        ([[text("a")], [text("", thoughtSignature="s")]], [Text("a", signature="s")]),
        ([[text("", thoughtSignature="s")]], [Text("", signature="s")]), ([[text("")]], []), ([[]], []),
        ([[text("t", thought=True)], [text("u", thought=True)], [text("a")]], [Thought("tu"), Text("a")]),
        ([[text("t", thought=True)], [text("", thought=True, thoughtSignature="s")]],
         [Thought("t", "s", signed_by="gemini")]),
        ([[text("t", thought=True)], [text("", thoughtSignature="s")]], [Thought("t"), Text("", signature="s")]),
        ([[text("t", thought=True, thoughtSignature=seal("x", "anthropic"))]],
         [Thought("t", "x", signed_by="anthropic")]),
        ([[{"thought": True, "thoughtSignature": "s"}]], [Thought("", "s", redacted=True, signed_by="gemini")]),
        ([[{"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "s"}]],
         [ToolCall("gemini_call_abc_0", "f", '{"a":1}', "s")]),
        ([[{"functionCall": {"name": "f", "id": "c7", "args": {"a": "b c"}}}], [{"functionCall": {"name": "f"}}]],
         [ToolCall("c7", "f", '{"a":"b c"}'), ToolCall("gemini_call_abc_1", "f", "{}")]),
        ([[{"inlineData": {"mimeType": "image/png", "data": "aGk="}, "thoughtSignature": "s"}]],
         [Media("image", data="aGk=", media_type="image/png", extra=(("thoughtSignature", b'"s"'),))]),
        ([[{"fileData": {"fileUri": "https://a.example"}}]], [Media("file", url="https://a.example")]),
        ([[text("a"), {"executableCode": {"code": "1"}}]],
         [Text("a"), Opaque("gemini", "executableCode", "parts", b'{"executableCode": {"code": "1"}}')]),
        ([[{"inlineData": {"data": "aGk="}, "thought": True}]],
         [Opaque("gemini", "inlineData", "parts", b'{"inlineData": {"data": "aGk="}, "thought": true}')]),
        ([[{}]], []),
    ],
    ids=str,
)  # fmt: skip
def test_parts_are_what_their_chunks_say(chunks: Any, parts: list[Part]) -> None:
    found = [chunk(*one) for one in chunks]
    found[-1] = chunk(*chunks[-1], finish="STOP")
    assert list(parts_of(*found)) == parts


def test_a_call_is_signed_from_its_first_event_so_that_its_id_can_carry_the_signature() -> None:
    call = {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "s"}
    begun = [one for one in events_of([lines(chunk(call, finish="STOP"))]) if isinstance(one, PartBegan)]
    assert [one.part.signature for one in begun if isinstance(one.part, ToolCall)] == ["s"]


def test_what_stands_beside_the_content_is_kept() -> None:
    grounding: dict[str, Any] = {"webSearchQueries": ["a"]}
    sources: dict[str, Any] = {"citationSources": []}
    found = parts_of(chunk(text("a"), finish="STOP", groundingMetadata=grounding, citationMetadata=sources))
    kinds = [(part.place, json.loads(part.raw)) for part in found if isinstance(part, Opaque)]
    assert kinds == [("groundingMetadata", grounding), ("citationMetadata", sources)]


def test_a_call_without_any_id_is_named_after_what_it_says() -> None:
    one = {"candidates": [{"content": {"parts": [{"functionCall": {"name": "f"}}]}, "finishReason": "STOP"}]}
    first, second = parts_of(one), parts_of(one)
    assert first == second
    assert isinstance(first[0], ToolCall)
    assert len(first[0].id) <= 64


# --- How it ends ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("native", [*REASONS, "OTHER", "SOMETHING_NEW"])
def test_every_word_for_an_end_is_an_end(native: str) -> None:
    for part, called in ((text("a"), False), ({"functionCall": {"name": "f"}}, True)):
        found = chunk(part, finish=native)
        last = events_of([lines(found)])[-1]
        expected = REASONS.get(native, "stop")
        assert last == Finished("tool_calls" if called and expected == "stop" else expected, COUNTED, native)


@pytest.mark.parametrize("native", sorted(FAILURES))
def test_what_is_no_answer_has_failed(native: str) -> None:
    assert kind_of([lines(chunk(finish=native))]) is Kind.PROVIDER_ERROR
    assert kind_of([lines(chunk(text("a")), chunk(finish=native))]) is Kind.PROVIDER_CUT


def kind_of(pieces: Iterable[bytes], *, stream: bool = True) -> Kind:
    events = events_of(pieces, stream=stream)
    assert sum(isinstance(event, Failed | Finished) for event in events) == 1
    last = events[-1]
    assert isinstance(last, Failed)
    return last.fault.kind


def test_a_blocked_prompt_is_an_answer_without_parts() -> None:
    blocked = {
        "promptFeedback": {"blockReason": "SAFETY"},
        "usageMetadata": {"promptTokenCount": 3, "totalTokenCount": 3},
    }
    for stream, body in (
        (True, lines(blocked)),
        (True, array(blocked)),
        (False, json.dumps(blocked).encode()),
    ):
        reply = fold(events_of([body], stream=stream))
        assert (reply.parts, reply.reason, reply.usage) == ((), "content_filter", Usage(input_fresh=3))


def test_usage_may_follow_the_finish_or_never_come() -> None:
    late = [
        chunk(text("a"), usage=None),
        chunk(text("b"), finish="STOP", usage=None),
        {"usageMetadata": USAGE},
    ]
    assert fold(events_of([lines(*late)])).usage == COUNTED
    assert fold(events_of([lines(*late[:2])])).usage is None
    assert fold(events_of([lines(*late[:2], {"usageMetadata": {"promptTokenCount": -1}})])).usage is None
    assert fold(events_of([lines(*late[:2]) + b"data: [DONE]\n\n"])).usage is None


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", Kind.PROVIDER_ERROR), (lines(chunk(text("a"))), Kind.PROVIDER_CUT),
        (b"data: {\r\n\r\n", Kind.PROVIDER_ERROR),
        (lines({"error": {"code": 503}}), Kind.PROVIDER_ERROR), (b"data: [DONE]\n\n", Kind.PROVIDER_ERROR),
        (lines(chunk(text("a")), {"error": {}}), Kind.PROVIDER_CUT), (b"<html>", Kind.PROVIDER_ERROR),
        (lines(chunk(text("a"), index=1, finish="STOP")), Kind.PROVIDER_ERROR), (b"[", Kind.PROVIDER_ERROR),
        (lines({"candidates": chunk(text("a"))["candidates"] * 2}), Kind.PROVIDER_ERROR),
        (lines({"candidates": []}), Kind.PROVIDER_ERROR), (lines({"candidates": [None]}), Kind.PROVIDER_ERROR),
        (lines({"candidates": [{"content": {"parts": [{"text": 7}]}}]}), Kind.PROVIDER_ERROR),
        (lines(chunk(text("a"))) + b"data: {broken\r\n\r\n", Kind.PROVIDER_CUT),
        (array({"error": {}}), Kind.PROVIDER_ERROR),
        (array(chunk(text("a"))), Kind.PROVIDER_CUT), (b'[{"candidates":[{"content', Kind.PROVIDER_ERROR),
        (b"[1, 2]", Kind.PROVIDER_ERROR), (b"[[[]]]", Kind.PROVIDER_ERROR), (b"]", Kind.PROVIDER_ERROR),
        (b'data: {"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"a":"\xff"}}}]}}]}\r\n\r\n',
         Kind.PROVIDER_ERROR),
        (b"data: {" + b"x" * EVENT_BYTES_MAX, Kind.PROVIDER_ERROR),
        (b"[{" + b"x" * EVENT_BYTES_MAX, Kind.PROVIDER_ERROR),
    ],
    ids=lambda value: repr(value)[:30],
)  # fmt: skip
def test_what_is_not_whole_has_failed(body: bytes, kind: Kind) -> None:
    assert kind_of([body]) is kind
    assert kind_of([body[:7], body[7:]]) is kind


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"null", b"7", b"{", b"\xff", b'{"candidates":[{}]}', b"[{]"]
)
def test_a_plain_body_that_is_no_answer_has_failed(body: bytes) -> None:
    assert kind_of([body], stream=False) is Kind.PROVIDER_ERROR


def test_a_failure_tells_what_was_counted_so_far() -> None:
    last = events_of([lines(chunk(text("a")))])[-1]
    assert isinstance(last, Failed)
    assert last.usage == COUNTED


@given(st.lists(st.binary(max_size=30), max_size=6), st.booleans())
def test_no_bytes_at_all_break_the_reader(pieces: list[bytes], stream: bool) -> None:
    begun = [lines(chunk(text("a")))] if stream and len(pieces) % 2 else []
    events = events_of([*begun, *pieces], stream=stream)
    assert sum(isinstance(event, Failed | Finished) for event in events) == 1
    assert isinstance(events[-1], Failed | Finished)


# --- Its forms --------------------------------------------------------------------------------------------------

CHUNKS = [
    chunk(text('Th"[{', thought=True)),
    chunk(text("ought\\", thought=True, thoughtSignature="s")),
    chunk(text("Wörds ]}"), {"functionCall": {"name": "f", "args": {"a": '}\\"]'}}}, finish="STOP"),
]
FORMS = {
    "crlf": lines(*CHUNKS), "lf": lines(*CHUNKS, end="\n"), "array": array(*CHUNKS),
    "compact array": json.dumps(CHUNKS, ensure_ascii=False).encode(), "blank first": b"\r\n\r\n" + lines(*CHUNKS),
    "comments": b": hello\n\n" + lines(*CHUNKS).replace(b"\r\n\r\n", b"\r\n\r\n: more\r\n\r\n"),
    "no space": lines(*CHUNKS).replace(b"data: ", b"data:"), "no end": lines(*CHUNKS).rstrip(),
    "open array": array(*CHUNKS)[:-1], "mark": b"\xef\xbb\xbf" + array(*CHUNKS),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_every_form_of_a_stream_says_the_same_at_any_cut(form: str, size: int) -> None:
    body = FORMS[form]
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    assert events_of(pieces) == events_of([lines(*CHUNKS)])


def test_a_stream_may_be_answered_in_one_piece_and_a_plain_call_with_an_array() -> None:
    whole = chunk(text("Hello."), finish="STOP")
    body = json.dumps(whole, indent=2).encode()
    expected = fold(events_of([lines(whole)]))
    assert fold(events_of([b" \n", body[:9], body[9:]])) == expected
    assert fold(events_of([body], stream=False)) == expected
    assert fold(events_of([array(*CHUNKS)], stream=False)) == fold(events_of([lines(*CHUNKS)]))


def test_an_array_is_split_in_linear_time() -> None:
    element = json.dumps(chunk(text('x"\\ ' * 2_000))).encode()
    body = b"[" + b",".join([element] * 40) + b"]"
    splitter = ArraySplitter()
    began = perf_counter()
    found = [one for start in range(0, len(body), 100) for one in splitter.feed(body[start : start + 100])]
    assert perf_counter() - began < 2  # A second look at every piece would take minutes.
    assert found == [element] * 40
    assert splitter.over
    assert splitter.feed(b"[{}]") == []


# --- Usage ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "usage"),
    [
        ({"promptTokenCount": 10, "candidatesTokenCount": 8, "thoughtsTokenCount": 23, "totalTokenCount": 41},
         Usage(input_fresh=10, output_visible=8, output_thought=23)),
        ({"promptTokenCount": 10, "cachedContentTokenCount": 8, "totalTokenCount": 10},
         Usage(input_fresh=2, cache_read=8)),
        ({"promptTokenCount": 10, "toolUsePromptTokenCount": 70, "totalTokenCount": 80}, Usage(input_fresh=80)),
        ({"promptTokenCount": 10, "candidatesTokenCount": 2, "totalTokenCount": 20},
         Usage(input_fresh=10, output_visible=2, output_thought=8)),
        ({"promptTokenCount": 10, "candidatesTokenCount": 9, "thoughtsTokenCount": 4, "totalTokenCount": 19},
         Usage(input_fresh=10, output_visible=5, output_thought=4)),
        ({"promptTokenCount": 300, "totalTokenCount": 300, "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 10}, {"modality": "IMAGE", "tokenCount": 258},
            {"modality": "AUDIO", "tokenCount": 32}]}, Usage(input_fresh=10, image_in=258, audio_in=32)),
        ({"promptTokenCount": 100, "cachedContentTokenCount": 60, "totalTokenCount": 100,
          "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 80}],
          "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 50}]},
         Usage(input_fresh=10, cache_read=60, audio_in=30)),
        ({"promptTokenCount": 100, "cachedContentTokenCount": 90, "totalTokenCount": 100,
          "promptTokensDetails": [{"modality": "IMAGE", "tokenCount": 100}]}, Usage(cache_read=90, image_in=10)),
        ({"promptTokenCount": 1, "candidatesTokenCount": 20, "totalTokenCount": 21, "candidatesTokensDetails": [
            {"modality": "IMAGE", "tokenCount": 12}, {"modality": "AUDIO", "tokenCount": 3}]},
         Usage(input_fresh=1, output_visible=5, image_out=12, audio_out=3)),
        ({"promptTokenCount": 10, "candidatesTokenCount": 2}, Usage(input_fresh=10, output_visible=2)),
        ({"promptTokenCount": 10, "cachedContentTokenCount": 11, "totalTokenCount": 10}, None),
        ({"promptTokenCount": 10, "candidatesTokenCount": 2, "totalTokenCount": 9}, None),
        ({"promptTokenCount": -1, "totalTokenCount": 1}, None), ({"promptTokenCount": TOKENS_MAX + 1}, None),
        ({}, None), ({"promptTokenCount": "10"}, None), ([], None),
    ],
    ids=str,
)  # fmt: skip
def test_usage_falls_into_disjoint_classes_that_add_up(wire: Any, usage: Usage | None) -> None:
    found = read_usage(json.dumps(wire).encode())
    assert found == usage
    if found is not None and "totalTokenCount" in wire:
        assert found.total == wire["totalTokenCount"]


@given(st.builds(Usage, **dict.fromkeys(Usage.__struct_fields__, st.integers(0, 10_000))))
def test_usage_that_was_written_reads_the_same(usage: Usage) -> None:
    assert read_usage(write_usage(usage, None)) == usage
