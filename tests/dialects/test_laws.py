"""The laws that every dialect keeps, over every fixture and every recording."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from farebox.core.errors import Fault, Kind
from farebox.core.usage import Usage
from farebox.dialects import DIALECTS
from farebox.dialects.conversation import (
    Event,
    Failed,
    Finished,
    Media,
    Members,
    Opaque,
    Part,
    PartBegan,
    PartEnded,
    PartGrew,
    Prompt,
    Reply,
    Text,
    Thought,
    ToolCall,
    ToolResult,
    abroad,
    fold,
    unfold,
)
from farebox.dialects.dialect import Head, Names, Reader
from tests.dialects.forms import MODEL_IN_PATH, NORMAL_FORMS, NOT_WHOLE, SAYABLE, TOLD, parsed
from tests.dialects.recordings import (
    PATHS,
    VARIABLE,
    Exchange,
    named_folder,
    over_exchanges,
    read_fixtures,
    read_recordings,
)

over_dialects = pytest.mark.parametrize("dialect", DIALECTS)
over_requests = over_exchanges(lambda exchange: exchange.request)
over_replies = over_exchanges(lambda exchange: exchange.plain or exchange.stream)
over_streams = over_exchanges(lambda exchange: exchange.stream)
recordings = pytest.mark.recordings


def decoded(body: bytes | None) -> Any:
    return msgspec.json.decode(body or b"null")


def read_all(reader: Reader, pieces: Iterable[bytes]) -> list[Event]:
    return [*(event for piece in pieces for event in reader.feed(piece)), *reader.end()]


def read_exchange(exchange: Exchange, *, stream: bool) -> list[Event]:
    body = exchange.stream if stream else exchange.plain
    assert body is not None
    return read_all(DIALECTS[exchange.dialect].reader(stream=stream), [body])


def written_again(dialect: str, events: Iterable[Event], reply: Reply, *, stream: bool) -> list[Event]:
    """The events after a way through the dialect's own writer and reader."""
    names = Names(id=reply.id, model=reply.model, created_s=1_700_000_000)
    writer = DIALECTS[dialect].writer(Head(model="asked", stream=stream, wants_usage=True), names)
    body = b"".join([writer.write(event) for event in events])
    done = DIALECTS[dialect].done(Head(model="asked", stream=True)) if stream else b""
    return read_all(DIALECTS[dialect].reader(stream=stream), [body + done])


def comparable(events: Iterable[Event]) -> list[object]:
    """Events as values: a Fault is compared by what it says."""
    return [
        ("failed", event.fault.kind, event.fault.message, event.usage) if isinstance(event, Failed) else event
        for event in events
    ]


def bare(reply: Reply) -> Reply:
    """A reply without what one provider adds to the language: its word for an end, marks on thoughts, white space."""
    return replace(reply, parts=tuple(map(bare_part, reply.parts)), native_reason=None, stop_sequence=None)


def bare_part(part: Part) -> Part:
    if isinstance(part, Thought):
        return replace(part, extra=())
    return replace(part, raw=msgspec.json.format(part.raw, indent=-1)) if isinstance(part, Opaque) else part


def forms(exchange: Exchange) -> Iterator[bool]:
    """In which forms an exchange was answered: streamed, plain."""
    if exchange.stream is not None:
        yield True
    if exchange.plain is not None:
        yield False


# --- Fold and unfold --------------------------------------------------------------------------------------------

words = st.text(max_size=20)
some_members: st.SearchStrategy[Members] = st.lists(
    st.tuples(words, st.sampled_from([b"1", b'"x"', b"{}"])), max_size=2
).map(tuple)
seals = st.none() | words
texts = st.builds(Text, words, st.booleans(), seals, st.none(), some_members)
medias = st.builds(
    Media, st.sampled_from(["image", "audio"]), st.none() | words, st.none() | words, extra=some_members
)
parts: st.SearchStrategy[Part] = st.one_of(
    texts,
    medias,
    st.builds(ToolCall, words, words, words, seals, st.none(), some_members),
    st.builds(Thought, words, seals, st.booleans(), seals, seals, some_members),
    st.builds(Opaque, words, words, words, st.just(b"{}")),
    st.builds(ToolResult, words, st.lists(texts | medias, max_size=2).map(tuple), st.booleans()),
)
replies = st.builds(
    Reply,
    words,
    words,
    st.lists(parts, max_size=5).map(tuple),
    st.sampled_from(["stop", "length", "tool_calls", "content_filter", "refusal"]),
    st.none() | st.builds(Usage, st.integers(0, 9), st.integers(0, 9)),
    st.none() | words,
    st.none() | words,
)


@given(replies)
def test_folding_an_unfolded_reply_gives_it_back(reply: Reply) -> None:
    assert fold(unfold(reply)) == reply


@given(replies, st.data())
def test_a_reply_folds_the_same_however_its_parts_interleave(reply: Reply, data: st.DataObject) -> None:
    events = list(unfold(reply))
    queues = [
        [event for event in events[1:-1] if getattr(event, "index", None) == at]
        for at in range(len(reply.parts))
    ]
    mixed = []
    while any(queues):
        queue = data.draw(st.sampled_from([queue for queue in queues if queue]))
        mixed.append(queue.pop(0))
    assert fold([events[0], *mixed, events[-1]]) == reply


def test_folding_a_failed_reply_raises_its_fault() -> None:
    fault = Fault(Kind.PROVIDER_CUT, "cut")
    with pytest.raises(Fault) as caught:
        fold([PartBegan(0, Text("")), PartGrew(0, "half"), Failed(fault)])
    assert caught.value is fault


def test_folding_events_without_an_end_is_our_own_bug() -> None:
    with pytest.raises(AssertionError, match="end in Finished or Failed"):
        fold([PartBegan(0, Text("")), PartEnded(0)])


# --- Replies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
@over_dialects
@settings(max_examples=150)
@given(data=st.data())
def test_a_reply_that_was_written_reads_the_same(dialect: str, stream: bool, data: st.DataObject) -> None:
    reply = data.draw(SAYABLE[dialect])
    assert fold(written_again(dialect, unfold(reply), reply, stream=stream)) == reply


@recordings
@over_replies
def test_a_reply_says_what_a_plain_reading_of_it_says(exchange: Exchange) -> None:
    for stream in forms(exchange):
        told = TOLD[exchange.dialect](None if stream else exchange.plain, exchange.stream if stream else None)
        events = read_exchange(exchange, stream=stream)
        last = events[-1]
        assert isinstance(last, Finished if told.whole else Failed)
        assert sum(isinstance(event, Finished | Failed) for event in events) == 1
        if told.whole:
            reply = fold(events)
            assert "".join(part.text for part in reply.parts if isinstance(part, Text)) == told.text
            calls = [part for part in reply.parts if isinstance(part, ToolCall)]
            assert [(call.name, parsed(call.arguments)) for call in calls] == told.calls
            assert len({call.id for call in calls}) == len(calls)


@recordings
@over_replies
def test_the_classes_of_usage_add_up_to_the_providers_total(exchange: Exchange) -> None:
    for stream in forms(exchange):
        told = TOLD[exchange.dialect](None if stream else exchange.plain, exchange.stream if stream else None)
        last = read_exchange(exchange, stream=stream)[-1]
        assert isinstance(last, Finished | Failed)
        if last.usage is not None:
            assert last.usage.total == told.total
        else:
            # Nothing was reported, or it cannot be true of a reply that failed.
            assert told.total is None or not told.whole


@recordings
@over_replies
def test_a_reply_survives_being_written_in_either_form(exchange: Exchange) -> None:
    for stream in forms(exchange):
        events = read_exchange(exchange, stream=stream)
        if isinstance(events[-1], Failed):
            continue
        reply = fold(events)
        for form in (True, False):
            again = fold(written_again(exchange.dialect, events, reply, stream=form))
            assert bare(again) == bare(reply)


@recordings
@over_streams
def test_any_cut_of_a_stream_reads_the_same(exchange: Exchange) -> None:
    stream = exchange.stream or b""
    whole = comparable(read_exchange(exchange, stream=True))
    # Every size for a short one; for a long one sizes that share no divisor with its lines.
    for size in range(1, len(stream)) if len(stream) < 1500 else (1, 7, 61, 1009, 16384):
        pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
        assert comparable(read_all(DIALECTS[exchange.dialect].reader(stream=True), pieces)) == whole


@recordings
@over_streams
@settings(max_examples=15)
@given(data=st.data())
def test_a_stream_cut_anywhere_reads_the_same(exchange: Exchange, data: st.DataObject) -> None:
    stream = exchange.stream or b""
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=12)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    events = comparable(read_all(DIALECTS[exchange.dialect].reader(stream=True), pieces))
    assert events == comparable(read_exchange(exchange, stream=True))


@recordings
@over_streams
@settings(max_examples=20)
@given(data=st.data())
def test_a_stream_that_breaks_off_is_never_taken_for_whole(exchange: Exchange, data: st.DataObject) -> None:
    stream = exchange.stream or b""
    end = data.draw(st.integers(0, len(stream) - 1))
    broken = read_all(DIALECTS[exchange.dialect].reader(stream=True), [stream[:end]])
    whole = read_exchange(exchange, stream=True)
    if isinstance(broken[-1], Failed):
        assert broken[-1].fault.kind in (Kind.PROVIDER_CUT, Kind.PROVIDER_ERROR)
    elif isinstance(whole[-1], Finished):
        # It broke off behind the finish: at most the usage is missing.
        assert fold(broken).parts == fold(whole).parts


@over_exchanges(lambda exchange: exchange.plain and exchange.stream and not exchange.recorded)
def test_a_fixtures_stream_folds_to_its_plain_reply(exchange: Exchange) -> None:
    streamed, plain = read_exchange(exchange, stream=True), read_exchange(exchange, stream=False)
    if exchange.name in NOT_WHOLE[exchange.dialect]:
        assert isinstance(streamed[-1], Failed)
        assert isinstance(plain[-1], Failed)
    else:
        assert bare(fold(streamed)) == bare(fold(plain))


# --- Prompts ----------------------------------------------------------------------------------------------------


def named(dialect: str) -> dict[str, str]:
    """How a body names the model."""
    return {} if dialect in MODEL_IN_PATH else {"model": "their-model"}


@recordings
@over_requests
def test_a_prompt_that_was_read_is_written_as_it_was(exchange: Exchange) -> None:
    request = decoded(exchange.request)
    dialect = DIALECTS[exchange.dialect]
    written = decoded(dialect.write_prompt(dialect.read_prompt(exchange.request or b""), "their-model"))
    assert written == NORMAL_FORMS[exchange.dialect](request) | named(exchange.dialect)


@recordings
@over_requests
def test_a_prompt_goes_home_as_the_relay_would_send_it(exchange: Exchange) -> None:
    request, dialect = exchange.request or b"", DIALECTS[exchange.dialect]
    head = Head(model="asked", stream=bool(decoded(request).get("stream")))
    relayed = decoded(dialect.write_relayed(request, "their-model", head))
    normal = NORMAL_FORMS[exchange.dialect](relayed)
    written = decoded(dialect.write_prompt(dialect.read_prompt(request), "their-model"))
    assert written == normal | named(exchange.dialect)


@recordings
@over_requests
def test_writing_a_prompt_twice_changes_nothing_more(exchange: Exchange) -> None:
    dialect = DIALECTS[exchange.dialect]
    once = dialect.read_prompt(dialect.write_prompt(dialect.read_prompt(exchange.request or b""), "m"))
    assert dialect.read_prompt(dialect.write_prompt(once, "m")) == once


def moved_abroad(prompt: Prompt) -> Prompt | Fault:
    try:
        return abroad(prompt, "another")
    except Fault as fault:
        return fault


@recordings
@over_requests
def test_a_prompt_loses_nothing_silently_abroad(exchange: Exchange) -> None:
    prompt = DIALECTS[exchange.dialect].read_prompt(exchange.request or b"")
    moved = moved_abroad(prompt)
    if isinstance(moved, Fault):
        assert moved.kind is Kind.BAD_REQUEST
        assert moved.param
        assert moved.param in moved.message
    else:
        assert not prompt.bound
        assert not moved.extra
        assert {name for name, raw in prompt.extra if raw not in (b"null", b"[]", b"{}")} <= set(
            moved.dropped
        )
        assert abroad(moved, "another") == moved
        assert [turn.role for turn in moved.turns] == [turn.role for turn in prompt.turns]


# --- The cases themselves -------------------------------------------------------------------------------------


def test_every_dialect_has_its_row_in_every_table() -> None:
    for table in (PATHS, NORMAL_FORMS, TOLD, SAYABLE, NOT_WHOLE):
        assert set(table) == set(DIALECTS)


@over_dialects
def test_every_dialect_has_fixtures_of_every_form(dialect: str) -> None:
    ours = [exchange for exchange in read_fixtures() if exchange.dialect == dialect]
    for form in ("request", "plain", "stream"):
        assert sum(getattr(exchange, form) is not None for exchange in ours) >= 12


@recordings
def test_a_named_folder_of_recordings_is_not_empty() -> None:
    folder = named_folder()
    if folder is None:
        return  # Nobody asked for recordings; the fixtures ran.
    assert folder.is_dir(), f"{VARIABLE} names {folder}, which is no folder"
    assert read_recordings(), f"{VARIABLE} names {folder}, which has no recording of a known dialect"
