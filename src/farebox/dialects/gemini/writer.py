"""Events → a Gemini reply, streamed (as server-sent events or as one JSON array) or plain.

Google sends calls whole, so their arguments are gathered until they end, and until the calls begun before them have:
where clients leave out the ids, order alone says which answer belongs to which call. Another provider's signature goes
out sealed, on the thought it belongs to; the signature of a call or of a text has a place here. The chunk that finishes
holds an empty text, as Google's does: its clients take a chunk without parts for no answer.
"""

from __future__ import annotations

from typing import Final

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
from farebox.dialects.gemini.chunk import REASONS
from farebox.dialects.gemini.frame import Frames, one_line
from farebox.dialects.gemini.part import NAME, SIGNATURE, as_object, write_part, write_signature
from farebox.dialects.gemini.usage import write_usage

_encode = msgspec.json.Encoder().encode
_IN_PARTS: Final = "parts"
_FINISHES: Final[dict[Reason, str]] = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
    "refusal": "SAFETY",
}
_THOUGHT: Final = b',"thought":true'
_EMPTY: Final = b'{"text":""}'


class _Growing:
    """A part that grows: the bytes of its chunks before and after the text, or the text so far of a call."""

    def __init__(self, part: Part, before: bytes = b"", after: bytes = b"") -> None:
        self.part = part
        self.before = before
        self.after = after
        self.gathered: list[str] | None = None
        self.ended: PartEnded | None = None  # Of a call that is whole and waits for its turn.


class GeminiWriter:
    """Events written for one caller, streamed or plain as the head says."""

    def __init__(self, head: Head, names: Names) -> None:
        self._stream = head.stream
        self._names = names
        self._events: list[Event] = []  # Of a plain reply.
        self._frames = Frames(array=head.array)
        self._envelope = b'"modelVersion":%b,"responseId":%b}' % (_encode(names.model), _encode(names.id))
        self._behind = b'}],"role":"model"},"index":0}],' + self._envelope + self._frames.tail
        self._growing: dict[int, _Growing] = {}
        self._calls: list[bytes] = []  # Whole, and kept for the chunk that finishes.
        self._refused = False

    def write(self, event: Event, cost: Cost | None = None) -> bytes:
        """Bytes for one event: chunks or none; everything of a plain reply with Finished."""
        if not self._stream:
            self._events.append(event)
            return write_reply(fold(self._events), self._names, cost) if isinstance(event, Finished) else b""
        match event:
            case PartGrew():
                return self._grow(event)
            case PartBegan():
                kept = b"" if isinstance(event.part, ToolCall) else self._let_go()
                return kept + self._begin(event.index, event.part)
            case PartEnded():
                return self._end(event)
            case Finished():
                return self._finish(event, cost)
            case Began() | Failed():
                return b""

    def fail(self, fault: Fault) -> bytes:
        """An error inside a stream whose head has left."""
        return self._frames.fail(fault, begun=True)

    def _grow(self, event: PartGrew) -> bytes:
        growing = self._growing[event.index]
        if growing.gathered is not None:
            growing.gathered.append(event.text)
            return b""
        text = _encode(event.text)
        if not text.isascii():
            text = one_line(text)
        return self._frames.lead() + growing.before + text + growing.after

    def _chunk(self, part: bytes) -> bytes:
        """A chunk with one part, whose last brace is left out."""
        return self._frames.lead() + b'{"candidates":[{"content":{"parts":[' + part + self._behind

    def _whole(self, part: object) -> bytes:
        return self._chunk(one_line(_encode(part))[:-1])

    def _begin(self, index: int, part: Part) -> bytes:
        match part:
            case Text() | Thought(redacted=False):
                before = b'{"candidates":[{"content":{"parts":[{"text":'
                after = self._behind if isinstance(part, Text) else _THOUGHT + self._behind
                self._growing[index] = _Growing(part, before, after)
                self._refused = self._refused or (isinstance(part, Text) and part.refusal)
                return self._grow(PartGrew(index, part.text)) if part.text else b""
            case ToolCall():
                growing = self._growing[index] = _Growing(part)
                growing.gathered = [part.arguments]
                return b""
            case Thought() | Media():
                return self._whole(write_part(part, {}))
            case Opaque():
                return self._opaque(part)
            case ToolResult():
                raise AssertionError("a reply holds no tool results")

    def _opaque(self, part: Opaque) -> bytes:
        if part.dialect != NAME:
            return b""  # Another dialect's ornament of an answer: there is no word for it here.
        if part.place == _IN_PARTS:
            return self._whole(msgspec.Raw(part.raw))
        form = b'%b{"candidates":[{"content":{"parts":[%b],"role":"model"},"index":0,"%b":%b}],%b%b'
        place, frames = part.place.encode(), self._frames
        return form % (frames.lead(), _EMPTY, place, one_line(part.raw), self._envelope, frames.tail)

    def _end(self, ended: PartEnded) -> bytes:
        growing = self._growing.get(ended.index)
        if growing is None:
            return b""
        part = growing.part
        if isinstance(part, ToolCall):
            growing.ended = growing.ended or ended
            self._keep_calls()
            return b""
        del self._growing[ended.index]
        match part:
            case Text():
                signature, form = ended.signature or part.signature, b'{"text":"","%b":%b'
            case Thought():
                signed = part if ended.signature is None else _signed(part, ended)
                signature, form = write_signature(signed), b'{"text":"","thought":true,"%b":%b'
            case Media() | ToolResult() | Opaque():
                return b""
        return b"" if signature is None else self._chunk(form % (SIGNATURE.encode(), _encode(signature)))

    def _keep_calls(self) -> None:
        """Keep the calls that are whole, as far as those begun before them are.

        Google sends them with the finish, and its Python client of 1.x runs the calls of the last chunk alone.
        """
        for index, growing in list(self._growing.items()):
            if isinstance(growing.part, ToolCall):
                if growing.ended is None:
                    break
                del self._growing[index]
                self._calls.append(_written(growing.part, growing.gathered or [], growing.ended.signature))

    def _let_go(self) -> bytes:
        """The calls that are kept, where something follows them after all."""
        kept, self._calls = self._calls, []
        return self._chunk(b",".join(kept)[:-1]) if kept else b""

    def _finish(self, event: Finished, cost: Cost | None) -> bytes:
        rest = b"".join([self._end(PartEnded(index)) for index in sorted(self._growing)])
        reason = _finish_reason(event.reason, event.native_reason, refused=self._refused).encode()
        usage = b"" if event.usage is None else b'"usageMetadata":%b,' % write_usage(event.usage, cost)
        form = b'%b%b{"candidates":[{"content":{"parts":[%b],"role":"model"},"finishReason":"%b","index":0}],%b%b%b'
        parts = b",".join(self._calls) or _EMPTY
        return form % (rest, self._frames.lead(), parts, reason, usage, self._envelope, self._frames.tail)


def _written(call: ToolCall, gathered: list[str], signature: str | None) -> bytes:
    whole = replace(call, arguments=as_object("".join(gathered)), signature=signature or call.signature)
    return one_line(_encode(write_part(whole, {})))


def _signed(thought: Thought, ended: PartEnded) -> Thought:
    return replace(thought, signature=ended.signature, signed_by=ended.signed_by)


def _finish_reason(reason: Reason, native: str | None, *, refused: bool) -> str:
    """Google's word for an end: the provider's own, where it is one of Google's."""
    if native is not None and REASONS.get(native) == reason:
        return native
    return "STOP" if reason == "refusal" and refused else _FINISHES[reason]


def write_reply(reply: Reply, names: Names, cost: Cost | None) -> bytes:
    """A plain reply."""
    parts: list[object] = []
    candidate: dict[str, object] = {}
    refused = False
    for part in reply.parts:
        match part:
            case Opaque():
                if part.dialect == NAME and part.place == _IN_PARTS:
                    parts.append(msgspec.Raw(part.raw))
                elif part.dialect == NAME:
                    candidate[part.place] = msgspec.Raw(part.raw)
            case ToolCall():
                parts.append(write_part(replace(part, arguments=as_object(part.arguments)), {}))
            case Text() | Thought() | Media() | ToolResult():
                refused = refused or (isinstance(part, Text) and part.refusal)
                parts.append(write_part(part, {}))
    wire: dict[str, object] = {
        "content": {"parts": parts or [msgspec.Raw(_EMPTY)], "role": "model"},
        "finishReason": _finish_reason(reply.reason, reply.native_reason, refused=refused),
        "index": 0,
    }
    whole: dict[str, object] = {"candidates": [wire | candidate]}
    if reply.usage is not None:
        whole["usageMetadata"] = msgspec.Raw(write_usage(reply.usage, cost))
    return _encode(whole | {"modelVersion": names.model, "responseId": names.id})
