"""What comes of a Responses reply: the events of a stream, and the items they are about. (ResponseStreamEvent.)

Every known variation is read: xAI's order of members, and llama.cpp's events, which lack every number.
"""

from __future__ import annotations

import msgspec

from farebox.dialects.splice import UNREADABLE
from farebox.dialects.sse import data_of

NULL = msgspec.Raw(b"null")  # Also stands for an absent member: msgspec has no `Raw | None`.
TEXT, REFUSAL = "response.output_text.delta", "response.refusal.delta"
ARGUMENTS = "response.function_call_arguments.delta"
SUMMARY, REASONING_TEXT = "response.reasoning_summary_text.delta", "response.reasoning_text.delta"
ADDED, ITEM_DONE = "response.output_item.added", "response.output_item.done"
COMPLETED, INCOMPLETE, FAILED = "response.completed", "response.incomplete", "response.failed"
ENDS = frozenset({COMPLETED, INCOMPLETE})
FAULTS = frozenset({FAILED, "response.cancelled", "error"})
_DATA = b"\ndata: "


class Content(msgspec.Struct):
    """A part of a message, or a piece of a thought."""

    type: str = ""
    text: str | None = None
    refusal: str | None = None
    annotations: msgspec.Raw = NULL
    logprobs: msgspec.Raw = NULL


class Item(msgspec.Struct):
    """One item of `output`, as far as all kinds share their words."""

    type: str = ""
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | dict[str, object] | None = None
    content: list[Content] | None = None
    summary: list[Content] | None = None
    encrypted_content: str | None = None
    phase: msgspec.Raw = NULL
    namespace: msgspec.Raw = NULL
    caller: msgspec.Raw = NULL


class Details(msgspec.Struct):
    """Why a reply is not complete."""

    reason: str | None = None


class Whole(msgspec.Struct):
    """A response object."""

    id: str | None = None
    model: str | None = None
    status: str | None = None
    output: list[msgspec.Raw] | None = None
    usage: msgspec.Raw = NULL
    error: msgspec.Raw = NULL
    incomplete_details: Details | None = None


class StreamEvent(msgspec.Struct):
    """One event."""

    type: str = ""
    delta: object = None  # A text, but for a hosted shell's output.
    item_id: str | None = None
    output_index: int | None = None
    content_index: int | None = None
    summary_index: int | None = None
    sequence_number: int | None = None
    item: msgspec.Raw = NULL
    response: msgspec.Raw = NULL
    error: msgspec.Raw = NULL


_events = msgspec.json.Decoder(StreamEvent)
_items = msgspec.json.Decoder(Item)
_wholes = msgspec.json.Decoder(Whole)


def data_in(event: bytes) -> bytes:
    """The data of one event, which in this language has its name above it: one line of each, in the common case."""
    at = event.find(_DATA) + len(_DATA)
    if at >= len(_DATA) and event.find(b"\n", at) == len(event) - 2:
        return event[at:-2]
    return data_of(event)


def find_event(data: bytes) -> StreamEvent | None:
    """An event; None if it is none."""
    try:
        return _events.decode(data)
    except UNREADABLE:
        return None


def find_item(raw: msgspec.Raw | bytes) -> Item | None:
    """An item; None where its members are of another shape."""
    try:
        return _items.decode(raw)
    except UNREADABLE:
        return None


def find_whole(raw: msgspec.Raw | bytes) -> Whole | None:
    """A response object; None if it is none."""
    try:
        return _wholes.decode(raw)
    except UNREADABLE:
        return None
