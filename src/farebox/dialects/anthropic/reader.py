"""A message, streamed or plain → events.

A stream's blocks have indices, so they may grow interleaved. What a hosted tool did is a block that only this language
has: it is an Opaque, whole once it has stopped. A plain reply is a stream of blocks that came whole. The reply is
`Finished` with `message_stop`, or at the end of a body whose `message_delta` said why it stopped; a body without that
is `Failed`. (Anthropic, "Streaming"; what llama.cpp leaves out is not missed.)
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from farebox.core.errors import Fault, Kind
from farebox.core.usage import Usage
from farebox.dialects.anthropic.block import NAME
from farebox.dialects.anthropic.chunk import (
    ANNOUNCED,
    NULL,
    Block,
    Chunk,
    Delta,
    Message,
    decode_block,
    decode_chunk,
    decode_message,
    find_data,
)
from farebox.dialects.anthropic.usage import Counts
from farebox.dialects.conversation import (
    Began,
    Event,
    Failed,
    Finished,
    Members,
    Opaque,
    Part,
    PartBegan,
    PartEnded,
    PartGrew,
    Reason,
    Text,
    Thought,
    ToolCall,
)
from farebox.dialects.seal import unseal_id
from farebox.dialects.splice import UNREADABLE
from farebox.dialects.sse import Splitter

_CUT = "The model's provider ended its answer before it was whole. Try again."
_ERROR = "The model's provider reported an error in the middle of its answer. Try again."
_GARBLED = "The model's provider sent an answer that cannot be read. Try again."

# Every known word for an end. An unknown one is an end like any other; it stays in `native_reason`.
REASONS: dict[str, Reason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
}
_DIRECT = (b"null", b'{"type":"direct"}')  # A call by the model itself says nothing more.
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_text = msgspec.json.Decoder(str).decode


class _Open:
    """A block that has started."""

    def __init__(self, part: int, kind: str) -> None:
        self.part = part  # Its index among the parts; of an Opaque, not given yet.
        self.kind = kind
        self.signature = ""
        self.call_signature: str | None = None
        self.grown = False
        self.citations: list[bytes] = []
        self.members: dict[str, msgspec.Raw] = {}  # Of an Opaque.
        self.texts: dict[str, list[str]] = {}  # What its members grew by.


class MessageReader:
    """One provider's reply, streamed or plain, read into events."""

    def __init__(self, *, stream: bool) -> None:
        self._splitter = Splitter() if stream else None
        self._body: list[bytes] = []
        self._out: list[Event] = []
        self._began = False
        self._parts = 0
        self._open: dict[int, _Open] = {}
        self._called = False
        self._counts = Counts()
        self._usage: Usage | None = None
        self._finish: str | None = None
        self._stop_sequence: str | None = None
        self._over = False

    def feed(self, data: bytes) -> Sequence[Event]:
        """Events that `data` completes; none before the end of a plain reply."""
        if self._splitter is None:
            self._body.append(data)
            return ()
        try:
            for event in self._splitter.feed(data):
                self._read(find_data(event))
        except (Fault, *UNREADABLE):  # What a first look passed over may still be no text.
            self._fail(_GARBLED)
        out, self._out = self._out, []
        return out

    def end(self) -> Sequence[Event]:
        """The last events; Failed if the reply is not whole."""
        if self._splitter is None:
            self._read_whole(b"".join(self._body))
        elif not self._over:
            rest = self._splitter.flush()
            if rest.lstrip().startswith(b"{"):  # Answered in one piece, though a stream was asked for.
                self._read_whole(rest)
            else:
                self._read_rest(rest)
        if not self._over:
            self._finish_or_fail()
        out, self._out = self._out, []
        return out

    def _read(self, data: bytes) -> None:
        if self._over or not data:
            return
        try:
            chunk = decode_chunk(data)
            # Almost every event is this one.
            if chunk.type == "content_block_delta" and chunk.delta is not None:
                self._grow(chunk.index, chunk.delta)
            else:
                self._take(chunk)
        except UNREADABLE:
            if self._finish is not None:
                self._finish_or_fail()  # It would only have been the end mark.
            elif data.strip():
                self._fail(_GARBLED)

    def _read_rest(self, rest: bytes) -> None:
        """What follows the last blank line: an event without its own, half an event, or a plain reply after all."""
        data = find_data(rest) or rest
        try:
            decode_chunk(data)
        except UNREADABLE:
            return
        self._read(data)

    def _read_whole(self, body: bytes) -> None:
        try:
            body.decode()  # What the decoder passes over, it does not look at.
            message = decode_message(body)
            if (
                message.error != NULL
                or message.content is None
                or (not message.content and not message.stop_reason)
            ):
                self._fail(_GARBLED)
                return
            self._begin(message)
            for at, raw in enumerate(message.content):
                self._start_block(at, raw)
                self._stop_block(at)
        except UNREADABLE:
            self._fail(_GARBLED)
            return
        # The body, at least, is whole, so it has an end whatever it says.
        self._finish = message.stop_reason or ("tool_use" if self._called else "end_turn")
        self._stop_sequence = message.stop_sequence

    def _take(self, chunk: Chunk) -> None:
        if chunk.error != NULL or chunk.type == "error":
            self._fail(_ERROR)
            return
        match chunk.type:
            case "content_block_start":
                self._start_block(chunk.index, chunk.content_block)
            case "content_block_stop":
                self._stop_block(chunk.index)
            case "message_start":
                self._begin(chunk.message or Message())
            case "message_delta":
                self._count(chunk.usage)
                if chunk.delta is not None and chunk.delta.stop_reason:
                    self._finish, self._stop_sequence = chunk.delta.stop_reason, chunk.delta.stop_sequence
            case "message_stop":
                self._finish_or_fail()

    def _begin(self, message: Message) -> None:
        self._count(message.usage)
        if not self._began:
            self._began = True
            self._out.append(Began(message.id or "", message.model or ""))

    def _count(self, raw: msgspec.Raw) -> None:
        if raw != NULL:
            self._usage = self._counts.take(raw) or self._usage

    def _start_block(self, at: int, raw: msgspec.Raw) -> None:
        if not self._began:
            self._begin(Message())
        block = decode_block(raw)
        if at in self._open:
            self._stop_block(at)
        match block.type:
            case "text":
                self._open_part(at, block, Text(""))
                self._add(at, block.text)
                self._open[at].citations += map(_compact, block.citations or ())
            case "thinking":
                self._open_part(at, block, Thought(""))
                self._add(at, block.thinking)
                self._open[at].signature = block.signature or ""
            case "redacted_thinking":
                self._open_part(at, block, Thought("", block.data or "", redacted=True, signed_by=NAME))
            case "tool_use":
                self._start_call(at, block)
            case _:
                opened = self._open[at] = _Open(-1, block.type)
                opened.members = _members(raw)

    def _start_call(self, at: int, block: Block) -> None:
        self._called = True
        call_id, signature = unseal_id(block.id or f"toolu_{self._parts}")
        caller = _compact(block.caller)
        extra: Members = () if caller in _DIRECT else (("caller", caller),)
        self._open_part(at, block, ToolCall(call_id, block.name or "", "", extra=extra))
        self._open[at].call_signature = signature
        arguments = bytes(block.input)
        if arguments not in (b"null", b"{}"):  # The stream starts with an empty one, and sends it in pieces.
            self._add(at, arguments.decode())

    def _open_part(self, at: int, block: Block, part: Part) -> None:
        self._open[at] = _Open(self._parts, block.type)
        self._out.append(PartBegan(self._parts, part))
        self._parts += 1

    def _grow(self, at: int, delta: Delta) -> None:
        opened = self._open.get(at)
        if opened is None:
            if delta.type not in ANNOUNCED:
                self._fail(_GARBLED)
                return
            self._start_block(at, msgspec.Raw(ANNOUNCED[delta.type]))
            opened = self._open[at]
        if opened.part < 0:
            self._grow_opaque(opened, delta)
            return
        text = delta.text or delta.partial_json or delta.thinking
        if text:
            opened.grown = True
            self._out.append(PartGrew(opened.part, text))
        if delta.signature:
            opened.signature += delta.signature
        if delta.citation != NULL:
            opened.citations.append(_compact(delta.citation))

    def _grow_opaque(self, opened: _Open, delta: Delta) -> None:
        """Only a tool's input is known to come in pieces; what another delta adds is in the relay's bytes alone."""
        for member, text in (("input", delta.partial_json), ("text", delta.text)):
            if text:
                opened.texts.setdefault(member, []).append(text)

    def _add(self, at: int, text: str | None) -> None:
        if text:
            self._open[at].grown = True
            self._out.append(PartGrew(self._open[at].part, text))

    def _stop_block(self, at: int) -> None:
        opened = self._open.pop(at, None)
        if opened is None:
            return
        if opened.part < 0:
            self._add_opaque(opened)
        elif opened.kind == "tool_use":
            if not opened.grown:
                self._out.append(PartGrew(opened.part, "{}"))
            self._out.append(PartEnded(opened.part, opened.call_signature))
        elif opened.kind == "thinking" and opened.signature:
            self._out.append(PartEnded(opened.part, opened.signature, NAME))
        elif opened.citations:
            told = (("citations", b"[%b]" % b",".join(opened.citations)),)
            self._out.append(PartEnded(opened.part, extra=told))
        else:
            self._out.append(PartEnded(opened.part))

    def _add_opaque(self, opened: _Open) -> None:
        members = opened.members
        for name, texts in opened.texts.items():
            said = "".join(texts)
            members[name] = msgspec.Raw(said.encode() if name == "input" else msgspec.json.encode(said))
        raw = msgspec.json.format(msgspec.json.encode(members), indent=-1)
        self._out.append(PartBegan(self._parts, Opaque(NAME, opened.kind, "content", raw)))
        self._out.append(PartEnded(self._parts))
        self._parts += 1

    def _finish_or_fail(self) -> None:
        if self._finish is None:
            self._fail(_CUT)
            return
        try:
            for at in sorted(self._open):
                self._stop_block(at)
        except UNREADABLE:  # The input of a hosted tool was no JSON.
            self._fail(_GARBLED)
            return
        self._begin(Message())
        reason = REASONS.get(self._finish, "stop")
        self._out.append(Finished(reason, self._usage, self._finish, self._stop_sequence))
        self._over = True

    def _fail(self, message: str) -> None:
        if not self._over:
            # Before the first part another route may still answer.
            kind = Kind.PROVIDER_CUT if self._parts else Kind.PROVIDER_ERROR
            self._out.append(Failed(Fault(kind, message), self._usage))
            self._over = True


def _compact(raw: msgspec.Raw) -> bytes:
    """JSON in one form, however it was spaced."""
    return msgspec.json.format(raw, indent=-1)
