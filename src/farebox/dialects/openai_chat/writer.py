"""Events → a chat completion, streamed or plain, in exactly OpenAI's form.

What other languages have and OpenAI's documents lack is said in the words its compatible providers use: reasoning as
`reasoning_content`, its signature in `reasoning_details` (with the whole text, so that a client which echoes them
echoes enough), images in `images`, the signature of a tool call in `extra_content`.
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
    Reason,
    Reply,
    Text,
    Thought,
    ToolCall,
    ToolResult,
    fold,
)
from farebox.dialects.dialect import Cost, Head, Names
from farebox.dialects.openai_chat.failure import write_failure
from farebox.dialects.openai_chat.message import write_call, write_part, write_signature
from farebox.dialects.openai_chat.thought import DETAILS, NAME, write_detail
from farebox.dialects.openai_chat.usage import write_usage
from farebox.dialects.seal import seal_id

_encode = msgspec.json.Encoder().encode
# Members of a message that are lists; any other that is opaque is said whole.
_LISTS = frozenset({"annotations", "content", "images", "tool_calls", DETAILS})


class _Growing:
    """A part that grows: the bytes of its deltas before and after the text, and what its end needs."""

    def __init__(self, part: Part, before: bytes, after: bytes = b"") -> None:
        self.part = part
        self.before = before
        self.after = after
        self.thought: list[str] | None = [part.text] if isinstance(part, Thought) else None


class ChatWriter:
    """Events written for one caller, streamed or plain as the head says."""

    def __init__(self, head: Head, names: Names) -> None:
        self._stream = head.stream
        self._wants_usage = head.wants_usage
        self._names = names
        self._events: list[Event] = []  # Of a plain reply.
        self._envelope = b'"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b' % (
            _encode(names.id),
            names.created_s,
            _encode(names.model),
        )
        self._start = b'data: {%b,"choices":[{"index":0,"delta":{' % self._envelope
        self._tail = b',"usage":null}\n\n' if head.wants_usage else b"}\n\n"
        self._stop = b'},"finish_reason":null}]' + self._tail
        self._growing: dict[int, _Growing] = {}
        self._role_said = False
        self._refused = False
        self._calls = 0

    def write(self, event: Event, cost: Cost | None = None) -> bytes:
        """Bytes for one event: a chunk or none; everything of a plain reply with Finished."""
        if not self._stream:
            self._events.append(event)
            return write_reply(fold(self._events), self._names, cost) if isinstance(event, Finished) else b""
        match event:
            case PartGrew():
                growing = self._growing[event.index]
                if growing.thought is not None:
                    growing.thought.append(event.text)
                return self._delta(growing.before + _encode(event.text) + growing.after)
            case PartBegan():
                return self._begin(event.index, event.part)
            case PartEnded():
                return self._end(event)
            case Finished():
                return self._finish(event, cost)
            case Began() | Failed():
                return b""

    def fail(self, fault: Fault) -> bytes:
        """An error inside a stream whose head has left."""
        return write_failure(fault, self._names)

    def _delta(self, members: bytes) -> bytes:
        if self._role_said:
            return self._start + members + self._stop
        self._role_said = True
        content = b"" if members.startswith(b'"content"') else b'"content":null,'
        return b'%b"role":"assistant",%b%b%b' % (self._start, content, members, self._stop)

    def _begin(self, index: int, part: Part) -> bytes:
        match part:
            case Text():
                self._refused = self._refused or part.refusal
                return self._grow(
                    index, _Growing(part, b'"refusal":' if part.refusal else b'"content":'), part.text
                )
            case Thought(redacted=True):
                return self._delta(b'"reasoning_details":[%b]' % _line(write_detail(part)))
            case Thought():
                return self._grow(index, _Growing(part, b'"reasoning_content":'), part.text)
            case ToolCall():
                before = b'"tool_calls":[{"index":%d,"function":{"arguments":' % self._calls
                self._growing[index] = _Growing(part, before, b"}}]")
                call = {"index": self._calls} | write_call(_sealed(part))
                self._calls += 1
                return self._delta(b'"tool_calls":[%b]' % _line(call))
            case Media():
                return self._delta(b'"images":[%b]' % _line(write_part(part)))
            case Opaque(dialect="openai_chat"):
                form = b'"%b":[%b]' if part.place in _LISTS else b'"%b":%b'
                return self._delta(form % (part.place.encode(), _line(msgspec.Raw(part.raw))))
            case Opaque():
                return b""  # Another dialect's ornament of an answer, a citation say: there is no word for it here.
            case ToolResult():
                raise AssertionError("a reply holds no tool results")

    def _grow(self, index: int, growing: _Growing, text: str) -> bytes:
        self._growing[index] = growing
        return self._delta(growing.before + _encode(text) + growing.after) if text else b""

    def _end(self, ended: PartEnded) -> bytes:
        growing = self._growing.get(ended.index)
        if growing is None or ended.signature is None:
            return b""
        match growing.part:
            case Thought():
                text = "".join(growing.thought or ())
                signed = replace(
                    growing.part, text=text, signature=ended.signature, signed_by=ended.signed_by
                )
                return self._delta(b'"reasoning_details":[%b]' % _line(write_detail(signed)))
            case ToolCall():
                place = growing.before.partition(b',"function"')[0]
                return self._delta(b"%b,%b]" % (place, _encode(write_signature(ended.signature))[1:]))
            case Text() | Media() | ToolResult() | Opaque():
                return b""

    def _finish(self, event: Finished, cost: Cost | None) -> bytes:
        empty = b"" if self._role_said else b'"role":"assistant","content":""'
        reason = _finish_reason(event.reason, refused=self._refused)
        out = b'%b%b},"finish_reason":"%b"}]%b' % (self._start, empty, reason.encode(), self._tail)
        if event.usage is None or not self._wants_usage:
            return out
        return out + b'data: {%b,"choices":[],"usage":%b}\n\n' % (
            self._envelope,
            write_usage(event.usage, cost),
        )


def _sealed(call: ToolCall) -> ToolCall:
    """A call whose id carries its signature: most clients drop the member that has a place for it."""
    return call if call.signature is None else replace(call, id=seal_id(call.id, call.signature))


def _line(value: object) -> bytes:
    """JSON on one line: what goes home as written may hold line ends, and one would end the event's data."""
    text = _encode(value)
    return msgspec.json.format(text, indent=-1) if b"\n" in text or b"\r" in text else text


def _finish_reason(reason: Reason, *, refused: bool) -> str:
    if reason == "refusal":
        return "stop" if refused else "content_filter"
    return reason


def write_reply(reply: Reply, names: Names, cost: Cost | None) -> bytes:
    """A plain chat completion."""
    texts = [part for part in reply.parts if isinstance(part, Text)]
    refusals = [part.text for part in texts if part.refusal]
    thoughts = [part for part in reply.parts if isinstance(part, Thought)]
    calls = [write_call(_sealed(part)) for part in reply.parts if isinstance(part, ToolCall)]
    content = "".join(part.text for part in texts if not part.refusal)
    message: dict[str, object] = {
        "role": "assistant",
        "content": content or (None if refusals or calls else ""),
        "refusal": "".join(refusals) or None,
        "annotations": [],
    }
    if any(thought.text for thought in thoughts):
        message["reasoning_content"] = "".join(thought.text for thought in thoughts)
    if any(thought.signature for thought in thoughts):
        message[DETAILS] = [write_detail(thought) for thought in thoughts]
    if calls:
        message["tool_calls"] = calls
    _write_rest(message, reply.parts)
    finish = _finish_reason(reply.reason, refused=bool(refusals))
    wire: dict[str, object] = {
        "id": names.id,
        "object": "chat.completion",
        "created": names.created_s,
        "model": names.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
    }
    if reply.usage is not None:
        wire["usage"] = msgspec.Raw(write_usage(reply.usage, cost))
    return _encode(wire)


def _write_rest(message: dict[str, object], parts: tuple[Part, ...]) -> None:
    """Put in what a message has beside words, thoughts and calls."""
    images = [write_part(part) for part in parts if isinstance(part, Media)]
    if images:
        message["images"] = images
    lists: dict[str, list[msgspec.Raw]] = {}
    for part in parts:
        if not isinstance(part, Opaque) or part.dialect != NAME:
            continue
        if part.place in _LISTS:
            lists.setdefault(part.place, []).append(msgspec.Raw(part.raw))
        else:
            message[part.place] = msgspec.Raw(part.raw)
    for place, raws in lists.items():
        told = message.get(place) or []
        before = told if isinstance(told, list) else [{"type": "text", "text": told}]
        message[place] = [*before, *raws]
