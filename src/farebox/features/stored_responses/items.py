"""Input items and response objects as JSON: read as far as they must be, the rest stays as it was written."""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from farebox.dialects.splice import UNREADABLE
from farebox.dialects.sse import data_of

_ENDS = frozenset({"response.completed", "response.incomplete"})
_BLANK = re.compile(rb"\n\r?\n")
_MESSAGE = "message"
# How OpenAI begins the ids of items; what is not here is an item like any other.
_PREFIXES = {
    _MESSAGE: "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
}
_STATED = frozenset({"function_call", "function_call_output"})
_NOTHING = msgspec.Raw(b"[]")
_encode = msgspec.json.encode


class _Said(msgspec.Struct):
    """What an item is called, and what it is."""

    id: str | None = None
    type: str | None = None


class Entry(NamedTuple):
    """An item in a list, and what it is called there."""

    id: str
    item: msgspec.Raw


class _Output(msgspec.Struct):
    output: list[msgspec.Raw]


class _Event(msgspec.Struct):
    type: str = ""
    response: msgspec.Raw = msgspec.Raw()


_raws = msgspec.json.Decoder(list[msgspec.Raw])
_said = msgspec.json.Decoder(_Said)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_texts = msgspec.json.Decoder(str)
_outputs = msgspec.json.Decoder(_Output)
_events = msgspec.json.Decoder(_Event)


def read_input(raw: bytes) -> list[msgspec.Raw] | None:
    """The items of an `input`; a text is one message. None if it is neither text nor list."""
    if raw.startswith(b"["):
        return _raws.decode(raw)
    if not raw.startswith(b'"'):
        return None
    return [
        msgspec.Raw(b'{"type":"message","role":"user","content":[{"type":"input_text","text":%b}]}' % raw)
    ]


def read_output(reply: bytes) -> list[msgspec.Raw]:
    """The items of a response object's output."""
    return _outputs.decode(reply).output


def write_items(items: list[msgspec.Raw]) -> bytes:
    """Items as a JSON list."""
    return _encode(items)


def named_items(items: list[msgspec.Raw], call_id: str) -> list[msgspec.Raw]:
    """Items that each have an id: its own, or one made of the call's and its place, which it then keeps for good."""
    return [_named(item, f"{call_id}_i{at}") for at, item in enumerate(items)]


def entries_of(items: list[msgspec.Raw]) -> list[Entry]:
    """Items, each with what it is called in a list, so that a page can begin behind any of them.

    There are providers that call all their items the same, and the result of a local shell has its call's own id; so
    whoever comes second gets a number.
    """
    seen: set[str] = set()
    numbers: dict[str, int] = {}
    entries: list[Entry] = []
    for item in items:
        id_ = own = _said.decode(item).id or "item"
        while id_ in seen:
            numbers[own] = numbers.get(own, 1) + 1
            id_ = f"{own}_{numbers[own]}"
        seen.add(id_)
        entries.append(Entry(id_, item))
    return entries


def listed_item(entry: Entry) -> dict[str, object]:
    """An item in the form OpenAI lists it in: what a caller may leave out or write short is there. (ItemResource.)"""
    members: dict[str, object] = {**_members.decode(entry.item), "id": entry.id}
    kind = _said.decode(entry.item).type or _MESSAGE
    members["type"] = kind
    by_model = kind == _MESSAGE and bytes(_raw(members, "role")) == b'"assistant"'
    if by_model or kind in _STATED:
        members.setdefault("status", "completed")
    if kind == _MESSAGE and bytes(_raw(members, "content")).startswith(b'"'):
        text = _texts.decode(_raw(members, "content"))
        part: dict[str, object] = {"type": "input_text", "text": text}
        if by_model:
            part = {"type": "output_text", "text": text, "annotations": _NOTHING, "logprobs": _NOTHING}
        members["content"] = [part]
    return members


def find_reply(end: bytes, *, stream: bool) -> bytes | None:
    """The response object in the end of an answer: the whole of a plain one, in the last event of a streamed one."""
    if not stream:
        return end if _is_reply(end) else None
    for piece in reversed(_BLANK.split(end)):
        try:
            event = _events.decode(data_of(piece))
        except UNREADABLE:
            continue
        if event.type in _ENDS:
            reply = bytes(event.response)
            return reply if _is_reply(reply) else None
    return None


def _is_reply(data: bytes) -> bool:
    try:
        _outputs.decode(data)
    except UNREADABLE:
        return False
    return True


def _named(item: msgspec.Raw, suffix: str) -> msgspec.Raw:
    said = _said.decode(item)
    if said.id:
        return item
    members: dict[str, object] = {**_members.decode(item)}
    members["id"] = f"{_PREFIXES.get(said.type or _MESSAGE, 'item')}_{suffix}"
    return msgspec.Raw(_encode(members))


def _raw(members: dict[str, object], name: str) -> msgspec.Raw:
    value = members.get(name)
    return value if isinstance(value, msgspec.Raw) else msgspec.Raw()
