"""A relayed message: every byte as it was, but for the id, the model and the charge; and nothing but whole ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farebox.core.errors import Fault, Kind
from farebox.core.usage import Usage
from farebox.dialects import DIALECTS
from farebox.dialects.conversation import Failed, Finished
from farebox.dialects.dialect import Cost, Head, Mark, Names, Tap
from farebox.gateway.relay import RelayedReply, RelayedStream
from tests.dialects.forms import NOT_WHOLE
from tests.dialects.recordings import Exchange, over_exchanges

DIALECT = DIALECTS["anthropic"]
NAMES = Names("msg_ours", "ours/model", 1_700_000_000)
COST = Cost("0.000021", "USD")
HEAD = Head(model="asked", stream=True)
PRICED = ',"cost":0.000021,"cost_details":{"currency":"USD","total":0.000021}}'
START = (
    'event: message_start\ndata: {"type":"message_start","message":{"model":"theirs","id":"msg_theirs",'
    '"x":{"id":"kept"},'
    '"usage":{"input_tokens":5,"output_tokens":1}}     }\n\n'
)
BLOCK = (
    'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
    '"content_block":{"type":"text","text":""}  }\n\n'
)
END = (
    'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},'
    '"usage":{"output_tokens":9}   }\n\n'
)
STOP = 'event: message_stop\ndata: {"type":"message_stop"   }\n\n'


def delta(text: str, pad: int = 3, member: str = "text") -> str:
    inside = json.dumps(text, ensure_ascii=False)
    return (
        'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":'
        f'{{"type":"{member}_delta","{member}":{inside}}}{" " * pad}}}\n\n'
    )


def relayed(stream: bytes, *sizes: int) -> tuple[bytes, RelayedStream]:
    answer = RelayedStream(DIALECT, HEAD, NAMES)
    at, sent = 0, []
    for size in sizes:
        answer.feed(stream[at : at + size])
        sent.append(answer.ready())
        at += size
    answer.feed(stream[at:])
    answer.close()
    sent.append(answer.ready())
    if answer.fault is None:
        sent.append(answer.end(COST, answer.usage or Usage()))
    return b"".join(sent), answer


def seen(*events: str) -> tuple[Tap, list[Mark]]:
    tap = DIALECT.tap(HEAD, NAMES)
    return tap, [tap.see(event.encode()) for event in events]


def test_everything_but_id_model_and_charge_passes_byte_for_byte() -> None:
    stream = "".join((START, BLOCK, delta("Hi"), delta(' "é"\n', 0), delta("there", 14), END, STOP))
    sent, answer = relayed(stream.encode())
    expected = (
        stream.replace('"msg_theirs"', '"msg_ours"').replace('"theirs"', '"ours/model"')
        .replace('"output_tokens":9}', '"output_tokens":9' + PRICED).replace(STOP, STOP.replace('"   }', '"}'))
    )  # fmt: skip
    assert sent.decode() == expected
    assert answer.usage == Usage(input_fresh=5, output_visible=9)
    assert (answer.events, answer.delivered_bytes, answer.finish_reason) == (
        3,
        len('Hi "é"\nthere'.encode()),
        "end_turn",
    )


def test_each_event_means_what_it_means() -> None:
    call = BLOCK.replace('"type":"text","text":""', '"type":"tool_use","id":"t","name":"look","input":{}')
    ping = 'event: ping\ndata: {"type": "ping"}\n\n'
    signature = delta("EqYC", member="signature")
    tap, marks = seen(
        START,
        BLOCK,
        ping,
        ": comment\n\n",
        "\n\n",
        delta(""),
        delta("a"),
        delta("b"),
        signature,
        call,
        END,
        STOP,
    )
    empty = [Mark.EMPTY] * 6
    assert marks == [*empty, Mark.CONTENT, Mark.CONTENT, Mark.EMPTY, Mark.CONTENT, Mark.FINISH, Mark.DONE]
    assert (tap.events, tap.finished, tap.finish_reason) == (3, True, "end_turn")


@pytest.mark.parametrize(
    "event",
    [
        'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"x"}}\n\n',
        'data: {"error":{"message":"x"}}\n\n', "data: {oops}\n\n", "data: <html>\n\n", "data: [1]\n\n",
        delta("a").replace('"index":0', '"index":7').replace("text", "partial_json"),
        BLOCK.replace('{"type":"text","text":""}', "{}"), delta("a").replace('"text":"a"', '"text":5'),
    ],
    ids=str,
)  # fmt: skip
def test_an_error_or_what_cannot_be_read_is_a_fault(event: str) -> None:
    tap, marks = seen(START, BLOCK, delta("a"), delta("b"), event)
    assert marks[-1] is Mark.FAULT
    assert tap.fault is not None
    assert tap.fault.kind is Kind.PROVIDER_CUT
    assert relayed("".join((START, BLOCK, delta("a"), event, END, STOP)).encode())[1].fault is not None


def test_words_that_are_no_utf8_are_a_fault_even_where_events_are_known_by_their_form() -> None:
    tap, _ = seen(START, BLOCK, delta("a"), delta("b"))
    assert tap.see(delta("xyz").encode().replace(b"xyz", b"x\xffz")) is Mark.FAULT


@pytest.mark.parametrize(
    "events",
    [(START,), (START, BLOCK, delta("a")), (START, BLOCK, delta("a"), STOP), (START, "data: [DONE]\n\n")],
)
def test_a_stream_without_a_finish_was_cut(events: tuple[str, ...]) -> None:
    fault = relayed("".join(events).encode())[1].fault
    assert fault is not None
    assert fault.kind is Kind.PROVIDER_CUT


@pytest.mark.parametrize("tail", ["", STOP, "data: [DONE]\n\n", "data: {oops"])
def test_a_stream_with_a_finish_is_whole_and_ends_once(tail: str) -> None:
    sent, answer = relayed("".join((START, BLOCK, delta("a"), END, tail)).encode())
    assert answer.fault is None
    assert sent.count(b"message_stop") == 2
    assert sent.endswith(DIALECT.done(HEAD))


@pytest.mark.parametrize(
    ("usage", "shown"),
    [
        ('{"output_tokens":9}', '{"output_tokens":9' + PRICED),
        ('{"output_tokens":9 }', '{"output_tokens":9' + PRICED),
        ('{"output_tokens":9,"cost":5,"cost_details":{},"is_byok":false}', '{"output_tokens":9' + PRICED),
    ],
)  # fmt: skip
def test_the_charge_takes_the_place_of_what_the_provider_charges(usage: str, shown: str) -> None:
    sent, _ = relayed(
        (START + BLOCK + delta("a") + END.replace('{"output_tokens":9}', usage) + STOP).encode()
    )
    assert f'"usage":{shown}   }}'.encode() in sent


@pytest.mark.parametrize(
    "usage", ["null", '"x"', '{"output_tokens":-9}', '{"output_tokens":999999999999}', "{}"]
)
def test_counts_that_cannot_be_true_are_shown_to_nobody(usage: str) -> None:
    sent, answer = relayed(
        (START + BLOCK + delta("a") + END.replace('{"output_tokens":9}', usage) + STOP).encode()
    )
    assert answer.fault is None
    told = json.loads(sent.decode().split("\n\n")[-3].partition("data: ")[2])
    assert told["usage"]["cost"] == 0.000021
    assert told["usage"].get("output_tokens", 1) == 1


def test_a_charge_for_other_counts_shows_those() -> None:
    answer = RelayedStream(DIALECT, HEAD, NAMES)
    answer.feed((START + BLOCK + delta("a") + END).encode())
    answer.close()
    answer.ready()
    assert b'"output_tokens":100,' in answer.end(COST, Usage(input_fresh=5, output_visible=100))


WORDS = st.text(max_size=8) | st.sampled_from(
    ['"', "\\", '"}', "} }", "\n\n", '"}}\n\n', "event: error", "message_delta", "\u2028"]
)


@settings(max_examples=80, deadline=None)
@given(
    words=st.lists(WORDS, min_size=1, max_size=10), data=st.data(),
    member=st.sampled_from(["text", "thinking", "partial_json"]),
    ascii_only=st.booleans(),
)  # fmt: skip
def test_a_stream_of_any_words_passes_byte_for_byte(
    words: list[str], data: st.DataObject, member: str, ascii_only: bool
) -> None:
    events = [delta(word, data.draw(st.integers(0, 14)), member) for word in words]
    if ascii_only:
        events = [
            event.encode("ascii", "backslashreplace").decode()
            if all(ord(c) < 65536 for c in event)
            else event
            for event in events
        ]
        events = [event if "\\x" not in event else delta("x", 0, member) for event in events]
    stream = (START + BLOCK + "".join(events) + END + STOP).encode()
    sent, answer = relayed(stream, *data.draw(st.lists(st.integers(1, 90), max_size=20)))
    assert answer.fault is None
    for event in events:
        assert event.encode() in sent
    reader = DIALECT.reader(stream=True)
    grown = [event for event in (*reader.feed(stream), *reader.end()) if hasattr(event, "text")]
    assert answer.delivered_bytes == sum(len(event.text.encode()) for event in grown)
    assert answer.events == len(grown)


@pytest.mark.recordings
@over_exchanges(lambda exchange: exchange.dialect == "anthropic" and (exchange.plain or exchange.stream))
def test_a_relayed_reply_reads_as_the_providers_own(exchange: Exchange) -> None:
    for stream, body in ((True, exchange.stream), (False, exchange.plain)):
        if body is None:
            continue
        reader = DIALECT.reader(stream=stream)
        theirs = [*reader.feed(body), *reader.end()]
        answer = (RelayedStream if stream else RelayedReply)(DIALECT, HEAD, NAMES)
        answer.feed(body)
        answer.close()
        if isinstance(theirs[-1], Failed):
            assert exchange.name in NOT_WHOLE["anthropic"] or exchange.recorded
            assert answer.fault is not None
            continue
        assert answer.fault is None
        assert isinstance(theirs[-1], Finished)
        assert answer.usage == theirs[-1].usage
        sent = answer.ready() + answer.end(COST, answer.usage or Usage())
        again = DIALECT.reader(stream=stream)
        assert [*again.feed(sent), *again.end()][1:] == theirs[1:]
        assert sent.count(b'"msg_ours"') == sent.count(b'"ours/model"') == 1
        assert sent.count(b'"cost":0.000021') == 1


# --- Plain replies ----------------------------------------------------------------------------------------------


def plain(**members: Any) -> bytes:
    content = [{"type": "text", "text": "Hi"}]
    usage = {"input_tokens": 5, "output_tokens": 9}
    reply = {
        "model": "theirs",
        "id": "msg_theirs",
        "type": "message",
        "content": content,
        "stop_reason": "end_turn",
        "usage": usage,
    }
    return json.dumps({**reply, **members}, indent=1).encode()


def test_a_plain_reply_passes_byte_for_byte_but_for_id_model_and_charge() -> None:
    answer = RelayedReply(DIALECT, HEAD, NAMES)
    answer.feed(plain(x={"id": "kept", "model": "kept"}))
    answer.close()
    assert answer.fault is None
    assert (answer.events, answer.delivered_bytes, answer.finish_reason) == (1, 2, "end_turn")
    expected = plain(x={"id": "kept", "model": "kept"}).decode().replace('"msg_theirs"', '"msg_ours"')
    expected = expected.replace('"theirs"', '"ours/model"').replace(
        '"output_tokens": 9\n }', '"output_tokens": 9' + PRICED
    )
    assert answer.end(COST, answer.usage or Usage()).decode() == expected


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"{}", plain(content=None), plain(content=[], stop_reason=None),
        plain(error={"type": "x"}),
        plain(content=[{}]), plain()[:-1], b'{"type":"error","error":{"type":"api_error","message":"x"}}', b"<html>",
        plain(x="y").replace(b'"y"', b'"\xff"'),
    ],
    ids=range(12),
)  # fmt: skip
def test_a_plain_reply_that_is_none_is_a_fault(body: bytes) -> None:
    answer = RelayedReply(DIALECT, HEAD, NAMES)
    answer.feed(body)
    answer.close()
    assert answer.fault is not None
    assert answer.fault.kind is Kind.PROVIDER_ERROR


def test_a_plain_reply_without_counts_shows_what_was_charged_for() -> None:
    answer = RelayedReply(DIALECT, HEAD, NAMES)
    answer.feed(plain(usage=None))
    answer.close()
    assert answer.usage is None
    told = json.loads(answer.end(COST, Usage(input_fresh=3, output_visible=1)))
    assert (told["usage"]["input_tokens"], told["usage"]["output_tokens"], told["usage"]["cost"]) == (
        3,
        1,
        0.000021,
    )


def test_a_failure_is_an_error_event_and_there_is_no_usage_event_of_our_own() -> None:
    tap = DIALECT.tap(HEAD, NAMES)
    assert tap.fail(Fault(Kind.PROVIDER_TIMEOUT, "x")).startswith(
        b'event: error\ndata: {"type":"error","error":{"type":"timeout_error"'
    )
    assert tap.usage_event(Usage(), COST) == b""
