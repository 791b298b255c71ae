"""A Gemini reply → events, streamed (as server-sent events or as one JSON array) or plain.

A chunk says more of the answer; a text goes on in the next chunk until its signature closes it, which may come with an
empty text. A call comes whole. The chunk with the finish reason may still hold words, and usage stands in it or in a
later one: the reply is `Finished` once both are known, else at the end of the body. A body without a finish is
`Failed`; a prompt that was blocked is an answer without parts. A plain reply is one chunk that came whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

import msgspec

from farebox.core.errors import Fault, Kind
from farebox.core.usage import Usage
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
    Text,
    Thought,
    ToolCall,
)
from farebox.dialects.gemini.array import ArraySplitter
from farebox.dialects.gemini.calls import reply_call_id
from farebox.dialects.gemini.chunk import (
    ABSENT,
    FAILURES,
    REASONS,
    Blob,
    Call,
    Candidate,
    Chunk,
    Piece,
    data_in,
    find_chunk,
    given,
    raw_parts,
)
from farebox.dialects.gemini.part import NAME, SIGNATURE, compact, kind_of, read_signature
from farebox.dialects.gemini.usage import read_usage
from farebox.dialects.splice import UNREADABLE
from farebox.dialects.sse import Splitter

_CUT = "The model's provider ended its answer before it was whole. Try again."
_ERROR = "The model's provider reported an error in the middle of its answer. Try again."
_GARBLED = "The model's provider sent an answer that cannot be read. Try again."
_SEVERAL = "The model's provider sent several answers where one was asked for."
_NO_ANSWER = "The model's call of a tool could not be understood by its own provider. Try again."
_SPACES = b" \t\r\n\xef\xbb\xbf"
# What an open part is: compared by identity, for each chunk asks.
_TEXT, _THOUGHT = Text(""), Thought("")
# What a candidate has beside its content, each with our field for it.
_BESIDE = {
    "groundingMetadata": "grounding_metadata",
    "citationMetadata": "citation_metadata",
    "urlContextMetadata": "url_context_metadata",
    "logprobsResult": "logprobs_result",
}
_beside = attrgetter(*_BESIDE.values())
_NOTHING_BESIDE = (ABSENT,) * len(_BESIDE)


class GeminiReader:
    """One provider's reply read into events."""

    def __init__(self, *, stream: bool) -> None:
        self._stream = stream
        self._body: list[bytes] = []  # All of a plain reply, or what does not tell its form yet.
        self._splitter: Splitter | None = None
        self._array: ArraySplitter | None = None
        self._aligned = True  # Nothing waits in the splitter.
        self._out: list[Event] = []
        self._began = False
        self._id = ""
        self._parts = 0
        self._calls = 0
        self._open: Part | None = None  # The text or thought that is growing.
        self._finish: str | None = None
        self._usage_raw: msgspec.Raw = ABSENT
        self._over = False

    def feed(self, data: bytes) -> Sequence[Event]:
        """Events that `data` completes; none before the end of a plain reply."""
        try:
            if self._splitter is not None:
                self._feed_events(data)
            elif self._array is not None:
                self._feed_elements(data)
            else:
                self._sniff(data)
        except (Fault, *UNREADABLE):  # What a first look passed over may still be no text.
            self._fail(_GARBLED)
        return self._taken()

    def end(self) -> Sequence[Event]:
        """The last events; Failed if the reply is not whole."""
        try:
            self._read_end()
        except (Fault, *UNREADABLE):
            self._fail(_GARBLED)
        if not self._over:
            self._finish_or_fail()
        return self._taken()

    def _read_end(self) -> None:
        if self._splitter is not None:
            rest = data_in(self._splitter.flush())
            chunk = find_chunk(rest) if rest and not self._over else None  # Half an event says nothing.
            if chunk is not None:
                self._take(chunk, rest)
        elif self._array is None:
            self._read_whole(b"".join(self._body))

    def _taken(self) -> Sequence[Event]:
        out, self._out = self._out, []
        return out

    def _sniff(self, data: bytes) -> None:
        """Which form a stream has, told by the first byte that says anything."""
        self._body.append(data)
        if not self._stream or not data.strip(_SPACES):
            return
        begun = b"".join(self._body)
        match begun.lstrip(_SPACES)[:1]:
            case b"[":
                self._array = ArraySplitter()
                self._feed_elements(begun)
            case b"{":
                self._stream = False  # Answered in one piece.
            case _:
                self._splitter = Splitter()
                self._feed_events(begun)

    def _feed_events(self, data: bytes) -> None:
        splitter = self._splitter
        assert splitter is not None
        # The usual piece is one whole event, which needs no splitting.
        whole = self._aligned and data.endswith(b"\r\n\r\n") and data.find(b"\n") == len(data) - 3
        for event in (data,) if whole else splitter.feed(data):
            if self._over:
                return
            text = data_in(event)
            if text:
                self._read(text)
        self._aligned = whole or data.endswith((b"\n\n", b"\n\r\n"))

    def _feed_elements(self, data: bytes) -> None:
        array = self._array
        assert array is not None
        for element in array.feed(data):
            if not self._over:
                self._read(element)

    def _read(self, data: bytes) -> None:
        chunk = find_chunk(data)
        if chunk is None and self._finish is None:
            self._fail(_GARBLED)
        elif chunk is None:
            self._finish_or_fail()  # It would only have been usage.
        else:
            self._take(chunk, data)

    def _read_whole(self, body: bytes) -> None:
        """A plain reply, which some write as an array of its chunks."""
        text = body.strip(_SPACES)
        pieces = [text]
        if text.startswith(b"["):
            try:
                pieces = [bytes(raw) for raw in msgspec.json.decode(text, type=list[msgspec.Raw])]
            except UNREADABLE:
                self._fail(_GARBLED)
        for piece in pieces:
            if not self._over and piece:
                self._read(piece)

    def _take(self, chunk: Chunk, data: bytes) -> None:
        if not self._began:
            self._began = True
            self._id = chunk.response_id or ""
            self._out.append(Began(self._id, chunk.model_version or ""))
        if given(chunk.error):
            self._fail(_ERROR)
            return
        if given(chunk.usage_metadata):
            self._usage_raw = chunk.usage_metadata
        candidates = chunk.candidates
        if candidates:
            if len(candidates) > 1 or candidates[0].index:
                self._fail(_SEVERAL)
                return
            self._hear(candidates[0], data)
        feedback = chunk.prompt_feedback
        if feedback is not None and feedback.block_reason and not candidates:
            self._finish = self._finish or feedback.block_reason
        if self._finish is not None and not self._over and self._usage() is not None:
            self._finish_or_fail()

    def _hear(self, candidate: Candidate, data: bytes) -> None:
        pieces = candidate.content.parts if candidate.content is not None else None
        for at, piece in enumerate(pieces or ()):
            text = piece.text
            if text is not None and piece.function_call is None:
                self._grow(_THOUGHT if piece.thought else _TEXT, text, piece.thought_signature)
            else:
                self._hear_rest(piece, at, data)
        beside = _beside(candidate)
        if beside != _NOTHING_BESIDE:
            for name, raw in zip(_BESIDE, beside, strict=True):
                if given(raw):
                    self._add(Opaque(NAME, name, name, bytes(raw)))
        if candidate.finish_reason in FAILURES:
            self._fail(_NO_ANSWER)
        elif candidate.finish_reason:
            self._finish = candidate.finish_reason

    def _grow(self, part: Part, text: str, signature: str | None) -> None:
        if self._open is not part:
            if not text and signature is None:
                return
            self._begin(part)
        if text:
            self._out.append(PartGrew(self._parts - 1, text))
        if signature is not None:
            signed_by = None
            if part is _THOUGHT:
                signature, signed_by = read_signature(signature)
            self._end_open(signature, signed_by)

    def _hear_rest(self, piece: Piece, at: int, data: bytes) -> None:
        if piece.function_call is not None:
            self._hear_call(piece.function_call, piece.thought_signature)
        elif piece.thought and piece.inline_data is None and piece.thought_signature is not None:
            signature, signed_by = read_signature(piece.thought_signature)
            self._add(Thought("", signature, redacted=True, signed_by=signed_by))
        elif (media := piece.inline_data or piece.file_data) is not None and not piece.thought:
            self._add(_media(media, piece.thought_signature))
        else:
            self._hear_unknown(raw_parts(data)[at])

    def _hear_call(self, call: Call, signature: str | None) -> None:
        try:
            arguments = compact(call.args) if given(call.args) else "{}"
        except UNREADABLE:
            self._fail(_GARBLED)
            return
        name = call.name or ""
        call_id = call.id or reply_call_id(self._id, self._calls, name + arguments)
        self._calls += 1
        # Signed from its first event: a caller's language may have no place for a signature but the call's id, and an
        # id that has been said does not change.
        self._begin(ToolCall(call_id, name, "", signature))
        self._out.append(PartGrew(self._parts - 1, arguments))
        self._end_open()

    def _hear_unknown(self, raw: msgspec.Raw) -> None:
        names = list(msgspec.json.decode(raw, type=dict[str, msgspec.Raw]))
        if names:
            self._add(Opaque(NAME, names[0], "parts", bytes(raw)))

    def _begin(self, part: Part) -> None:
        self._end_open()
        self._open = part
        self._out.append(PartBegan(self._parts, part))
        self._parts += 1

    def _add(self, part: Part) -> None:
        """A part that comes whole."""
        self._begin(part)
        self._end_open()

    def _end_open(self, signature: str | None = None, signed_by: str | None = None) -> None:
        if self._open is not None:
            self._open = None
            self._out.append(PartEnded(self._parts - 1, signature, signed_by))

    def _usage(self) -> Usage | None:
        return read_usage(self._usage_raw) if given(self._usage_raw) else None

    def _finish_or_fail(self) -> None:
        if self._finish is None:
            self._fail(_CUT)
            return
        self._end_open()
        native = self._finish
        reason = REASONS.get(native, "stop")
        if reason == "stop" and self._calls:
            reason = "tool_calls"
        self._out.append(Finished(reason, self._usage(), native))
        self._over = True

    def _fail(self, message: str) -> None:
        if not self._over:
            # Before the first part another route may still answer.
            kind = Kind.PROVIDER_CUT if self._parts else Kind.PROVIDER_ERROR
            self._out.append(Failed(Fault(kind, message), self._usage()))
            self._over = True


def _media(blob: Blob, signature: str | None) -> Media:
    extra: Members = () if signature is None else ((SIGNATURE, msgspec.json.encode(signature)),)
    return Media(
        kind_of(blob.mime_type), url=blob.file_uri, data=blob.data, media_type=blob.mime_type, extra=extra
    )
