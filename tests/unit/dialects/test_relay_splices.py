"""A relay passes a provider's bytes, but for id, model and usage: for any layout of its JSON, cut anywhere."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farebox.core.usage import Usage
from farebox.dialects import DIALECTS
from farebox.dialects.dialect import Cost, Head, Names
from farebox.gateway.relay import RelayedReply, RelayedStream

NAMES = Names("chatcmpl-ours", "ours/model", 1_700_000_000)
CHAT = DIALECTS["openai_chat"]
COST = Cost("0.000021", "USD")
THEIR_ID, THEIR_MODEL = "chatcmpl-theirs", "their-model"

# What a provider may put where it likes, with every name that means something higher up.
LURES = st.sampled_from(
    [
        '"id":"chatcmpl-theirs"', '"model": "their-model"', '"usage":{"prompt_tokens":1}', '"error":{"message":"x"}',
        '"finish_reason":"stop"', '"choices":[]', "[DONE]", "data: {}", "\n\n",
        '"}]}\n\n', "\\", '\\"', "é", "😀", "\u2028", "",
    ]
)  # fmt: skip
WORDS = st.one_of(LURES, st.text(max_size=8), st.sampled_from(["Hello", " there", " friend"]))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**20), 10**20), WORDS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(
            st.sampled_from(["id", "model", "usage", "error", "choices", "finish_reason", "x"]),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=5,
)
SPACES = st.sampled_from(["", "", " ", "  ", "\t"])
USAGE = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}


def written(data: st.DataObject, value: Any, *, outer: bool = True) -> str:
    """JSON text with any spacing, any order of members, and any way to write a letter."""

    def space() -> str:
        return data.draw(SPACES)

    if isinstance(value, dict):
        names = data.draw(st.permutations(list(value))) if outer else list(value)
        members = [
            f"{space()}{json.dumps(name)}{space()}:{space()}{written(data, value[name], outer=False)}"
            for name in names
        ]
        return "{" + f"{space()},".join(members) + space() + "}"
    if isinstance(value, list):
        return "[" + f"{space()},{space()}".join(written(data, one) for one in value) + space() + "]"
    return json.dumps(value, ensure_ascii=data.draw(st.booleans()))


def chunk(delta: Any, finish: str | None, extra: dict[str, Any], **members: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, **extra}
    return {
        "id": THEIR_ID,
        "object": "chat.completion.chunk",
        "model": THEIR_MODEL,
        "choices": [choice],
        **members,
    }


def read_members(text: bytes) -> list[tuple[str, Any]]:
    """The members of an object in their order."""
    members: list[tuple[str, Any]] = json.loads(text, object_pairs_hook=list)
    return members


def restored(event: bytes) -> bytes:
    """A relayed event with our names taken out again: everything else must be as the provider wrote it."""
    return event.replace(b'"chatcmpl-ours"', b'"chatcmpl-theirs"').replace(b'"ours/model"', b'"their-model"')


def relay(stream: bytes, sizes: list[int], *, wants_usage: bool = True) -> tuple[bytes, bytes]:
    """What leaves before the end, and the end."""
    answer = RelayedStream(CHAT, Head(model="m", stream=True, wants_usage=wants_usage), NAMES)
    sent, at = [], 0
    for size in sizes:
        answer.feed(stream[at : at + size])
        sent.append(answer.ready())
        at += size
    answer.feed(stream[at:])
    answer.close()
    sent.append(answer.ready())
    assert answer.fault is None, answer.fault
    assert answer.finished
    return b"".join(sent), answer.end(COST, answer.usage or Usage())


extras = st.dictionaries(
    st.sampled_from(["logprobs", "x_meta", "stop_reason"]), VALUES.map(lambda one: [one]), max_size=2
)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_everything_but_id_and_model_passes_byte_for_byte(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 6))
    layouts = []
    for at in range(count):
        delta = {"content": data.draw(WORDS.filter(bool)), "x_more": data.draw(VALUES)}
        delta |= {"role": "assistant"} if at == 0 or data.draw(st.booleans()) else {}
        members = data.draw(st.dictionaries(st.sampled_from(["x_a", "x_b", "provider"]), VALUES, max_size=2))
        layouts.append(chunk(delta, None, data.draw(extras), created=data.draw(st.integers(1, 3)), **members))
    finish = chunk({}, "stop", data.draw(extras))
    end = data.draw(st.sampled_from(["\n\n", "\r\n\r\n"]))
    events = [f"data: {written(data, one)}{end}".encode() for one in (*layouts, finish)]
    stream = b"".join(events) + b"data: [DONE]\n\n"
    sizes = data.draw(st.lists(st.integers(1, 40), max_size=30))
    sent, last = relay(stream, sizes, wants_usage=False)
    assert restored(sent) == b"".join(events[:-1])
    assert restored(last) == events[-1] + b"data: [DONE]\n\n"
    assert (sent + last).count(b'"chatcmpl-ours"') == len(events)
    assert (sent + last).count(b'"ours/model"') == len(events)
    for event in (sent + last).replace(b"\r\n", b"\n").split(b"\n\n")[:-2]:
        told = dict(read_members(event.removeprefix(b"data: ")))
        assert (told["id"], told["model"]) == ("chatcmpl-ours", "ours/model")


@settings(max_examples=40, deadline=None)
@given(words=st.lists(WORDS.filter(bool), min_size=3, max_size=12), data=st.data())
def test_a_stream_in_one_layout_passes_byte_for_byte(words: list[str], data: st.DataObject) -> None:
    """The usual stream, which is told by its form after two events: the words may be anything."""
    ascii_only, tight = data.draw(st.booleans()), data.draw(st.booleans())
    member = data.draw(st.sampled_from(["content", "reasoning_content", "reasoning"]))
    padded = data.draw(st.booleans())
    separators = (",", ":") if tight else (", ", ": ")
    events = []
    for at, word in enumerate((*words, None)):
        one = chunk(
            {member: word} if word is not None else {}, None if word is not None else "stop", {}, usage=None
        )
        one |= {"obfuscation": "x" * (at % 3)} if padded else {}
        events.append(f"data: {json.dumps(one, ensure_ascii=ascii_only, separators=separators)}\n\n".encode())
    sent, last = relay(
        b"".join(events) + b"data: [DONE]\n\n", data.draw(st.lists(st.integers(1, 300), max_size=9))
    )
    assert restored(sent) == b"".join(events[:-1])
    assert last.startswith(events[-1].replace(b"theirs", b"ours").replace(b"their-model", b"ours/model"))


@settings(max_examples=40, deadline=None)
@given(words=st.lists(WORDS.filter(bool), min_size=1, max_size=12), ascii_only=st.booleans())
def test_words_are_counted_alike_whichever_way_they_are_told(words: list[str], ascii_only: bool) -> None:
    answer = RelayedStream(CHAT, Head(model="m", stream=True), NAMES)
    for word in words:
        text = json.dumps(chunk({"content": word}, None, {}), ensure_ascii=ascii_only)
        answer.feed(f"data: {text}\n\n".encode(errors="surrogatepass"))
    assert answer.events == len(words)
    assert answer.delivered_bytes == sum(len(word.encode()) for word in words)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_plain_reply_passes_byte_for_byte_but_for_names_and_cost(data: st.DataObject) -> None:
    message = {"role": "assistant", "content": data.draw(WORDS.filter(bool)), "x_more": data.draw(VALUES)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = {
        "id": THEIR_ID,
        "model": THEIR_MODEL,
        "choices": [choice],
        "usage": USAGE,
        "x_top": data.draw(VALUES),
    }
    text = written(data, body).encode()
    answer = RelayedReply(CHAT, Head(model="m"), NAMES)
    answer.feed(data.draw(st.sampled_from([b"", b"\n \n", b"     "])) + text)
    answer.close()
    assert answer.fault is None
    assert answer.usage is not None
    sent = answer.end(COST, answer.usage)
    added = re.compile(rb',"cost":0\.000021,"cost_details":\{"currency":"USD","total":0\.000021\}')
    assert len(added.findall(sent)) == 1
    left = restored(added.sub(b"", sent))
    assert re.sub(rb"\s", b"", left) == re.sub(rb"\s", b"", text)
    head, _, _ = text.partition(b'"usage"')
    assert left.startswith(head)
    told = json.loads(sent)
    assert told["usage"] == {
        **USAGE,
        "cost": 0.000021,
        "cost_details": {"currency": "USD", "total": 0.000021},
    }
    assert (told["id"], told["model"]) == ("chatcmpl-ours", "ours/model")


ODD = {
    "a name said twice": b'{"id":"a","id":"chatcmpl-theirs","model":"m","choices":[{"delta":{"content":"Hi"}}]}',
    "a name in escapes": b'{"\\u0069d":"a","model":"m","choices":[{"delta":{"content":"Hi"}}]}',
    "no id": b'{"model":"m","choices":[{"delta":{"content":"Hi"}}]}',
    "no names at all": b'{"choices":[{"delta":{"content":"Hi"}}]}',
    "names that are no text": b'{"id":7,"model":null,"choices":[{"delta":{"content":"Hi"}}]}',
    "names behind the words": b'{"choices":[{"delta":{"content":"Hi","id":"x","model":"y"}}],"id":"a","model":"m"}',
}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_envelope_gets_our_names_and_keeps_its_words(odd: str) -> None:
    answer = RelayedStream(CHAT, Head(model="m", stream=True), NAMES)
    answer.feed(b"".join(b"data: %b\n\n" % ODD[odd] for _ in range(3)))
    events = answer.ready().split(b"\n\n")
    assert events.pop() == b""
    assert len(events) == 3
    for event in events:
        told = json.loads(event.removeprefix(b"data: "))
        assert (told["id"], told["model"]) == ("chatcmpl-ours", "ours/model")
        assert told["choices"][0]["delta"]["content"] == "Hi"
    assert answer.events == 3


def test_data_in_several_lines_is_told_in_one() -> None:
    answer = RelayedStream(CHAT, Head(model="m", stream=True), NAMES)
    answer.feed(
        b'event: message\ndata: {"id":"a","model":"m",\ndata:  "choices":[{"delta":\ndata: {"content":"H i"}}]}\n\n'
    )
    event = answer.ready()
    assert event.count(b"\n") == 2
    told = json.loads(event.removeprefix(b"data: "))
    assert told == {"id": "chatcmpl-ours", "model": "ours/model", "choices": [{"delta": {"content": "H i"}}]}


def test_a_form_is_left_when_the_stream_changes() -> None:
    """Thoughts, then words, then a call: each is counted as what it is."""
    answer = RelayedStream(CHAT, Head(model="m", stream=True), NAMES)
    deltas: list[dict[str, Any]] = [{"reasoning_content": "hm"}] * 4 + [{"content": "four"}] * 4
    deltas += [{"tool_calls": [{"index": 0, "id": "c", "function": {"name": "look", "arguments": ""}}]}]
    deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": '{"'}}]}] * 3
    deltas += [{"content": ""}, {"role": "assistant"}, {}]
    for delta in deltas:
        answer.feed(b"data: %b\n\n" % json.dumps(chunk(delta, None, {})).encode())
    assert (answer.events, answer.delivered_bytes) == (12, 4 * 2 + 4 * 4 + len("look") + 3 * len('{"'))


def test_what_is_discarded_does_not_count() -> None:
    answer = RelayedStream(CHAT, Head(model="m", stream=True), NAMES)
    event = b"data: %b\n\n" % json.dumps(chunk({"content": "four"}, None, {})).encode()
    answer.feed(event)
    assert answer.ready()
    answer.feed(event * 5)
    answer.discard()
    assert (answer.events, answer.delivered_bytes, answer.ready()) == (1, 4, b"")
