"""The tap of a relayed Gemini reply: what each event means, and that nothing but the declared members changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.errors import Fault, Kind
from farebox.core.usage import Usage
from farebox.dialects.dialect import Cost, Head, Mark, Names
from farebox.dialects.gemini.tap import GeminiTap
from farebox.dialects.sse import Splitter
from tests.dialects.gemini_forms import pieces_of
from tests.dialects.recordings import Exchange, over_exchanges

NAMES = Names(id="call-1", model="acme/one", created_s=0)
COST = Cost("0.5", "EUR")
OURS = {"responseId": "call-1", "modelVersion": "acme/one"}
USAGE = {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}
FAULT = Fault(Kind.PROVIDER_CUT, "Cut.")


def tap_of(*, array: bool = False, choices: int = 1) -> GeminiTap:
    return GeminiTap(Head(model="asked", stream=True, array=array, choices=choices), NAMES)


def event(words: str | None = None, *, count: int = 2, end: str = "\r\n", **more: Any) -> bytes:
    """An event as Google writes it, with one part."""
    parts = {} if words is None else {"parts": [{"text": words}]}
    candidate = {"content": {**parts, "role": "model"}, **more, "index": 0}
    usage = {**USAGE, "candidatesTokenCount": count, "totalTokenCount": 3 + count}
    whole = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "theirs", "responseId": "xyz"}
    return f"data: {json.dumps(whole, separators=(',', ': '))}{end}{end}".encode()


def data(spliced: bytes) -> Any:
    assert spliced.startswith(b"data: ")
    assert spliced.endswith((b"\r\n\r\n", b"\n\n"))
    return json.loads(spliced[6:])


def relayed(stream: bytes, tap: GeminiTap) -> bytes:
    """A whole stream as the gateway relays it: the end is spliced with the cost, after everything was seen."""
    out, end = [], []
    for one in Splitter().feed(stream):
        tap.see(one)
        if tap.finished:
            end.append(one)
        else:
            out.append(tap.splice(one, None))
    return b"".join([*out, *(tap.splice(one, COST) for one in end)])


# --- What events mean -------------------------------------------------------------------------------------------


def test_each_event_is_told_by_what_it_carries() -> None:
    tap = tap_of()
    marks = [tap.see(one) for one in (
        b": hi\n\n", b"\r\n\r\n", event(), event("Hel"), event("lo", count=3), event('"\\\n', count=4), event(""),
        b'data: {"usageMetadata": {"promptTokenCount": 3, "totalTokenCount": 9}}\n\n',
        event("!", finishReason="STOP"),
        b"data: [DONE]\n\n",
    )]  # fmt: skip
    assert marks == [
        Mark.EMPTY, Mark.EMPTY, Mark.EMPTY, Mark.CONTENT, Mark.CONTENT, Mark.CONTENT, Mark.EMPTY, Mark.USAGE,
        Mark.FINISH, Mark.DONE,
    ]  # fmt: skip
    assert (tap.finished, tap.finish_reason) == (True, "STOP")
    assert (tap.events, tap.delivered_bytes) == (4, len("Hello") + 3 + 1)
    assert tap.usage == Usage(input_fresh=3, output_visible=2)


def test_calls_and_media_are_content() -> None:
    parts: list[dict[str, Any]] = [
        {"functionCall": {"name": "f", "args": {}}},
        {"inlineData": {"data": "aGk="}},
        {"executableCode": {}},
    ]
    for part in parts:
        tap = tap_of()
        one = {"candidates": [{"content": {"parts": [part]}}]}
        assert tap.see(f"data: {json.dumps(one)}\n\n".encode()) is Mark.CONTENT
        assert tap.delivered_bytes > 0


def test_several_candidates_finish_one_by_one() -> None:
    tap = tap_of(choices=2)
    first = {"candidates": [{"content": {}, "finishReason": "STOP", "index": 0}]}
    second = {"candidates": [{"content": {}, "finishReason": "SAFETY", "index": 1}]}
    for one, finished in ((first, False), (first, False), (second, True)):
        assert tap.see(f"data: {json.dumps(one)}\n\n".encode()) is Mark.FINISH
        assert tap.finished is finished


def test_a_blocked_prompt_is_finished() -> None:
    tap = tap_of()
    one = b'data: {"promptFeedback": {"blockReason": "SAFETY"}, "modelVersion": "theirs"}\n\n'
    assert tap.see(one) is Mark.FINISH
    assert (tap.finished, tap.finish_reason) == (True, "SAFETY")
    assert data(tap.splice(one, COST))["usageMetadata"]["cost"] == 0.5


@pytest.mark.parametrize(
    "one",
    [
        b'data: {"error": {"code": 503}}\n\n', b"data: {broken\n\n", b"data: []\n\n", b"data: hello\n\n",
        b'data: {"candidates": [{"content": {"parts": 7}}]}\n\n', b'data: {"a": "\xff"}\n\n',
    ],
)  # fmt: skip
def test_an_error_or_garbage_is_a_fault(one: bytes) -> None:
    tap = tap_of()
    tap.see(event("Hi"))
    assert tap.see(one) is Mark.FAULT
    assert tap.fault is not None
    assert not tap.finished


@pytest.mark.parametrize(
    "one",
    [
        event("a")[:-30] + b"\r\n\r\n", event("a").replace(b'"totalTokenCount": 5', b'"totalTokenCount": 05'),
        event("a").replace(b'"totalTokenCount": 5', b'"totalTokenCount": '), event("a").replace(b'"a"', b'"\\x"'),
        event("a").replace(b'"a"', b'"a""'),
    ],
)  # fmt: skip
def test_an_event_that_only_looks_like_the_one_before_is_a_fault(one: bytes) -> None:
    tap = tap_of()
    assert tap.see(event("Hi")) is Mark.CONTENT
    assert tap.see(one) is Mark.FAULT


def test_an_end_in_the_form_of_words_is_still_an_end() -> None:
    tap = tap_of()
    for words in ("Hi", "there"):
        assert tap.see(event(words)) is Mark.CONTENT
    assert tap.see(event("!", finishReason="STOP")) is Mark.FINISH
    assert tap.finished


# --- What the caller gets ---------------------------------------------------------------------------------------


@given(st.lists(st.text(max_size=20), min_size=1, max_size=8), st.sampled_from(["\r\n", "\n"]))
def test_words_pass_as_they_were_under_our_names(words: list[str], end: str) -> None:
    tap = tap_of()
    for at, text in enumerate(words):
        one = event(text, count=at + 1, end=end)
        tap.see(one)
        assert tap.splice(one, None) == one.replace(b'"theirs"', b'"acme/one"').replace(b'"xyz"', b'"call-1"')
    assert tap.usage == Usage(input_fresh=3, output_visible=len(words))
    assert tap.delivered_bytes == sum(len(text.encode()) for text in words)


def test_the_end_shows_what_it_cost_and_nothing_of_what_it_cost_us() -> None:
    tap = tap_of()
    last = event("!", finishReason="STOP").replace(b'"promptTokenCount"', b'"cost": 9, "promptTokenCount"')
    tap.see(last)
    told = data(tap.splice(last, COST))
    assert told["usageMetadata"] == {**USAGE, "cost": 0.5, "cost_details": {"currency": "EUR", "total": 0.5}}
    assert {name: told[name] for name in OURS} == OURS


def test_an_end_without_usage_gets_what_was_charged_for() -> None:
    tap = tap_of()
    last = b'data: {"candidates": [{"finishReason": "STOP"}]}\n\n'
    tap.see(last)
    tap.usage = Usage(input_fresh=7, output_visible=1)
    told = data(tap.splice(last, COST))
    assert (told["usageMetadata"]["promptTokenCount"], told["usageMetadata"]["cost"]) == (7, 0.5)
    assert tap.usage_event(tap.usage, COST) == b""


def test_absurd_counts_are_shown_to_nobody() -> None:
    tap = tap_of()
    last = event("!", count=-7, finishReason="STOP")
    tap.see(last)
    assert tap.usage is None
    tap.usage = Usage(input_fresh=1)
    assert data(tap.splice(last, COST))["usageMetadata"]["promptTokenCount"] == 1


def test_googles_clients_get_lines_of_data_and_nothing_else() -> None:
    tap = tap_of()
    strange = [
        b": comment\n\n", b"event: x\ndata:" + event("a")[6:], b"data: [DONE]\n\n", b"\n\n",
        b'data: {"candidates":\ndata: [{"content": {"parts": [{"text": "b"}]}}]}\n\n',
    ]  # fmt: skip
    spliced = []
    for one in strange:
        tap.see(one)
        spliced.append(tap.splice(one, None))
    assert [bool(one) for one in spliced] == [False, True, False, False, True]
    for one in spliced:
        assert all(line.startswith(b"data: ") or not line for line in one.replace(b"\r", b"").split(b"\n"))


@over_exchanges(lambda exchange: exchange.dialect == "gemini" and exchange.stream)
@pytest.mark.parametrize("array", [False, True])
def test_a_relayed_stream_is_the_same_but_for_names_and_cost(exchange: Exchange, array: bool) -> None:
    stream = exchange.stream or b""
    pieces = pieces_of(None, stream)
    if stream.lstrip().startswith(b"["):  # As it would have come with `alt=sse`.
        stream = b"".join(b"data: %b\r\n\r\n" % json.dumps(piece).encode() for piece in pieces)
    tap = tap_of(array=array, choices=2 if exchange.name == "several_candidates" else 1)
    body = relayed(stream, tap)
    if tap.fault is not None:
        assert any("error" in piece for piece in pieces)
        return
    found = json.loads(body + b"]") if array else pieces_of(None, body)
    assert tap.finished
    assert found[-1]["usageMetadata"].pop("cost") == 0.5
    for piece in found:
        piece.get("usageMetadata", {}).pop("cost", None)
        piece.get("usageMetadata", {}).pop("cost_details", None)
        assert piece | OURS == piece
    for piece, theirs in zip(found, pieces, strict=True):
        assert {**piece, **{name: theirs[name] for name in OURS}} == {**piece, **theirs}


def test_an_array_begins_with_its_first_content_and_ends_with_an_error() -> None:
    tap = tap_of(array=True)
    for one in (event(), event("a"), event("b")):
        tap.see(one)
    assert tap.splice(event(), None).startswith(b"[{")
    empty = tap_of(array=True)
    empty.see(event())
    assert empty.splice(event(), None) == b""
    assert json.loads(empty.fail(FAULT))[0]["error"]["code"] == 502
    begun = tap_of(array=True)
    words = event("a")
    begun.see(words)
    first, last = json.loads(begun.splice(words, None) + begun.fail(FAULT))
    assert ("candidates" in first, "error" in last) == (True, True)


def test_an_array_whose_first_words_never_left_begins_with_its_error() -> None:
    tap = tap_of(array=True)
    words = event("a")
    tap.see(words)
    assert tap.splice(words, None)
    tap.events = 0  # So the gateway says that it threw away what was ready.
    assert list(json.loads(tap.fail(FAULT))[0]) == ["error"]


# --- Plain replies ----------------------------------------------------------------------------------------------


@over_exchanges(lambda exchange: exchange.dialect == "gemini" and exchange.plain)
def test_a_relayed_reply_is_the_same_but_for_names_and_cost(exchange: Exchange) -> None:
    body = exchange.plain or b""
    tap = GeminiTap(Head(model="asked"), NAMES)
    whole = json.loads(body)
    if not tap.whole(body):
        assert isinstance(whole, list)
        return
    told = json.loads(tap.splice_whole(body, COST))
    assert told["usageMetadata"].pop("cost") == 0.5
    del told["usageMetadata"]["cost_details"]
    assert told == {**whole, **OURS}
    assert tap.usage is not None
    assert tap.usage.total == whole["usageMetadata"]["totalTokenCount"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b'{"error": {}}', b"\xff", b'{"candidates": [{"content": {}}]}', b'{"candidates": []}',
     b'{"candidates": [{"finishReason": "STOP"}], "error": {"code": 500}}',
     b'{"candidates": [{"finishReason": "\xff"}]}'],
)  # fmt: skip
def test_what_is_no_reply_is_not_taken_for_one(body: bytes) -> None:
    tap = GeminiTap(Head(model="asked"), NAMES)
    assert not tap.whole(body)
    assert not tap.finished
