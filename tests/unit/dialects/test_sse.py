"""The splitter: whole events, whatever the cuts and the line ends."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farebox.core.errors import Fault, Kind
from farebox.dialects.sse import EVENT_BYTES_MAX, Splitter, data_of

MIXED = (
    b": first\n\ndata: 1\r\n\r\nevent: ping\r\ndata: 2\n\ndata: a\r\ndata: b\r\n\n\n"
    b"data: 3\n\r\ndata:4\n\n\n\nid: 9\ndata: \xc3\xa9\n\n"
)
EVENTS = [
    b": first\n\n",
    b"data: 1\r\n\r\n",
    b"event: ping\r\ndata: 2\n\n",
    b"data: a\r\ndata: b\r\n\n",
    b"\ndata: 3\n\r\n",
    b"data:4\n\n",
    b"\n\n",
    b"id: 9\ndata: \xc3\xa9\n\n",
]
DATA = [b"", b"1", b"2", b"a\nb", b"3", b"4", b"", "é".encode()]
# Streams of the bytes that matter, so that every neighbourhood of line ends occurs.
noise = st.lists(st.sampled_from([b"\n", b"\r\n", b"\r", b"data: x", b"data:", b":", b"y"]), max_size=30).map(
    b"".join
)


def split(pieces: list[bytes]) -> tuple[list[bytes], bytes]:
    splitter = Splitter()
    return [event for piece in pieces for event in splitter.feed(piece)], splitter.flush()


@pytest.mark.parametrize("size", range(1, len(MIXED) + 1))
def test_any_cut_of_a_stream_gives_the_same_events(size: int) -> None:
    assert split([MIXED[start : start + size] for start in range(0, len(MIXED), size)]) == (EVENTS, b"")


@settings(deadline=None)
@given(noise, st.data())
def test_any_cut_of_any_bytes_gives_the_same_events_and_loses_none(
    stream: bytes, data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)))))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    events, rest = split(pieces)
    assert (events, rest) == split([stream])
    assert b"".join(events) + rest == stream


def test_the_data_of_events_is_seen_through_comments_names_and_line_ends() -> None:
    assert [data_of(event) for event in EVENTS] == DATA


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: x\n\n", b"x"),
        (b"data: x\r\n\n", b"x"),
        (b"data:  two spaces\n\n", b" two spaces"),
        (b"data\n\n", b""),
        (b"data: \n\n", b""),
        (b"data: \ndata: \n\n", b"\n"),
        (b"datum: x\n\n", b""),
        (b"\xef\xbb\xbfdata: after a byte order mark\n\n", b"after a byte order mark"),
        (b"data: no blank line", b"no blank line"),
        (b"", b""),
    ],
)
def test_data_is_what_the_specification_says(event: bytes, data: bytes) -> None:
    assert data_of(event) == data


def test_what_follows_the_last_blank_line_is_kept_for_the_end() -> None:
    splitter = Splitter()
    assert splitter.feed(b"data: 1\n\ndata: 2") == [b"data: 1\n\n"]
    assert splitter.flush() == b"data: 2"
    assert splitter.flush() == b""


def test_feeding_nothing_gives_nothing() -> None:
    splitter = Splitter()
    assert splitter.feed(b"") == []
    assert splitter.feed(b"x") == []
    assert splitter.feed(b"") == []
    assert splitter.flush() == b"x"


@pytest.mark.parametrize("ending", [b"", b"\n\n", b"\r\n\r\n"])
@pytest.mark.parametrize("pieces", [1, 5])
def test_an_event_without_an_end_is_the_providers_fault(ending: bytes, pieces: int) -> None:
    endless = b"x" * (EVENT_BYTES_MAX + 1) + ending
    size = len(endless) // pieces + 1
    with pytest.raises(Fault) as caught:
        split([endless[start : start + size] for start in range(0, len(endless), size)])
    assert caught.value.kind is Kind.PROVIDER_ERROR


def test_many_small_events_in_one_piece_may_exceed_the_limit_of_one() -> None:
    event = b"data: " + b"x" * 1000 + b"\n\n"
    count = EVENT_BYTES_MAX // len(event) + 2
    assert Splitter().feed(event * count) == [event] * count
