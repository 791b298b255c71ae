"""An event of a streamed message, or a whole plain one: what is read of it."""

from __future__ import annotations

from typing import Final

import msgspec

from farebox.dialects.sse import data_of

NULL: Final = msgspec.Raw(b"null")  # Also stands for an absent member: msgspec has no `Raw | None`.
# Deltas that tell the kind of their block, for servers that do not announce it.
ANNOUNCED: Final = {"thinking_delta": b'{"type":"thinking"}', "text_delta": b'{"type":"text"}'}
_DELTA_LINE = b"event: content_block_delta\ndata: {"
_DATA_AT = len(_DELTA_LINE) - 1


class Delta(msgspec.Struct):
    """What an event adds: to a block, or to the message as it ends."""

    type: str = ""
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    citation: msgspec.Raw = NULL
    stop_reason: str | None = None
    stop_sequence: str | None = None


class Message(msgspec.Struct):
    """A message, whole or as it starts."""

    type: str = ""
    id: str | None = None
    model: str | None = None
    content: list[msgspec.Raw] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: msgspec.Raw = NULL
    error: msgspec.Raw = NULL


class Chunk(msgspec.Struct):
    """An event's data."""

    type: str = ""
    index: int = 0
    delta: Delta | None = None
    content_block: msgspec.Raw = NULL
    message: Message | None = None
    usage: msgspec.Raw = NULL
    error: msgspec.Raw = NULL


class Block(msgspec.Struct):
    """A content block, whole or as it starts."""

    type: str
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = NULL
    citations: list[msgspec.Raw] | None = None
    caller: msgspec.Raw = NULL


decode_chunk = msgspec.json.Decoder(Chunk).decode
decode_message = msgspec.json.Decoder(Message).decode
decode_block = msgspec.json.Decoder(Block).decode


def find_data(event: bytes) -> bytes:
    """The data of one event. Almost all are two lines that begin alike, and need no search."""
    if event.startswith(_DELTA_LINE) and event.find(b"\n", _DATA_AT) == len(event) - 2:
        return event[_DATA_AT:-2]
    return data_of(event)
