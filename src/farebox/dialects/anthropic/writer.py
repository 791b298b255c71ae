"""Events → a message, streamed or plain, in exactly Anthropic's form.

Blocks of a stream come one after another here, so one part at a time is written as it grows, and what begins meanwhile
waits. A tool call waits besides until it grows a second time: a signature, which must go into the id at its very
beginning, comes at the end of a call, but providers that sign calls send them whole.

A refusal is said in words. Images, and what other languages add to an answer, have no word here and are left out.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from farebox.core.errors import Fault
from farebox.core.usage import Usage
from farebox.dialects.anthropic.block import NAME, signed, write_block, write_call, write_thought
from farebox.dialects.anthropic.failure import write_failure
from farebox.dialects.anthropic.reader import REASONS
from farebox.dialects.anthropic.usage import write_usage
from farebox.dialects.conversation import (
    Began,
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
    Reason,
    Reply,
    Text,
    Thought,
    ToolCall,
    ToolResult,
    fold,
)
from farebox.dialects.dialect import Cost, Head, Names
from farebox.dialects.splice import UNREADABLE

_encode = msgspec.json.Encoder().encode
_WORDS: dict[Reason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
}
_NOTHING = Usage()
_CITATIONS = "citations"


class _Citation(msgspec.Struct):
    """The least that makes a citation one of Anthropic's."""

    type: str
    cited_text: str


_raws = msgspec.json.Decoder(list[msgspec.Raw])
_citation = msgspec.json.Decoder(_Citation)


class _Waiting:
    """A part that is not written yet, or not whole."""

    def __init__(self, index: int, part: Part) -> None:
        self.index = index
        self.part = part
        self.texts: list[str] = []
        self.ended: PartEnded | None = None

    @property
    def ripe(self) -> bool:
        """Whether it may be written as it grows."""
        return len(self.texts) > 1 or not isinstance(self.part, ToolCall)


class MessageWriter:
    """Events written for one caller, streamed or plain as the head says."""

    def __init__(self, head: Head, names: Names) -> None:
        self._stream = head.stream
        self._names = names
        self._events: list[Event] = []  # Of a plain reply.
        self._started = False
        self._blocks = 0
        self._live = -1  # The part that is written as it grows.
        self._before = b""  # Its deltas, up to the text.
        self._waiting: dict[int, _Waiting] = {}

    def write(self, event: Event, cost: Cost | None = None) -> bytes:
        """Bytes for one event; everything of a plain reply with Finished."""
        if not self._stream:
            self._events.append(event)
            return write_reply(fold(self._events), self._names, cost) if isinstance(event, Finished) else b""
        match event:
            case PartGrew():
                if event.index == self._live:
                    return b"%b%b}}\n\n" % (self._before, _encode(event.text))
                return self._keep(event)
            case PartBegan():
                return self._start() + self._begin(event)
            case PartEnded():
                return self._end(event)
            case Finished():
                return self._finish(event, cost)
            case Began():
                return self._start()
            case Failed():
                return b""

    def fail(self, fault: Fault) -> bytes:
        """An error inside a stream whose head has left."""
        return write_failure(fault, self._names.id)

    def _start(self) -> bytes:
        """The beginning of the message; nobody knows its usage yet."""
        if self._started:
            return b""
        self._started = True
        message = _message(self._names, [], None, None, write_usage(_NOTHING, None))
        return b'event: message_start\ndata: {"type":"message_start","message":%b}\n\n' % _encode(message)

    def _begin(self, event: PartBegan) -> bytes:
        waiting = self._waiting[event.index] = _Waiting(event.index, event.part)
        text = _text_of(event.part)
        if text:
            waiting.texts.append(text)
        return self._next() if self._live < 0 else b""

    def _keep(self, event: PartGrew) -> bytes:
        waiting = self._waiting.get(event.index)
        if waiting is None:
            return b""  # What has no word here does not grow either.
        waiting.texts.append(event.text)
        return self._next() if self._live < 0 else b""

    def _end(self, event: PartEnded) -> bytes:
        waiting = self._waiting.get(event.index)
        if waiting is None:
            return b""
        waiting.ended = event
        if self._live == event.index:
            return self._stop(waiting) + self._next()
        return self._next() if self._live < 0 else b""

    def _next(self) -> bytes:
        """Whatever may be written now, in the order in which the parts began."""
        out: list[bytes] = []
        for waiting in list(self._waiting.values()):
            if waiting.ended is None and not waiting.ripe:
                break
            out.append(self._open(waiting))
            if waiting.ended is None:
                break
            out.append(self._stop(waiting))
        return b"".join(out)

    def _open(self, waiting: _Waiting) -> bytes:
        """The start of a block, and what it has grown to so far."""
        started = _start_of(waiting)
        if started is None:
            return b""
        block, delta = started
        self._live = waiting.index
        self._before = (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{%b'
            % (self._blocks, delta)
        )
        out = (
            b'event: content_block_start\ndata: {"type":"content_block_start","index":%d,"content_block":%b}\n\n'
            % (
                self._blocks,
                _line(block),
            )
        )
        text = "".join(waiting.texts)
        waiting.texts.clear()
        return b"%b%b%b}}\n\n" % (out, self._before, _encode(text)) if text else out

    def _stop(self, waiting: _Waiting) -> bytes:
        """The end of a block, with what is known only now."""
        del self._waiting[waiting.index]
        if self._live != waiting.index:
            return b""
        ended = waiting.ended
        assert ended is not None
        start = (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":'
            % self._blocks
        )
        out: list[bytes] = []
        if isinstance(waiting.part, Thought) and not waiting.part.redacted:
            signature = signed(ended.signature, ended.signed_by)
            if signature:
                out.append(b'%b{"type":"signature_delta","signature":%b}}\n\n' % (start, _encode(signature)))
        elif isinstance(waiting.part, Text):
            out += [
                b'%b{"type":"citations_delta","citation":%b}}\n\n' % (start, _line(raw))
                for raw in _citations((*waiting.part.extra, *ended.extra))
            ]
        out.append(
            b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % self._blocks
        )
        self._blocks += 1
        self._live = -1
        return b"".join(out)

    def _finish(self, event: Finished, cost: Cost | None) -> bytes:
        out = [self._start()]
        for waiting in self._waiting.values():  # Nobody ended them, and nobody will.
            waiting.ended = waiting.ended or PartEnded(waiting.index)
        if self._live >= 0:
            out.append(self._stop(self._waiting[self._live]))
        out.append(self._next())
        delta = b'{"stop_reason":%b,"stop_sequence":%b,"stop_details":null}' % (
            _encode(_stop_reason(event.reason, event.native_reason, event.stop_sequence)),
            _encode(event.stop_sequence),
        )
        out.append(
            b'event: message_delta\ndata: {"type":"message_delta","delta":%b,"usage":%b}\n\n'
            % (delta, write_usage(event.usage or _NOTHING, cost))
        )
        return b"".join(out)


def write_reply(reply: Reply, names: Names, cost: Cost | None) -> bytes:
    """A plain message."""
    content = [block for part in reply.parts if (block := _whole(part)) is not None]
    reason = _stop_reason(reply.reason, reply.native_reason, reply.stop_sequence)
    usage = write_usage(reply.usage or _NOTHING, cost)
    return _encode(_message(names, content, reason, reply.stop_sequence, usage))


def _message(
    names: Names, content: list[object], reason: str | None, sequence: str | None, usage: bytes
) -> dict[str, object]:
    return {
        "id": names.id,
        "type": "message",
        "role": "assistant",
        "model": names.model,
        "content": content,
        "stop_reason": reason,
        "stop_sequence": sequence,
        "stop_details": None,
        "usage": msgspec.Raw(usage),
    }


def _stop_reason(reason: Reason, native: str | None, sequence: str | None) -> str:
    """Anthropic's own word where the provider said it, else the one for ours."""
    if native is not None and REASONS.get(native) == reason:
        return native
    return "stop_sequence" if reason == "stop" and sequence is not None else _WORDS[reason]


def _text_of(part: Part) -> str:
    match part:
        case Text() | Thought():
            return part.text
        case ToolCall():
            return part.arguments
        case Media() | ToolResult() | Opaque():
            return ""


def _start_of(waiting: _Waiting) -> tuple[object, bytes] | None:
    """A block as it starts, and its deltas up to the text; None where this language has no word for the part."""
    part = waiting.part
    match part:
        case Text():
            return {"type": "text", "text": ""}, b'"type":"text_delta","text":'
        case Thought(redacted=True):
            return write_thought(replace(part, extra=())), b""
        case Thought():
            start = {"type": "thinking", "thinking": "", "signature": ""}
            return start, b'"type":"thinking_delta","thinking":'
        case ToolCall():
            signature = waiting.ended.signature if waiting.ended else None
            call = replace(part, arguments="", signature=part.signature or signature)
            return _call(call), b'"type":"input_json_delta","partial_json":'
        case Opaque() if part.dialect == NAME:
            return msgspec.Raw(part.raw), b""
        case Media() | ToolResult() | Opaque():
            return None


def _whole(part: Part) -> object | None:
    """A block of a plain message; None where this language has no word for the part."""
    match part:
        case Text():
            citations = list(_citations(part.extra))
            wire: dict[str, object] = {"type": "text", "text": part.text}
            return wire | {_CITATIONS: citations} if citations else wire
        case Thought():
            return write_thought(replace(part, extra=()))
        case ToolCall():
            return _call(part)
        case Opaque() if part.dialect == NAME:
            return write_block(part)
        case Media() | ToolResult() | Opaque():
            return None


def _call(call: ToolCall) -> dict[str, object]:
    callers = {name: msgspec.Raw(raw) for name, raw in call.extra if name == "caller"}
    return write_call(call) | callers


def _citations(extra: Members) -> list[msgspec.Raw]:
    """Citations in Anthropic's form; another language's have other members."""
    for name, raw in extra:
        if name == _CITATIONS:
            try:
                found = _raws.decode(raw)
                for one in found:
                    _citation.decode(one)
            except UNREADABLE:
                return []
            return found
    return []


def _line(value: object) -> bytes:
    """JSON on one line: what goes home as written may hold line ends, and one would end the event's data."""
    text = _encode(value)
    return msgspec.json.format(text, indent=-1) if b"\n" in text or b"\r" in text else text
