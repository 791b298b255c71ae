"""A relayed Responses reply passes as the provider wrote it, but for our names, what is kept here, and the cost."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.errors import Fault, Kind
from farebox.core.usage import Usage
from farebox.dialects import DIALECTS
from farebox.dialects.conversation import Finished, PartBegan, PartGrew, ToolCall
from farebox.dialects.dialect import Cost, Head, Mark, Names
from farebox.dialects.openai_responses.tap import ResponsesTap
from farebox.gateway.relay import RelayedReply, RelayedStream
from tests.dialects.forms import NOT_WHOLE
from tests.dialects.recordings import Exchange, over_exchanges

DIALECT = DIALECTS["openai_responses"]
NAMES = Names("resp_ours", "ours/model", 1_700_000_000)
COST = Cost("0.000021", "USD")
COST_SHOWN = {"cost": 0.000021, "cost_details": {"currency": "USD", "total": 0.000021}}
HEAD = Head(model="m", stream=True)
USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 4},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 14,
}
SPLICED = ("id", "model", "usage", "store", "previous_response_id")
ours = over_exchanges(
    lambda one: one.dialect == DIALECT.name and one.stream and one.name not in NOT_WHOLE[DIALECT.name]
)
ours_plain = over_exchanges(
    lambda one: one.dialect == DIALECT.name and one.plain and one.name not in NOT_WHOLE[DIALECT.name]
)
recordings = pytest.mark.recordings


def response(**members: Any) -> dict[str, Any]:
    return {
        "id": "resp_theirs",
        "model": "their-model",
        "status": "completed",
        "output": [],
        "usage": USAGE,
        **members,
    }


def event_of(kind: str, **members: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode({"type": kind, **members}))


def data_of(event: bytes) -> Any:
    return msgspec.json.decode(event.partition(b"data: ")[2])


def relay(stream: bytes, *, size: int = 1 << 20, head: Head = HEAD) -> tuple[bytes, bytes, RelayedStream]:
    """What leaves before the end, and the end."""
    answer = RelayedStream(DIALECT, head, NAMES)
    sent = []
    for start in range(0, len(stream), size):
        answer.feed(stream[start : start + size])
        sent.append(answer.ready())
    answer.close()
    sent.append(answer.ready())
    end = answer.end(COST, answer.usage or Usage()) if answer.finished else b""
    return b"".join(sent), end, answer


def events_of(stream: bytes) -> list[bytes]:
    return [text + b"\n\n" for text in stream.replace(b"\r\n", b"\n").split(b"\n\n") if b"data:" in text]


def spliced(event: bytes, sequence: bytes = b"") -> bytes:
    tap = ResponsesTap(HEAD, NAMES)
    tap.see(event)
    return tap.splice(event, None) + sequence


# --- What passes ------------------------------------------------------------------------------------------------


@recordings
@ours
def test_a_stream_passes_but_for_the_declared_splices(exchange: Exchange) -> None:
    stream = exchange.stream or b""
    sent, end, answer = relay(stream)
    assert answer.fault is None
    assert answer.finished
    theirs, mine = events_of(stream), events_of(sent + end)
    assert len(theirs) == len(mine)
    for before, after in zip(theirs, mine, strict=True):
        if b'"response":{' not in before:
            assert after == before
            continue
        old, new = data_of(before), data_of(after)
        assert list(old) == list(new)
        assert new["response"]["id"] == "resp_ours"
        assert new["response"]["model"] == "ours/model"
        kept = {name: value for name, value in old["response"].items() if name not in SPLICED}
        assert {name: value for name, value in new["response"].items() if name not in SPLICED} == kept
    last = data_of(mine[-1])["response"]
    assert COST_SHOWN.items() <= last["usage"].items()
    assert not any("ticks" in name for name in last["usage"])
    if "store" in last:
        assert last["store"] is True, "the caller did not say that nothing is to be kept"


@recordings
@ours
def test_a_stream_passes_the_same_however_it_is_cut(exchange: Exchange) -> None:
    stream = exchange.stream or b""
    whole = relay(stream)[:2]
    for size in (7, 61, 1009):
        assert relay(stream, size=size)[:2] == whole


@recordings
@ours
def test_the_tap_counts_what_the_reader_reads(exchange: Exchange) -> None:
    reader = DIALECT.reader(stream=True)
    events = [*reader.feed(exchange.stream or b""), *reader.end()]
    _, _, answer = relay(exchange.stream or b"")
    last = events[-1]
    assert isinstance(last, Finished)
    assert answer.usage == last.usage
    words = sum(len(event.text.encode()) for event in events if isinstance(event, PartGrew))
    names = [
        event.part.name
        for event in events
        if isinstance(event, PartBegan) and isinstance(event.part, ToolCall)
    ]
    assert (
        answer.delivered_bytes >= words + sum(map(len, names)) - 2 * len(events)
        or exchange.name == "told_at_the_end"
    )


@recordings
@ours_plain
def test_a_plain_reply_passes_but_for_the_declared_splices(exchange: Exchange) -> None:
    body = exchange.plain or b""
    answer = RelayedReply(DIALECT, Head(model="m"), NAMES)
    answer.feed(body)
    answer.close()
    assert answer.fault is None
    sent = msgspec.json.decode(answer.end(COST, answer.usage or Usage()))
    theirs = msgspec.json.decode(body)
    assert {name: value for name, value in sent.items() if name not in SPLICED} == {
        name: value for name, value in theirs.items() if name not in SPLICED
    }
    assert (sent["id"], sent["model"]) == ("resp_ours", "ours/model")
    assert COST_SHOWN.items() <= sent["usage"].items()


@given(st.text(max_size=30), st.booleans())
def test_words_are_counted_whatever_they_are(words: str, ascii_only: bool) -> None:
    text = msgspec.json.encode(words)
    if ascii_only:
        text = b'"%b"' % "".join(f"\\u{ord(one):04x}" for one in words if ord(one) < 0xD800).encode()
        words = "".join(one for one in words if ord(one) < 0xD800)
    event = (
        b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":%b}\n\n'
        % text
    )
    tap = ResponsesTap(HEAD, NAMES)
    assert tap.see(event) is (Mark.CONTENT if words else Mark.EMPTY)
    assert tap.splice(event, None) is event
    assert tap.delivered_bytes == len(words.encode())


# --- What each event means --------------------------------------------------------------------------------------

CALL = {"type": "function_call", "call_id": "c", "name": "look", "arguments": ""}
MARKS: list[tuple[bytes, Mark]] = [
    (event_of("response.created", response=response(status="in_progress", usage=None)), Mark.EMPTY),
    (event_of("response.output_item.added", item={"type": "message", "content": []}), Mark.EMPTY),
    (event_of("response.output_item.added", item=CALL), Mark.CONTENT),
    (event_of("response.output_item.done", item={**CALL, "arguments": "{}"}), Mark.EMPTY),
    (event_of("response.output_item.done", item={"type": "web_search_call", "id": "ws"}), Mark.CONTENT),
    (
        event_of("response.output_item.done", item={"type": "reasoning", "encrypted_content": "e"}),
        Mark.CONTENT,
    ),
    (event_of("response.function_call_arguments.delta", delta="{"), Mark.CONTENT),
    (event_of("response.reasoning_summary_text.delta", delta="Hm"), Mark.CONTENT),
    (event_of("response.output_text.delta", delta=""), Mark.EMPTY),
    (event_of("response.output_text.done", text="all of it"), Mark.EMPTY),
    (event_of("response.tomorrow"), Mark.EMPTY),
    (b": keep-alive\n\n", Mark.EMPTY),
    (b"\n\n", Mark.EMPTY),
    (b"data: [DONE]\n\n", Mark.DONE),
    (event_of("response.completed", response=response()), Mark.FINISH),
    (event_of("response.incomplete", response=response(status="incomplete")), Mark.FINISH),
    (event_of("response.failed", response=response(status="failed")), Mark.FAULT),
    (event_of("response.completed", response=response(status="failed")), Mark.FAULT),
    (event_of("response.completed", response=response(error={"code": "x"})), Mark.FAULT),
    (event_of("response.completed"), Mark.FAULT),
    (event_of("error", code="x", message="y"), Mark.FAULT),
    (b'data: {"error":{"message":"x"}}\n\n', Mark.FAULT),
    (b"data: oops\n\n", Mark.FAULT),
]


@pytest.mark.parametrize(
    ("event", "mark"), MARKS, ids=lambda one: one[:70].decode() if isinstance(one, bytes) else ""
)
def test_every_event_has_its_meaning(event: bytes, mark: Mark) -> None:
    tap = ResponsesTap(HEAD, NAMES)
    assert tap.see(event) is mark
    assert tap.finished is (mark is Mark.FINISH)
    assert (tap.fault is not None) is (mark is Mark.FAULT)
    assert tap.events == (mark is Mark.CONTENT)


@pytest.mark.parametrize(
    "stream", [b"", event_of("response.output_text.delta", delta="Hi"), b"data: [DONE]\n\n"]
)
def test_a_stream_that_breaks_off_is_never_whole(stream: bytes) -> None:
    _, end, answer = relay(stream)
    assert not end
    assert answer.fault is not None


def test_nothing_leaves_after_the_end() -> None:
    last = event_of("response.completed", response=response())
    _, end, answer = relay(
        last + last + event_of("response.output_text.delta", delta="more") + b"data: oops\n\n"
    )
    assert end.count(b"event: ") == 1
    assert answer.fault is None


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b'"x"', b"\xff", b'{"error":{"message":"x"}}', msgspec.json.encode(response(status="failed")),
     msgspec.json.encode(response(status="in_progress")), msgspec.json.encode(response(error={"code": "x"}))],
)  # fmt: skip
def test_a_plain_body_that_is_no_answer_is_none(body: bytes) -> None:
    assert not ResponsesTap(HEAD, NAMES).whole(body)


# --- Splices ----------------------------------------------------------------------------------------------------


def test_a_reply_says_of_keeping_what_the_caller_asked_for() -> None:
    event = event_of("response.created", response=response(store=False, previous_response_id=None))
    for echo, store in ((b"", True), (b'"store":false', False), (b'"temperature":1,"store":true', True)):
        tap = ResponsesTap(msgspec.structs.replace(HEAD, echo=echo), NAMES)
        assert data_of(tap.splice(event, None))["response"]["store"] is store
    tap = ResponsesTap(msgspec.structs.replace(HEAD, echo=b'"previous_response_id":"resp_0"'), NAMES)
    assert data_of(tap.splice(event, None))["response"]["previous_response_id"] == "resp_0"


def test_usage_that_cannot_be_true_is_shown_to_nobody() -> None:
    for usage in (
        None,
        {"input_tokens": 0, "output_tokens": 0},
        {"input_tokens": 1, "output_tokens": 10**12},
    ):
        answer = RelayedStream(DIALECT, HEAD, NAMES)
        answer.feed(event_of("response.completed", response=response(usage=usage)))
        answer.close()
        assert answer.usage is None
        shown = data_of(answer.end(COST, Usage(input_fresh=3, output_visible=2)))["response"]["usage"]
        assert (shown["input_tokens"], shown["output_tokens"], shown["cost"]) == (3, 2, 0.000021)


def test_names_inside_other_objects_stay_as_they_are() -> None:
    item = {"id": "resp_theirs", "model": "their-model", "type": "message"}
    lured = response(metadata={"id": "x", "model": "y"}, output=[item])
    told = data_of(spliced(event_of("response.created", response=lured)))["response"]
    assert told["output"] == [item]
    assert told["metadata"] == {"id": "x", "model": "y"}
    assert told["id"] == "resp_ours"


def test_odd_layouts_of_the_response_are_spliced_as_well() -> None:
    text = msgspec.json.encode(response())
    several = b'event: response.created\ndata: {"type":"response.created",\ndata: "response":%b}\n\n' % text
    twice = b'data: {"a":%b,"type":"response.created","response":%b}\n\n' % (text, text)
    bare = b'data: {"type":"response.created","response":{"object":"response"}}\n\n'
    for event in (several, twice, bare):
        told = data_of(spliced(event))["response"]
        assert (told["id"], told["model"]) == ("resp_ours", "ours/model")


def test_a_failure_goes_on_counting() -> None:
    tap = ResponsesTap(HEAD, NAMES)
    tap.see(event_of("response.output_text.delta", delta="x", sequence_number=7))
    error, last = events_of(tap.fail(Fault(Kind.PROVIDER_CUT, "cut")))
    assert (data_of(error)["sequence_number"], data_of(last)["sequence_number"]) == (8, 9)
    assert data_of(last)["response"]["id"] == "resp_ours"
    tap.see(event_of("error", message="theirs", sequence_number=8))
    error, _ = events_of(tap.fail(Fault(Kind.PROVIDER_CUT, "cut")))
    assert data_of(error)["sequence_number"] == 8, "ours takes the place of theirs"
    assert not tap.usage_event(Usage(), COST)


def test_the_doors_say_what_the_gateway_must_know() -> None:
    assert DIALECT.path("m", stream=True) == "/responses"
    assert DIALECT.reply_id("01") == "resp_01"
    assert (DIALECT.done(HEAD), DIALECT.keep_alive, DIALECT.needs_limit) == (b"", b": keep-alive\n\n", False)
    assert (DIALECT.auth_header, DIALECT.headers, DIALECT.answer_headers("01", 1, 1, 1)) == (
        "authorization",
        (),
        b"",
    )
    body = msgspec.json.decode(DIALECT.error_body(Fault(Kind.BAD_KEY, "no"), "01", status_codes=True))
    assert body["error"]["code"] == 401
