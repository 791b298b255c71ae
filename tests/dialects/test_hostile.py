"""A provider may send anything: a reply ends once, well or badly, and nothing but a Fault ever comes of it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farebox.core.errors import Fault
from farebox.core.usage import Usage
from farebox.dialects import DIALECTS
from farebox.dialects.conversation import Failed, Finished
from farebox.dialects.dialect import Cost, Head, Names
from farebox.gateway.call import Answer
from farebox.gateway.relay import RelayedReply, RelayedStream
from farebox.gateway.translate import TranslatedAnswer
from tests.dialects.recordings import Exchange, read_fixtures
from tests.dialects.test_laws import read_all

over_dialects = pytest.mark.parametrize("dialect", DIALECTS)
NAMES = Names("id-1", "asked", 1_700_000_000)
COST = Cost("0.5", "USD")
PAID = Usage(input_fresh=1, output_visible=1)
# What garbles JSON and events best.
PIECES = st.sampled_from(
    [
        b"",
        b"{",
        b"}",
        b"[",
        b'"',
        b"\n\n",
        b"\r\n",
        b"data: ",
        b"null",
        b"-1",
        b"1e999",
        b"\xff",
        b"\\u0000",
        b"[DONE]",
    ]
)


def bodies(dialect: str, *, stream: bool) -> list[bytes]:
    def body(exchange: Exchange) -> bytes | None:
        return exchange.stream if stream else exchange.plain

    return [found for one in read_fixtures() if one.dialect == dialect and (found := body(one))]


@st.composite
def garbled(draw: st.DrawFn, dialect: str, *, stream: bool) -> bytes:
    """A good body with a few of its bytes replaced."""
    body = draw(st.sampled_from(bodies(dialect, stream=stream)))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(body)))
        end = min(start + draw(st.integers(0, 12)), len(body))
        body = body[:start] + draw(PIECES | st.binary(max_size=4)) + body[end:]
    return body


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
@over_dialects
@settings(max_examples=120)
@given(data=st.data())
def test_a_reader_ends_once_whatever_comes(dialect: str, stream: bool, data: st.DataObject) -> None:
    body = data.draw(garbled(dialect, stream=stream))
    cut = data.draw(st.integers(0, len(body)))
    events = read_all(DIALECTS[dialect].reader(stream=stream), [body[:cut], body[cut:]])
    assert sum(isinstance(event, Finished | Failed) for event in events) == 1
    assert isinstance(events[-1], Finished | Failed)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
@pytest.mark.parametrize("target", DIALECTS)
@over_dialects
@settings(max_examples=40)
@given(data=st.data())
def test_an_answer_is_whole_or_a_fault_whatever_comes(
    dialect: str, target: str, stream: bool, data: st.DataObject
) -> None:
    source, caller = DIALECTS[dialect], DIALECTS[target]
    body = data.draw(garbled(dialect, stream=stream))
    head = Head(model="asked", stream=stream)
    answer: Answer
    if dialect != target:
        answer = TranslatedAnswer(source.reader(stream=stream), caller, head, NAMES)
    elif stream:
        answer = RelayedStream(caller, head, NAMES)
    else:
        answer = RelayedReply(caller, head, NAMES)
    cut = data.draw(st.integers(0, len(body)))
    sent = b""
    try:
        for piece in (body[:cut], body[cut:]):
            answer.feed(piece)
            sent += answer.ready()
        answer.close()
        sent += answer.ready()
    except Fault as fault:
        failed = answer.fail(fault)
    else:
        failed = b""
    if failed:
        return
    if answer.fault is not None:
        assert answer.fail(answer.fault) or not stream
        return
    assert answer.finished
    whole = sent + answer.end(COST, PAID)
    if not stream:
        msgspec.json.decode(whole)


# Found by the tests above: a name that is no UTF-8, deep inside what a first look passes over.
_NAMED = b'{"candidates":[{"content":{"parts":[{"\xfftext":"lo."}],"role":"model"},"finishReason":"STOP"}]}'
_SIGNATURE = b'{"google":{"\x80thought_signature":"x"}}'
_SIGNED = b'{"id":"i","type":"function","function":{"name":"f"},"extra_content":%b}' % _SIGNATURE
FOUND = [
    ("gemini", _NAMED),
    ("openai_chat", b'{"id":"c","choices":[{"index":0,"message":{"tool_calls":[%b]}}]}' % _SIGNED),
]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
@pytest.mark.parametrize(("dialect", "body"), FOUND, ids=[dialect for dialect, _ in FOUND])
def test_a_name_that_is_no_text_ends_a_reply_and_breaks_nothing(
    dialect: str, body: bytes, stream: bool
) -> None:
    sent = b"data: %b\n\n" % body if stream else body
    events = read_all(DIALECTS[dialect].reader(stream=stream), [sent])
    assert sum(isinstance(event, Finished | Failed) for event in events) == 1
