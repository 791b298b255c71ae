"""Events → a Responses reply, streamed or plain.

A stream tells the whole life of each item, in order: SDKs build their own copy of the reply from these events, and
break where one is missing. Each part is an item of its own; items may grow side by side.

What an item is called must not change, and a call's signature, which often comes last, rides in its name. So a call
waits until its second piece or its end: providers that sign calls send them in one piece, the others lose a delta's
time. A signature that comes later still has no place left.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from farebox.core.errors import Fault
from farebox.dialects.conversation import (
    Began,
    Event,
    Failed,
    Finished,
    Media,
    Opaque,
    Part,
    PartBegan,
    PartEnded,
    PartGrew,
    Reply,
    Text,
    Thought,
    ToolCall,
    ToolResult,
    fold,
)
from farebox.dialects.dialect import Cost, Head, Names
from farebox.dialects.openai_responses.content import CONTENT
from farebox.dialects.openai_responses.output import (
    DONE,
    IN_PROGRESS,
    annotations_of,
    item_id,
    write_item,
    write_text,
)
from farebox.dialects.openai_responses.response import (
    COMPLETED,
    INCOMPLETE,
    Outline,
    cut_short,
    write_failure,
)
from farebox.dialects.openai_responses.usage import write_usage

_encode = msgspec.json.Encoder().encode
_PREFIX = "resp_"


class _Kind(msgspec.Struct, frozen=True):
    """How the growth of one kind of part is told."""

    event: str  # Its deltas are `event.delta`, their sum `event.done`.
    member: bytes  # Where `done` says the sum.
    place: bytes  # Where in its item it grows; empty for what is an item by itself.
    after: bytes = b""
    part: str | None = None  # `part.added` and `part.done` stand around it.


_CONTENT_PLACE = b',"content_index":0'
_TEXT = _Kind("response.output_text", b"text", _CONTENT_PLACE, b',"logprobs":[]', "response.content_part")
_REFUSAL = _Kind("response.refusal", b"refusal", _CONTENT_PLACE, part="response.content_part")
_SUMMARY = _Kind(
    "response.reasoning_summary_text", b"text", b',"summary_index":0', part="response.reasoning_summary_part"
)
_THOUGHT = _Kind("response.reasoning_text", b"text", _CONTENT_PLACE, part="response.content_part")
_CALL = _Kind("response.function_call_arguments", b"arguments", b"")


class _Growing:
    """An item that is not done."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.kind = _kind_of(part)
        self.name = ""
        self.place = -1  # In the output, once it is announced.
        self.about = b""
        self.before = b""  # Of a delta, its text; empty until the item's part is announced.
        self.after = b""
        self.texts: list[str] = []


class ResponsesWriter:
    """Events written for one caller, streamed or plain as the head says."""

    def __init__(self, head: Head, names: Names) -> None:
        self._stream = head.stream
        self._outline = Outline(head, names)
        self._suffix = names.id.removeprefix(_PREFIX)
        self._events: list[Event] = []  # Of a plain reply.
        self._sequence = 0
        self._growing: dict[int, _Growing] = {}
        self._output: list[bytes | None] = []  # Items that are done, by their place.
        self._refused = False

    def write(self, event: Event, cost: Cost | None = None) -> bytes:
        """Bytes for one event: what it adds to the stream; everything of a plain reply with Finished."""
        if not self._stream:
            self._events.append(event)
            return self._write_reply(fold(self._events), cost) if isinstance(event, Finished) else b""
        match event:
            case PartGrew():
                growing = self._growing.get(event.index)
                if growing is None:
                    return b""
                growing.texts.append(event.text)
                return self._delta(growing, event.text) if growing.before else self._grow_first(growing)
            case PartBegan():
                return self._open() + self._begin(event.index, event.part)
            case PartEnded():
                ending = self._growing.pop(event.index, None)
                return b"" if ending is None else self._end(ending, event)
            case Finished():
                return self._open() + self._finish(event, cost)
            case Began():
                return self._open()
            case Failed():
                return b""

    def fail(self, fault: Fault) -> bytes:
        """An error inside a stream whose head has left."""
        return write_failure(fault, self._outline, self._sequence, self._done())

    def _event(self, name: str, members: bytes) -> bytes:
        self._sequence += 1
        return b'event: %b\ndata: {"type":"%b",%b,"sequence_number":%d}\n\n' % (
            name.encode(),
            name.encode(),
            members,
            self._sequence - 1,
        )

    def _open(self) -> bytes:
        """What every stream begins with."""
        if self._sequence:
            return b""
        response = b'"response":' + self._outline.write(IN_PROGRESS, [])
        return self._event("response.created", response) + self._event("response.in_progress", response)

    def _begin(self, index: int, part: Part) -> bytes:
        if item_id(part, "") is None:
            return b""
        growing = self._growing[index] = _Growing(part)
        self._refused = self._refused or (isinstance(part, Text) and part.refusal)
        text = _text_of(part)
        if text:
            growing.texts.append(text)
        if isinstance(part, ToolCall) and part.signature is None:
            return b""
        out = self._add(growing)
        return out + self._grow_first(growing) if text or isinstance(part, Text) else out

    def _add(self, growing: _Growing) -> bytes:
        """Announce an item."""
        part, place = growing.part, len(self._output)
        self._output.append(None)
        name = growing.name = item_id(part, f"{self._suffix}_{place}") or ""
        growing.place = place
        where = growing.kind.place if growing.kind else b""
        growing.about = b'"item_id":"%b","output_index":%d%b' % (name.encode(), place, where)
        item = write_item(_emptied(part), name, IN_PROGRESS)
        return self._item_event("response.output_item.added", growing, item)

    def _grow_first(self, growing: _Growing) -> bytes:
        """Announce the part of an item that grows now, and all that it grew so far; a call may wait."""
        if growing.place >= 0:
            return self._announce(growing) + self._deltas(growing)
        if len(growing.texts) == 1:
            return b""
        # Calls keep their order, so those that wait before this one wait no longer.
        waiting = [one for one in self._growing.values() if one.place < 0]
        waiting = waiting[: waiting.index(growing) + 1]
        return b"".join([self._add(one) + self._announce(one) + self._deltas(one) for one in waiting])

    def _deltas(self, growing: _Growing) -> bytes:
        return b"".join([self._delta(growing, text) for text in growing.texts])

    def _delta(self, growing: _Growing, text: str) -> bytes:
        self._sequence += 1
        return b"%b%b%b%d}\n\n" % (growing.before, _encode(text), growing.after, self._sequence - 1)

    def _announce(self, growing: _Growing) -> bytes:
        kind, about = growing.kind, growing.about
        assert kind is not None
        name = kind.event.encode()
        growing.before = b'event: %b.delta\ndata: {"type":"%b.delta",%b,"delta":' % (name, name, about)
        growing.after = kind.after + b',"sequence_number":'
        if kind.part is None:
            return b""
        return self._event(f"{kind.part}.added", b'%b,"part":%b' % (about, _write_piece(growing.part, "")))

    def _end(self, growing: _Growing, ended: PartEnded) -> bytes:
        out = b""
        if growing.place < 0:
            # Its name may still say the signature.
            growing.part = _signed(growing.part, ended)
            out = self._add(growing) + self._announce(growing) + self._deltas(growing)
        part = _ended(growing.part, "".join(growing.texts), ended)
        if growing.kind is not None and growing.before:
            out += self._sum_up(growing, growing.kind, part)
        elif growing.kind is _CALL:
            out += self._announce(growing) + self._sum_up(growing, _CALL, part)
        item = self._output[growing.place] = write_item(part, growing.name, DONE)
        return out + self._item_event("response.output_item.done", growing, item)

    def _sum_up(self, growing: _Growing, kind: _Kind, part: Part) -> bytes:
        """What grew, once more in whole."""
        about, text = growing.about, _encode(_text_of(part))
        if isinstance(part, ToolCall):
            whole = b'%b,"arguments":%b,"name":%b' % (about, text, _encode(part.name))
            return self._event("response.function_call_arguments.done", whole)
        out = self._annotate(growing, part) if isinstance(part, Text) else b""
        out += self._event(f"{kind.event}.done", b'%b,"%b":%b%b' % (about, kind.member, text, kind.after))
        piece = write_text(part) if isinstance(part, Text) else _write_piece(part, _text_of(part))
        return out + self._event(f"{kind.part}.done", b'%b,"part":%b' % (about, piece))

    def _annotate(self, growing: _Growing, text: Text) -> bytes:
        """The sources of a text, one by one."""
        form = b'%b,"annotation_index":%d,"annotation":%b'
        return b"".join(
            self._event("response.output_text.annotation.added", form % (growing.about, at, annotation))
            for at, annotation in enumerate(annotations_of(text))
        )

    def _item_event(self, name: str, growing: _Growing, item: bytes) -> bytes:
        return self._event(name, b'"item":%b,"output_index":%d' % (item, growing.place))

    def _done(self) -> list[bytes]:
        return [item for item in self._output if item is not None]

    def _finish(self, event: Finished, cost: Cost | None) -> bytes:
        out = b"".join([self._end(growing, PartEnded(-1)) for growing in self._growing.values()])
        self._growing.clear()
        status, response = self._write_end(event, self._done(), cost, refused=self._refused)
        return out + self._event(f"response.{status}", b'"response":' + response)

    def _write_end(
        self, event: Finished | Reply, output: list[bytes], cost: Cost | None, *, refused: bool
    ) -> tuple[str, bytes]:
        ending = b"" if refused and event.reason == "refusal" else cut_short(event.reason)
        status = INCOMPLETE if ending else COMPLETED
        usage = b"" if event.usage is None else write_usage(event.usage, cost)
        return status, self._outline.write(status, output, ending=ending, usage=usage)

    def _write_reply(self, reply: Reply, cost: Cost | None) -> bytes:
        output: list[bytes] = []
        for part in reply.parts:
            name = item_id(part, f"{self._suffix}_{len(output)}")
            if name is not None:
                output.append(write_item(part, name, DONE))
        refused = any(isinstance(part, Text) and part.refusal for part in reply.parts)
        _, response = self._write_end(reply, output, cost, refused=refused)
        return response


def _kind_of(part: Part) -> _Kind | None:
    match part:
        case Text():
            return _REFUSAL if part.refusal else _TEXT
        case Thought():
            return _THOUGHT if part.member == CONTENT else _SUMMARY
        case ToolCall():
            return _CALL
        case Media() | Opaque() | ToolResult():
            return None  # These come whole.


def _emptied(part: Part) -> Part:
    """A part as it is announced: its words follow."""
    match part:
        case Text() | Thought():
            return replace(part, text="")
        case ToolCall():
            return replace(part, arguments="")
        case Media() | Opaque() | ToolResult():
            return part


def _signed(part: Part, ended: PartEnded) -> Part:
    return replace(part, signature=ended.signature) if isinstance(part, ToolCall) else part


def _ended(part: Part, text: str, ended: PartEnded) -> Part:
    match part:
        case Text():
            return replace(part, text=text, extra=part.extra + ended.extra)
        case Thought(redacted=True):
            return part
        case Thought():
            signature, by = part.signature, part.signed_by
            if ended.signature is not None:
                signature, by = ended.signature, ended.signed_by
            return replace(part, text=text, signature=signature, signed_by=by)
        case ToolCall():
            return replace(part, arguments=text)
        case Media() | Opaque() | ToolResult():
            return part


def _text_of(part: Part) -> str:
    match part:
        case Text() | Thought():
            return part.text
        case ToolCall():
            return part.arguments
        case Media() | Opaque() | ToolResult():
            return ""


def _write_piece(part: Part, text: str) -> bytes:
    """What a part's own events show of it."""
    if isinstance(part, Text):
        return write_text(replace(part, text=text, extra=()))
    kind = b"reasoning_text" if isinstance(part, Thought) and part.member == CONTENT else b"summary_text"
    return b'{"type":"%b","text":%b}' % (kind, _encode(text))
