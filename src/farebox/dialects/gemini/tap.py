"""The tap of a relayed Gemini reply: what each event means, and the declared splices.

How it stays cheap. Almost every event of a stream is the one before with other words and other counts in it. So an
event that was decoded becomes a form: the bytes before the words, those between words and usage, a pattern of the
usage that leaves its numbers open, and the bytes behind. The next event that fits is known to be content, valid and
harmless, without being decoded; its id and model, which stand behind, are replaced with the bytes behind. Anything
else is decoded, laid out member by member, and spliced where the members stand.

A caller who wants one JSON array gets the same objects as its elements. There the first element opens the array, so
events without content are withheld until one has content.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from farebox.core.errors import Fault, Kind
from farebox.core.usage import Usage
from farebox.dialects.dialect import Cost, Head, Mark, Names
from farebox.dialects.gemini.chunk import ABSENT, Chunk, Piece, data_in, find_chunk, given, raw_parts
from farebox.dialects.gemini.frame import DATA, END, Frames
from farebox.dialects.gemini.usage import cost_members, read_usage, write_usage
from farebox.dialects.splice import UNREADABLE, Layout, lay_out

_ID, _MODEL, _USAGE = "responseId", "modelVersion", "usageMetadata"
_WORDS = re.compile(rb'"text": ?"')
_STRING_REST = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*')
_COUNT = re.compile(rb"(:(?:\\ )?)\d+")  # As `re.escape` leaves it.
_text = msgspec.json.Decoder(str)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Form(NamedTuple):
    """What an event is but for its words and its counts."""

    before: bytes
    between: bytes  # From the words to the usage, or to the end.
    counts: re.Pattern[bytes] | None  # None: it says no usage.
    behind: bytes
    new_behind: bytes  # With our id and model.


_NO_FORM = _Form(b"\0", b"\0", None, b"\0", b"\0")  # Which no event has.


class GeminiTap:
    """Watches one relayed reply."""

    def __init__(self, head: Head, names: Names) -> None:
        self.fault: Fault | None = None
        self.finished = False
        self.finish_reason: str | None = None
        self.events = 0
        self.delivered_bytes = 0
        self._array = head.array
        self._frames = Frames(array=head.array)
        self._choices = head.choices
        self._choices_finished: set[int] = set()
        self._names_written = {_MODEL: msgspec.json.encode(names.model), _ID: msgspec.json.encode(names.id)}
        self._usage: Usage | None = None
        self._unread = b""  # The usage seen last, if nobody has asked for it yet.
        self._form = _NO_FORM
        self._seen = b""  # The event seen last, and its layout, if it was decoded.
        self._layout: Layout | None = None

    @property
    def usage(self) -> Usage | None:
        """The last usage that made sense. Every event has one, and only the last is read."""
        if self._unread:
            self._usage, self._unread = read_usage(self._unread) or self._usage, b""
        return self._usage

    @usage.setter
    def usage(self, usage: Usage | None) -> None:
        self._usage, self._unread = usage, b""

    def see(self, event: bytes) -> Mark:
        """Classify one whole event."""
        before, between, counts, behind, _ = self._form
        if event.startswith(before) and event.endswith(behind):
            start, tail = len(before), len(event) - len(behind)
            end = event.find(between, start, tail)
            told = end + len(between)
            if end > start and (told == tail if counts is None else counts.fullmatch(event, told, tail)):
                size = _size(event[start:end])
                if size:
                    self.events += 1
                    self.delivered_bytes += size
                    self._unread = event[told:tail] if counts else self._unread
                    self._seen, self._layout = event, None
                    return Mark.CONTENT
        return self._see_slowly(event)

    def _see_slowly(self, event: bytes) -> Mark:
        data = data_in(event)
        if not data:
            return Mark.EMPTY
        chunk = find_chunk(data) if _is_text(data) else None
        layout = None if chunk is None else _lay_out(event, data)
        if chunk is None or layout is None:
            if self.finished:
                return Mark.DONE  # It would only have been usage.
            self.fault = _broken()
            return Mark.FAULT
        self._seen, self._layout = event, layout
        if given(chunk.usage_metadata):
            self._take_usage(bytes(chunk.usage_metadata))
        if given(chunk.error):
            self.fault = _broken()
            return Mark.FAULT
        return self._mark(chunk, data, event)

    def _take_usage(self, raw: bytes) -> None:
        self._usage, self._unread = read_usage(raw) or self._usage, b""

    def _mark(self, chunk: Chunk, data: bytes, event: bytes) -> Mark:
        candidates = chunk.candidates or []
        size = _content_bytes(chunk, data)
        if size:
            self.events += 1
            self.delivered_bytes += size
        finished = [candidate for candidate in candidates if candidate.finish_reason]
        blocked = chunk.prompt_feedback.block_reason if chunk.prompt_feedback and not candidates else None
        if finished or blocked:
            self.finish_reason = finished[-1].finish_reason if finished else blocked
            self._choices_finished |= {candidate.index or 0 for candidate in finished}
            self.finished = bool(blocked) or len(self._choices_finished) >= self._choices
            return Mark.FINISH
        if size:
            self._learn(event)
            return Mark.CONTENT
        return Mark.USAGE if not candidates and given(chunk.usage_metadata) else Mark.EMPTY

    def _learn(self, event: bytes) -> None:
        """Make the form of an event with words in it, if its id and model stand behind them and its usage."""
        layout = self._layout
        found = [match.end() for match in _WORDS.finditer(event)]
        if layout is None or layout.text is not event or not event.startswith(DATA) or len(found) != 1:
            return
        start = found[0]
        rest = _STRING_REST.match(event, start)
        assert rest is not None
        usage = layout.value(_USAGE)
        at = event.find(usage, rest.end()) if usage else -1
        if usage and (at < 0 or b'"text"' in usage):
            return
        behind = at + len(usage) if usage else rest.end() + 1
        if not self._names_written.keys() <= layout.members.keys():
            return
        new = layout.replaced(self._names_written)
        # The names stand behind exactly if nothing before them was changed.
        if new[:behind] != event[:behind]:
            return
        counts = re.compile(_COUNT.sub(rb"\1(?:0|[1-9]\\d*)", re.escape(usage))) if usage else None
        self._form = _Form(
            event[:start],
            event[rest.end() : at] if usage else event[rest.end() : behind],
            counts,
            event[behind:],
            new[behind:],
        )

    def splice(self, event: bytes, cost: Cost | None) -> bytes:
        """The event as the caller gets it; empty where it is withheld."""
        if event is self._seen and self._layout is None and cost is None:
            form = self._form
            spliced = event[: len(event) - len(form.behind)] + form.new_behind
            return self._frames.lead() + spliced[len(DATA) :].rstrip() if self._array else spliced
        layout = self._layout
        if layout is None or event is not self._seen:
            data = data_in(event)
            layout = _lay_out(event, data) if data.startswith(b"{") else None
        if layout is None or (self._array and not self.events and cost is None):
            return b""
        return self._framed(layout, self._spliced(layout, cost))

    def _spliced(self, layout: Layout, cost: Cost | None) -> bytes:
        members = layout.members
        told = "candidates" in members
        news = {name: new for name, new in self._names_written.items() if told or name in members}
        if cost is not None and (told or _USAGE in members or "promptFeedback" in members):
            news[_USAGE] = self._shown(layout.value(_USAGE), cost)
        return layout.replaced(news)

    def _framed(self, layout: Layout, spliced: bytes) -> bytes:
        """One line of data, as Google's clients want it, or an element."""
        data = spliced[layout.start : len(spliced) - (len(layout.text) - layout.end)].strip()
        if self._array:
            return self._frames.lead() + data
        lines = spliced.count(b"\n")
        if spliced.startswith(DATA) and lines == 2:  # noqa: PLR2004 -- the line's own end, and the blank one
            return spliced
        return DATA + (msgspec.json.format(data, indent=-1) if b"\n" in data else data) + END

    def whole(self, body: bytes) -> bool:
        """Take in a plain reply; False if it is none, or an error in the clothes of one."""
        chunk = find_chunk(body) if _is_text(body) else None
        if chunk is None or given(chunk.error):
            return False
        if given(chunk.usage_metadata):
            self._take_usage(bytes(chunk.usage_metadata))
        candidates = chunk.candidates or []
        blocked = chunk.prompt_feedback.block_reason if chunk.prompt_feedback and not candidates else None
        reasons = [candidate.finish_reason for candidate in candidates]
        if not blocked and (not reasons or not all(reasons)):
            return False
        self.finish_reason = blocked or reasons[0]
        self.delivered_bytes = _content_bytes(chunk, body)
        self.events = 1 if self.delivered_bytes else 0
        self.finished = True
        return True

    def usage_event(self, usage: Usage, cost: Cost) -> bytes:
        """Nothing: the chunk that finishes has it, for Google's clients take one without candidates for no answer."""
        del usage, cost
        return b""

    def splice_whole(self, body: bytes, cost: Cost) -> bytes:
        """The plain reply as the caller gets it."""
        layout = lay_out(body, 0, len(body))
        return layout.replaced(
            self._names_written | {_USAGE: self._shown(layout.value(_USAGE), cost)}
        ).strip()

    def fail(self, fault: Fault) -> bytes:
        """An error inside a stream whose head has left."""
        return self._frames.fail(fault, begun=self.events > 0)

    def _shown(self, raw: bytes, cost: Cost) -> bytes:
        """A usage object with our charge in it; the provider's own but where that is not what was charged for."""
        told = read_usage(raw) if raw else None
        if told is None or told != self.usage:
            return write_usage(self.usage or Usage(), cost)
        if b"cost" in raw:
            raw = msgspec.json.encode(
                {name: one for name, one in _members.decode(raw).items() if "cost" not in name}
            )
        return raw.rstrip()[:-1].rstrip() + cost_members(cost).encode() + b"}"


def _size(words: bytes) -> int:
    """The bytes of a text as it stands in JSON; 0 where it is none."""
    if words.isascii() and b"\\" not in words and b'"' not in words:
        return len(words)
    try:
        return len(_text.decode(b'"%b"' % words).encode())
    except UNREADABLE:
        return 0


def _is_text(data: bytes) -> bool:
    """Whether it is UTF-8 throughout: what the decoder passes over, it does not look at."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _content_bytes(chunk: Chunk, data: bytes) -> int:
    """How many bytes of an answer a chunk carries; of what is no text, its JSON."""
    size, unknown = 0, False
    for candidate in chunk.candidates or ():
        for piece in (candidate.content and candidate.content.parts) or ():
            size += _piece_bytes(piece)
            unknown = unknown or piece.text is None
    if unknown and not size and len(chunk.candidates or ()) == 1:
        return sum(len(bytes(raw)) for raw in raw_parts(data))  # What only Google knows.
    return size


def _piece_bytes(piece: Piece) -> int:
    if piece.text is not None:
        return len(piece.text.encode())
    if piece.function_call is not None:
        arguments = piece.function_call.args
        return len((piece.function_call.name or "").encode()) + (
            0 if arguments is ABSENT else len(bytes(arguments))
        )
    blob = piece.inline_data
    return 0 if blob is None else len(blob.data or "")


def _lay_out(event: bytes, data: bytes) -> Layout | None:
    """Where the members of an event's object stand; None if it is no object after all."""
    try:
        at = event.find(data)
        if at < 0:  # Several lines of data, which the object's text runs across: one line says the same.
            data = msgspec.json.format(data, indent=-1)
            return lay_out(DATA + data + END, len(DATA), len(DATA) + len(data))
        return lay_out(event, at, at + len(data))
    except UNREADABLE:
        return None


def _broken() -> Fault:
    """A new one each time: an exception that is raised again keeps every traceback it ever had."""
    return Fault(
        Kind.PROVIDER_CUT, "The model's provider reported an error in the middle of its answer. Try again."
    )
