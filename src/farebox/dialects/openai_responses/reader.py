"""A Responses reply → events.

Items are told apart by their place in the output, or by their id where a server counts nothing (llama.cpp). A part
begins with its first words, so that what stays empty is no part in either form of a reply. A plain reply, and the
items that only the last event of a stream tells, are read as items that came whole.

The reply is `Finished` with `response.completed` or `response.incomplete`; a body that ends without is `Failed`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from farebox.core.errors import Fault, Kind
from farebox.core.usage import Usage
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
from farebox.dialects.openai_responses.content import CONTENT, NAME
from farebox.dialects.openai_responses.event import (
    ADDED,
    ARGUMENTS,
    ENDS,
    FAULTS,
    ITEM_DONE,
    NULL,
    REASONING_TEXT,
    REFUSAL,
    SUMMARY,
    TEXT,
    Content,
    Item,
    StreamEvent,
    Whole,
    data_in,
    find_event,
    find_item,
    find_whole,
)
from farebox.dialects.openai_responses.item import ITEM
from farebox.dialects.openai_responses.usage import read_usage
from farebox.dialects.seal import unseal, unseal_id
from farebox.dialects.splice import UNREADABLE
from farebox.dialects.sse import Splitter

_CUT = "The model's provider ended its answer before it was whole. Try again."
_ERROR = "The model's provider reported an error in the middle of its answer. Try again."
_GARBLED = "The model's provider sent an answer that cannot be read. Try again."
_REASONS: dict[str, Reason] = {"content_filter": "content_filter"}  # Any other is a limit that was reached.
_WHOLE = frozenset({"completed", "incomplete", None})
_BETWEEN = "\n\n"  # Pieces of a summary are paragraphs.
_EMPTY_LISTS = (b"null", b"[]")
_SILENT: Members = ()


class _Growing:
    """An item as it comes in, and its parts so far."""

    def __init__(self) -> None:
        self.parts: dict[int, int] = {}  # Place in its content → index among our parts.
        self.index = -1  # Of an item that is one part.
        self.paragraph = 0
        self.member: str | None = None  # Which of its two texts a thought is read from.
        self.call: Item | None = None  # A call that was announced.
        self.early: list[str] = []  # Arguments of one that was not.
        self.extra: Members = ()
        self.grown = False
        self.ended = False


class ResponsesReader:
    """One provider's reply, streamed or plain, read into events."""

    def __init__(self, *, stream: bool) -> None:
        self._splitter = Splitter() if stream else None
        self._body: list[bytes] = []
        self._out: list[Event] = []
        self._began = False
        self._parts = 0
        self._items: dict[int | str, _Growing] = {}
        self._called = False
        self._refused = False
        self._usage: Usage | None = None
        self._over = False

    def feed(self, data: bytes) -> Sequence[Event]:
        """Events that `data` completes; none before the end of a plain reply."""
        if self._splitter is None:
            self._body.append(data)
            return ()
        try:
            for event in self._splitter.feed(data):
                self._read(data_in(event))
        except (Fault, *UNREADABLE):  # What a first look passed over may still be no text.
            self._fail(_GARBLED)
        return self._taken()

    def end(self) -> Sequence[Event]:
        """The last events; Failed if the reply is not whole."""
        if self._splitter is None:
            self._read_whole(b"".join(self._body))
        elif not self._over:
            self._read_rest(self._splitter.flush())
        self._fail(_CUT)
        return self._taken()

    def _taken(self) -> Sequence[Event]:
        out, self._out = self._out, []
        return out

    def _read(self, data: bytes) -> None:
        if self._over or not data:
            return
        event = find_event(data)
        if event is None:
            if data.strip() not in (b"", b"[DONE]"):
                self._fail(_GARBLED)
            return
        # What comes hundreds of times, first.
        if isinstance(event.delta, str):
            self._grow(event, event.delta)
        elif event.type == ADDED:
            self._add(event)
        elif event.type == ITEM_DONE:
            self._end_item(self._growing(event), event.item)
        elif event.type in ENDS:
            self._finish(find_whole(event.response))
        elif event.type in FAULTS or event.error != NULL:
            self._read_failure(event)
        elif event.response != NULL:
            self._begin(find_whole(event.response))

    def _read_rest(self, rest: bytes) -> None:
        """What follows the last blank line: an event without its own, half an event, or a plain reply after all."""
        data = data_in(rest.rstrip() + b"\n\n").strip()
        if find_event(data) is not None:
            self._read(data)
        elif not data and rest.lstrip().startswith(b"{"):
            self._read_whole(rest)

    def _read_whole(self, body: bytes) -> None:
        whole = find_whole(body)
        if whole is None or (whole.output is None and whole.error == NULL and whole.status != "failed"):
            self._fail(_GARBLED)
            return
        self._finish(whole)

    def _begin(self, whole: Whole | None) -> None:
        if self._began:
            return
        self._began = True
        self._out.append(Began((whole and whole.id) or "", (whole and whole.model) or ""))

    def _growing(self, event: StreamEvent) -> _Growing:
        """The item an event is about. Some servers say one name for it, some the other, and some a new id each time."""
        key = event.output_index if event.output_index is not None else event.item_id
        if key is None and event.item != NULL:
            item = find_item(event.item)
            key = item.id if item is not None else None
        known = self._items.get(key if key is not None else "")
        if known is None:
            known = self._items[key if key is not None else ""] = _Growing()
        return known

    def _add(self, event: StreamEvent) -> None:
        item, growing = find_item(event.item), self._growing(event)
        if item is None:
            return
        if item.type == "message":
            growing.extra = _phase(item)
        elif item.type == "function_call":
            growing.call = item
            if item.name:
                self._begin_call(growing, item)

    def _grow(self, event: StreamEvent, delta: str) -> None:
        kind, growing = event.type, self._growing(event)
        if not delta or growing.ended:
            return
        if kind in (TEXT, REFUSAL):
            place = event.content_index or 0
            index = growing.parts.get(place)
            if index is None:
                index = self._begin_text(growing, place, refusal=kind == REFUSAL)
            self._out.append(PartGrew(index, delta))
        elif kind == ARGUMENTS:
            growing.grown = True
            if growing.index < 0:
                growing.early.append(delta)
            else:
                self._out.append(PartGrew(growing.index, delta))
        elif kind in (SUMMARY, REASONING_TEXT):
            self._grow_thought(growing, event, delta)

    def _grow_thought(self, growing: _Growing, event: StreamEvent, delta: str) -> None:
        member = None if event.type == SUMMARY else CONTENT
        if growing.index < 0:
            growing.member = member
            growing.index = self._begin_part(Thought("", member=member))
        if growing.member != member:
            return  # The same thought in other words.
        place = (event.summary_index if member is None else event.content_index) or 0
        if place != growing.paragraph:
            delta = _BETWEEN + delta if growing.grown else delta
            growing.paragraph = place
        growing.grown = True
        self._out.append(PartGrew(growing.index, delta))

    def _begin_part(self, part: Part) -> int:
        if not self._began:
            self._begin(None)
        index = self._parts
        self._parts += 1
        self._out.append(PartBegan(index, part))
        return index

    def _begin_text(self, growing: _Growing, place: int, *, refusal: bool) -> int:
        self._refused = self._refused or refusal
        # What belongs to the message stands with its first words.
        extra = _SILENT if growing.parts else growing.extra
        index = growing.parts[place] = self._begin_part(Text("", refusal=refusal, extra=extra))
        return index

    def _begin_call(self, growing: _Growing, item: Item) -> None:
        call_id, _ = unseal_id(item.call_id or item.id or f"call_{self._parts}")
        named = (("namespace", item.namespace), ("caller", item.caller))
        extra = tuple((name, _line(raw)) for name, raw in named if raw != NULL)
        growing.index = self._begin_part(ToolCall(call_id, item.name or "", "", extra=extra))
        self._called = True
        self._out += [PartGrew(growing.index, text) for text in growing.early]

    def _end_item(self, growing: _Growing, raw: msgspec.Raw) -> None:
        """An item is whole: what did not come piece by piece is taken from it."""
        if growing.ended:
            return
        growing.ended = True
        item = find_item(raw)
        if item is None:
            self._fail(_GARBLED)
        elif item.type == "message":
            self._end_message(growing, item)
        elif item.type == "reasoning":
            self._end_thought(growing, item)
        elif item.type == "function_call":
            self._end_call(growing, item)
        elif item.type:
            self._called = self._called or item.type.endswith("_tool_call")
            index = self._begin_part(Opaque(NAME, item.type, ITEM, bytes(raw)))
            self._out.append(PartEnded(index))

    def _end_message(self, growing: _Growing, item: Item) -> None:
        growing.extra = growing.extra or _phase(item)
        for place, content in enumerate(item.content or ()):
            index = growing.parts.get(place, -1)
            if index < 0:
                refusal = content.refusal is not None
                text = content.refusal or content.text
                if not text:
                    continue
                index = self._begin_text(growing, place, refusal=refusal)
                self._out.append(PartGrew(index, text))
            self._out.append(PartEnded(index, extra=_sources(content)))

    def _end_thought(self, growing: _Growing, item: Item) -> None:
        encrypted = item.encrypted_content or None
        signature, signed_by = (encrypted, NAME) if encrypted else (None, None)
        sealed = unseal(encrypted) if encrypted else None
        if sealed is not None:
            signature, signed_by = sealed
        if growing.index < 0:
            member, text = _thought_of(item)
            if text:
                growing.index = self._begin_part(Thought("", member=member))
                self._out.append(PartGrew(growing.index, text))
        if growing.index >= 0:
            self._out.append(PartEnded(growing.index, signature, signed_by))
        elif signature is not None:
            index = self._begin_part(Thought("", signature, redacted=True, signed_by=signed_by))
            self._out.append(PartEnded(index))

    def _end_call(self, growing: _Growing, item: Item) -> None:
        if growing.index < 0:
            self._begin_call(growing, item)
        arguments = item.arguments
        if isinstance(arguments, dict):
            arguments = msgspec.json.encode(arguments).decode()
        if arguments and not growing.grown:
            self._out.append(PartGrew(growing.index, arguments))
        _, signature = unseal_id(item.call_id or "")
        self._out.append(PartEnded(growing.index, signature))

    def _finish(self, whole: Whole | None) -> None:
        if whole is None or (whole.output is None and whole.status is None):
            self._fail(_GARBLED)
            return
        usage = read_usage(whole.usage) if whole.usage != NULL else None
        self._usage = usage or self._usage
        if whole.error != NULL or whole.status not in _WHOLE:
            self._fail(_ERROR)
            return
        self._begin(whole)
        # An item that was told by no event of its own.
        for raw in (whole.output or ())[len(self._items) :]:
            growing = self._items[f"{ITEM}{len(self._items)}"] = _Growing()
            self._end_item(growing, raw)
        self._end_open()
        if self._over:
            return
        self._over = True
        details = whole.incomplete_details
        if whole.status == "incomplete":
            native = (details and details.reason) or "incomplete"
            self._out.append(Finished(_REASONS.get(native, "length"), self._usage, native))
        else:
            reason: Reason = "refusal" if self._refused else "tool_calls" if self._called else "stop"
            self._out.append(Finished(reason, self._usage, "completed"))

    def _end_open(self) -> None:
        """End the parts whose items never said that they are done."""
        for growing in self._items.values():
            if growing.ended:
                continue
            growing.ended = True
            if growing.call is not None and growing.index < 0:
                self._begin_call(growing, growing.call)
            indexes = growing.parts.values() if growing.parts else (growing.index,)
            self._out += [PartEnded(index) for index in indexes if index >= 0]

    def _read_failure(self, event: StreamEvent) -> None:
        whole = find_whole(event.response) if event.response != NULL else None
        if whole is not None and whole.usage != NULL:
            self._usage = read_usage(whole.usage) or self._usage
        self._fail(_ERROR)

    def _fail(self, message: str) -> None:
        if not self._over:
            # Before the first part another route may still answer.
            kind = Kind.PROVIDER_CUT if self._parts else Kind.PROVIDER_ERROR
            self._out.append(Failed(Fault(kind, message), self._usage))
            self._over = True


def _phase(item: Item) -> Members:
    return () if item.phase == NULL else (("phase", _line(item.phase)),)


def _sources(content: Content) -> Members:
    """What a text gained: its sources, and how likely its tokens were."""
    said = (("annotations", content.annotations), ("logprobs", content.logprobs))
    return tuple((name, line) for name, raw in said if (line := _line(raw)) not in _EMPTY_LISTS)


def _thought_of(item: Item) -> tuple[str | None, str]:
    """Where a thought is told, and its text."""
    for member, pieces in ((None, item.summary), (CONTENT, item.content)):
        text = _BETWEEN.join(piece.text for piece in pieces or () if piece.text)
        if text:
            return member, text
    return None, ""


def _line(raw: msgspec.Raw) -> bytes:
    return msgspec.json.format(bytes(raw), indent=-1)
